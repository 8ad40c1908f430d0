"""What this process knows of one Redis or Valkey: how to reach it, and whether it can be reached.

The only module that makes clients. One link for each address, shared by all who use it. Any thread;
knows no messages and no Django.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from twogate.errors import ConfigError
from twogate.realtime.outage import Away, Outage
from twogate.realtime.where import SETTING, public_name

if TYPE_CHECKING:
    import redis

__all__ = ["BLOCK", "TIMEOUT", "Link", "link_to"]

#: Seconds that anybody waits for an answer. Where Redis does not answer, the first one waits that
#: long, and then nobody does until it is back.
TIMEOUT = 2.0
#: Seconds for which Redis itself may hold an answer back; less than those that we wait for it.
BLOCK = 1


class Link:
    """One server.

    :param url: as :func:`twogate.realtime.where.redis_url` returns it.
    :raises ConfigError: the Redis client is not installed, or cannot read the URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.outage = Outage(public_name(url))
        try:
            import redis
        except ModuleNotFoundError as error:
            raise ConfigError(
                SETTING,
                public_name(url),
                "settings or environment",
                f"It needs {error.name}, which is not installed:"
                ' run `pip install "twogate[redis]"`.',
            ) from error
        #: What says that Redis did not do what it was told.
        self.failures: tuple[type[BaseException], ...] = (redis.RedisError, OSError)
        try:
            # One pool for all threads; it notices a fork by itself.
            self.client: redis.Redis = redis.Redis.from_url(url, **self.options())
        except ValueError as error:
            raise ConfigError(SETTING, public_name(url), "settings", str(error)) from error

    def options(self, for_asyncio: bool = False) -> dict[str, Any]:
        """How a client is to connect. It does not try again by itself: that would double messages,
        and nobody would learn of the outage."""
        from redis.asyncio.retry import Retry as AsyncRetry
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        return {
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
            "retry": (AsyncRetry if for_asyncio else Retry)(NoBackoff(), 0),
        }

    def subscription(self) -> redis.client.PubSub:
        """A connection of its own to hear what is published; whoever asks for it closes it."""
        return cast("redis.client.PubSub", cast("Any", self.client).pubsub())

    @contextlib.contextmanager
    def trying(self) -> Iterator[None]:
        """Around a call: what goes wrong with it is one kind of error, and known to all.

        :raises Away: Redis cannot be reached, could not a moment ago, or refused.
        """
        if not self.outage.may_try():
            raise self.outage.error()
        try:
            yield
        except self.failures as error:
            self.outage.failed(error)
            raise Away(f"{self.outage.name}: {str(error) or type(error).__name__}") from error
        self.outage.worked()


_links: dict[str, Link] = {}
_lock = threading.Lock()


def link_to(url: str) -> Link:
    """This process's link to an address.

    :raises ConfigError: see :class:`Link`.
    """
    with _lock:
        link = _links.get(url)
        if link is None:
            link = _links[url] = Link(url)
        return link
