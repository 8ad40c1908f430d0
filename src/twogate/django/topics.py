"""Push from any code of a project to its browsers: ``publish()`` and a stream of events for them.

The endpoint for WebSockets is in ``subscriptions``; who may have what, and who is here, is for both
endpoints the same.

A message is written to the log of the project's runtime folder and a bell is rung; each process
that has subscribers reads it from there. So it works from a sync view, a signal, a task of a queue
or a shell, on any thread, with or without an event loop, and a browser that was away for a moment
gets what it missed.

Settings, all in the dictionary ``TWOGATE_TOPICS``:

=================  ==========================================================================
``allow``          dotted name of a function ``(request, topic) -> bool``, sync or async, that
                   says who may subscribe to what. Without one nobody may
``presence``       dotted name of a function ``(request, topic)``, sync or async, that says what
                   others see of a subscriber who is here: a few words of JSON, or ``None`` for
                   nothing. Equal descriptions, or equal ``"id"`` in them, are one member
``grace``          seconds for which who went away without saying so is still here; 3
``keep``           messages of each topic that are kept for those who come back; 1000
``keep_seconds``   how long at most; 600
``folder``         where to make the runtime folder, in place of ``/tmp/twogate-UID``
=================  ==========================================================================
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.module_loading import import_string

from twogate.django.views import gateway
from twogate.errors import ConfigError
from twogate.realtime.bell import LocalBell
from twogate.realtime.feed import Bell, Lagging, Log, Subscription, feed_of
from twogate.realtime.folder import RuntimeFolder
from twogate.realtime.hub import check_topic
from twogate.realtime.log import Entry, TopicLog
from twogate.realtime.presence import presence_of, topic_of
from twogate.realtime.roster import Roster
from twogate.realtime.subscriber import Subscriber
from twogate.realtime.visitor import RESERVED, Member, Visitor
from twogate.realtime.where import SETTING, redis_prefix, redis_url
from twogate.realtime.wire import MAX_TOPICS, is_topic

__all__ = [
    "ahere",
    "apublish",
    "events",
    "here",
    "position",
    "publish",
    "statistics",
    "visitor",
]

logger = logging.getLogger("twogate.realtime")

#: Bytes of one message in JSON; what is larger should be fetched by whoever hears of it.
MAX_SIZE = 1 << 20
#: Seconds between two signs of life, so that proxies and clients do not give up a quiet stream.
HEARTBEAT = 15.0
#: Milliseconds that a browser waits before it connects again.
_RETRY = 2000
#: The same after a restart, over which browsers spread.
_RESTART_RETRY = (100, 1600)
#: Characters of the description of a member, in JSON.
_LONGEST_MEMBER = 1000


class _Channel:
    """The log and the bell of this project, made when they are first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: tuple[Log, Bell] | None = None
        self._roster: Roster | None = None
        #: Messages that could not be written.
        self.lost = 0

    def open(self) -> tuple[Log, Bell]:
        """The log and the bell: of Redis where ``TWOGATE_REALTIME_URL`` says so, or local ones.

        :raises ConfigError: others could get at the folder, or the setting cannot be used.
        """
        with self._lock:
            if self._opened is None:
                url = redis_url(getattr(settings, SETTING, None))
                self._opened = _local() if url is None else _by_redis(url)
            return self._opened

    def lost_on_the_way(self) -> int:
        """Messages that Redis did not take; it counts and logs them by itself."""
        log = None if self._opened is None else self._opened[0]
        drops = getattr(log, "drops", None)
        return 0 if drops is None else sum(drops.counts().values())

    def roster(self) -> Roster:
        """Who is here.

        :raises ConfigError: others could get at the folder.
        """
        with self._lock:
            if self._roster is None:
                file = _runtime_folder().path / "roster.sqlite3"
                self._roster = Roster(file, grace=float(_options().get("grace", 3)))
            return self._roster

    def close(self) -> None:
        """Close what is open; it is opened again when it is needed."""
        if self._opened is not None:
            self._opened[0].close()
        if self._roster is not None:
            self._roster.close()

    def write(self, topic: str, data: str) -> None:
        """Publish. What fails is counted and logged: whoever publishes has done their work, and
        what they did must not fail for the telling of it."""
        try:
            log, bell = self.open()
            log.append(topic, data)
            bell.ring()
        except (OSError, sqlite3.Error):
            self.lost += 1
            logger.exception("A message to the topic %r could not be published", topic)


def _runtime_folder() -> RuntimeFolder:
    folder = _options().get("folder")
    found = RuntimeFolder(
        f"topics {settings.SECRET_KEY}", folder and Path(folder), "TWOGATE_TOPICS"
    )
    found.prepare()
    return found


def _local() -> tuple[Log, Bell]:
    folder = _runtime_folder().path
    return TopicLog(folder / "topics.sqlite3", **_kept(_options())), LocalBell(folder)


def _by_redis(url: str) -> tuple[Log, Bell]:
    from twogate.realtime.redis_link import link_to
    from twogate.realtime.redis_topics import RedisTopics

    prefix = redis_prefix(settings.SECRET_KEY) + ":topics"
    topics = RedisTopics(link_to(url), prefix, **_kept(_options()))
    return topics, topics


def _kept(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "keep": int(options.get("keep", 1000)),
        "seconds": float(options.get("keep_seconds", 600)),
    }


_channel = _Channel()


def _options() -> dict[str, Any]:
    options = getattr(settings, "TWOGATE_TOPICS", {})
    if not isinstance(options, dict):
        raise ImproperlyConfigured(
            'TWOGATE_TOPICS should be a dictionary, for example {"allow": "chat.may_subscribe"}.'
        )
    return options


def publish(topic: str, data: Any, *, on_commit: bool = True, using: str | None = None) -> None:
    """Send data to all who have subscribed to a topic, in every process of this machine, or of all
    that ``TWOGATE_REALTIME_URL`` connects.

    Works on any thread, with or without an event loop. In a transaction it waits for the commit,
    so that nobody hears of what is rolled back, or asks for it too early.

    :param topic: 1 to 200 characters.
    :param data: what Django's JSON encoder takes, up to 1 MiB in JSON.
    :param on_commit: false sends at once, whatever becomes of the transaction.
    :param using: the database whose transaction counts; the default one.
    :raises TypeError: the topic is no string, or the data are not JSON.
    :raises ValueError: the topic is empty, too long or the server's own (``twogate.``), or the data
        are too large.
    """
    check_topic(topic)
    if topic.startswith(RESERVED):
        raise ValueError(f"Topics that begin with {RESERVED!r} are the server's own: {topic!r}.")
    text = _json(data)
    if len(text) > MAX_SIZE:
        raise ValueError(
            f"The message has {len(text)} bytes; {MAX_SIZE} are the most. Publish where to find it."
        )
    if on_commit and transaction.get_connection(using).in_atomic_block:
        transaction.on_commit(partial(_channel.write, topic, text), using=using)
    else:
        _channel.write(topic, text)


async def apublish(
    topic: str, data: Any, *, on_commit: bool = True, using: str | None = None
) -> None:
    """:func:`publish` for async code: a transaction is that of the request's thread."""
    await sync_to_async(publish)(topic, data, on_commit=on_commit, using=using)


def position() -> int:
    """The number of the newest message of all: a page that shows what there is now has its browser
    subscribe ``after`` it, and nothing falls in between. To be asked before what is shown is read.
    """
    log, _ = _channel.open()
    return log.position()


def here(topic: str) -> list[Any]:
    """Who is here: the descriptions of those who have subscribed to a topic, in any process of this
    machine, as ``TWOGATE_TOPICS["presence"]`` gave them. Any thread, in some dozen microseconds.

    :raises sqlite3.Error: the roster cannot be read.
    """
    roster = _channel.roster()
    for place in roster.sweep():
        _tell_moved(place)
    return [json.loads(data) for data in roster.here(topic).values()]


async def ahere(topic: str) -> list[Any]:
    """:func:`here` for async code."""
    return here(topic)


def _tell_moved(place: str) -> None:
    _channel.write(topic_of(place), "null")


def statistics() -> dict[str, int]:
    """Numbers of this process: messages that could not be published."""
    return {"lost": _channel.lost + _channel.lost_on_the_way()}


# Between the processes of the server itself, on topics whose names begin with "twogate.".


def tell(topic: str, data: Any) -> None:
    """:func:`publish` on a topic of the server's own; in a transaction after its commit.

    Never fails: what it tells of has happened in a view that knows nothing of it.
    """
    write = partial(_write_anyhow, topic, json.dumps(data, separators=(",", ":")))
    if transaction.get_connection().in_atomic_block:
        transaction.on_commit(write)
    else:
        write()


def _write_anyhow(topic: str, text: str) -> None:
    try:
        _channel.write(topic, text)
    except ConfigError as error:
        _channel.lost += 1
        logger.error("Workers cannot be told of a session that has ended: %s", error)


def hear(topic: str) -> Subscription:
    """What is told from now on, on the running loop.

    :raises ConfigError: others could get at the runtime folder.
    """
    return feed_of(*_channel.open()).subscribe([topic])


# Who may have what.


def visitor(request: HttpRequest, ready: Callable[[], None]) -> Visitor:
    """One browser, for an endpoint.

    :param request: what the project's functions are asked with.
    :param ready: see :class:`~twogate.realtime.subscriber.Subscriber`.
    """
    feed = feed_of(*_channel.open())
    return Visitor(
        Subscriber(feed, ready),
        presence_of(_channel.roster(), feed, _tell_moved),
        allow=partial(_may_subscribe, request),
        member=partial(_member, request),
    )


async def _may_subscribe(request: HttpRequest, topic: str) -> bool:
    if _options().get("allow") is None:
        logger.warning(
            "Nobody may subscribe to %r: TWOGATE_TOPICS has no 'allow', the dotted name of a"
            " function (request, topic) -> bool",
            topic,
        )
        return False
    return bool(await _ask("allow", request, topic))


async def _member(request: HttpRequest, topic: str) -> Member | None:
    """What others see of who made a request."""
    if _options().get("presence") is None:
        return None
    description = await _ask("presence", request, topic)
    if description is None:
        return None
    data = _json(description)
    if len(data) > _LONGEST_MEMBER:
        raise ImproperlyConfigured(
            f"The function TWOGATE_TOPICS['presence'] describes a member in {len(data)} characters;"
            f" {_LONGEST_MEMBER} are the most. Say where to find the rest."
        )
    known_by_id = isinstance(description, dict) and "id" in description
    return Member(_json(description["id"]) if known_by_id else data, data)


async def _ask(option: str, request: HttpRequest, topic: str) -> Any:
    """Call a function of the project."""
    name = _options()[option]
    function = import_string(name) if isinstance(name, str) else name
    call = function if iscoroutinefunction(function) else sync_to_async(function)
    return await call(request, topic)


def _json(data: Any) -> str:
    return json.dumps(data, cls=DjangoJSONEncoder, separators=(",", ":"))


# Server-Sent Events (HTML, "Server-sent events").


@gateway("asgi")
async def events(request: HttpRequest) -> HttpResponse:
    """A stream of what is published: ``/events/?topic=news&topic=room.5``.

    Each event's data are ``{"type": "message", "id": …, "topic": …, "data": …}``; its id is that of
    the message, so a browser's ``EventSource`` that connects again goes on where it was
    (``Last-Event-ID``, or ``?after=``). If messages it missed are no longer kept, it gets an event
    ``reset`` first. With ``?presence=1`` it gets events ``presence``.
    """
    names, after = request.GET.getlist("topic"), request.GET.getlist("after")
    if "Last-Event-ID" in request.headers:
        after = [request.headers["Last-Event-ID"]]
    problem = _problem(names, after)
    if problem is not None:
        return _plain(400, problem)
    numbers = [int(each) if each else None for each in after or [""]]
    topics = dict(zip(names, numbers * len(names) if len(numbers) == 1 else numbers, strict=True))
    news = asyncio.Event()
    browser = visitor(request, news.set)
    refused = await browser.admit(topics)
    if len(refused) == len(topics):
        return _plain(403, " ".join(f"{topic!r}: {why}" for topic, why in refused.items()))
    begin = partial(browser.subscribe, topics, watch=request.GET.get("presence") == "1")
    response = StreamingHttpResponse(
        _stream(browser, news, begin), content_type="text/event-stream"
    )
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would gather a page of events first
    return response


def _problem(topics: list[str], after: list[str]) -> str | None:
    if not topics:
        return "Name at least one topic: ?topic=news"
    if len(topics) > MAX_TOPICS:
        return f"{MAX_TOPICS} topics are the most."
    if not all(map(is_topic, topics)):
        return "A topic has 1 to 200 characters."
    if len(after) not in (0, 1, len(topics)):
        return "Say ?after= once for all topics, or once for each."
    if not all(map(_is_number, filter(None, after))):
        return "The number of the last event is none that came from here."
    return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 17


def _plain(status: int, message: str) -> HttpResponse:
    return HttpResponse(message + "\n", status=status, content_type="text/plain; charset=utf-8")


async def _stream(
    browser: Visitor, news: asyncio.Event, begin: Callable[[], None]
) -> AsyncIterator[str]:
    try:
        begin()  # not before: a stream that nobody begins to read would never leave
        yield f"retry: {_RETRY}\n\n"
        while True:
            news.clear()
            while (item := browser.take()) is not None:
                yield _event(item)
            if browser.ended:
                yield f"retry: {random.randint(*_RESTART_RETRY)}\n\n"
                return
            try:
                async with asyncio.timeout(HEARTBEAT):
                    await news.wait()
            except TimeoutError:
                yield ": still here\n\n"
    except Lagging:
        return  # the browser comes back with the number of its last event
    finally:
        browser.leave()


def _event(item: Entry | str) -> str:
    if isinstance(item, Entry):
        return f"id: {item.id}\ndata: {item.text}\n\n"
    said = json.loads(item)
    number = f"id: {min(said['topics'].values())}\n" if said["type"] == "subscribed" else ""
    return f"{number}event: {said['type']}\ndata: {item}\n\n"
