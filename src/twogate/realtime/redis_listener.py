"""Hears what is said on one channel of a Redis, however often that goes away. A thread of its own.

Nobody is told what was said in between; whoever needs to know asks when it is ready again.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from twogate.realtime.redis_link import BLOCK, TIMEOUT, Link

__all__ = ["Listener"]

logger = logging.getLogger("twogate.realtime")


class Listener:
    """Listens from the moment it is made until it is closed.

    :param ready: called when everything from now on is heard: in the beginning, and each time Redis
        has been away. What fails in it is as if Redis were away again.
    :param heard: called with each message. Both are called on the listener's thread.
    """

    def __init__(
        self, link: Link, channel: str, ready: Callable[[], None], heard: Callable[[bytes], None]
    ) -> None:
        self._link = link
        self._channel = channel
        self._ready = ready
        self._heard = heard
        self._closing = threading.Event()
        self._was_ready = False
        self._thread = threading.Thread(target=self._run, name="twogate-redis", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hear nothing more; waits for a message that is being passed on."""
        self._closing.set()
        if self._thread is not threading.current_thread():
            self._thread.join(TIMEOUT + BLOCK)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._was_ready = False
            try:
                self._listen()
            except self._link.failures as error:
                if self._was_ready:
                    continue  # perhaps it was only this connection: see
                self._link.outage.failed(error)
                self._closing.wait(self._link.outage.wait())
            except Exception:
                logger.exception("What came by Redis could not be passed on")
                self._closing.wait(BLOCK)

    def _listen(self) -> None:
        with contextlib.closing(self._link.subscription()) as pubsub:
            pubsub.subscribe(self._channel)
            heard_at = time.monotonic()
            while not self._closing.is_set():
                message: dict[str, Any] | None = pubsub.get_message(timeout=BLOCK)
                if message is not None:
                    heard_at = time.monotonic()
                    self._take(message)
                elif time.monotonic() - heard_at > TIMEOUT + BLOCK:
                    raise TimeoutError("it does not answer")
                else:
                    pubsub.ping()  # or a connection that has died without a word is never noticed

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._link.outage.worked()
            self._ready()
            self._was_ready = True
        elif message["type"] == "message":
            self._heard(message["data"])
