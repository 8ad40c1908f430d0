"""Push from any code of a project to its browsers: ``publish()`` and the endpoint for them.

A message is written to the log of the project's runtime folder and a bell is rung; each process
that has subscribers reads it from there. So it works from a sync view, a signal, a task of a queue
or a shell, on any thread, with or without an event loop, and a browser that was away for a moment
gets what it missed.

Settings, all in the dictionary ``TWOGATE_TOPICS``:

=================  ==========================================================================
``allow``          dotted name of a function ``(request, topic) -> bool``, sync or async, that
                   says who may subscribe to what. Without one nobody may
``keep``           messages of each topic that are kept for those who come back; 1000
``keep_seconds``   how long at most; 600
``folder``         where to make the runtime folder, in place of ``/tmp/twogate-UID``
=================  ==========================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator
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
from twogate.realtime.bell import ring
from twogate.realtime.feed import Lagging, Subscription, feed_of
from twogate.realtime.folder import RuntimeFolder
from twogate.realtime.hub import check_topic
from twogate.realtime.log import Entry, TopicLog

__all__ = ["apublish", "events", "publish", "statistics"]

logger = logging.getLogger("twogate.realtime")

#: Bytes of one message in JSON; what is larger should be fetched by whoever hears of it.
MAX_SIZE = 1 << 20
#: Topics that one subscription may name.
MAX_TOPICS = 50
#: Seconds between two signs of life, so that proxies and clients do not give up a quiet stream.
HEARTBEAT = 15.0
#: Milliseconds that a browser waits before it connects again.
_RETRY = 2000


class _Channel:
    """The log and the bell of this project, made when they are first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._log: TopicLog | None = None
        self._folder: RuntimeFolder | None = None
        #: Messages that could not be written.
        self.lost = 0

    def open(self) -> tuple[TopicLog, Path]:
        """The log, and the folder of the bell.

        :raises ConfigError: others could get at the folder.
        """
        with self._lock:
            if self._log is None or self._folder is None:
                options = _options()
                folder = options.get("folder")
                found = RuntimeFolder(
                    f"topics {settings.SECRET_KEY}", folder and Path(folder), "TWOGATE_TOPICS"
                )
                found.prepare()
                self._folder = found
                self._log = TopicLog(
                    found.path / "topics.sqlite3",
                    keep=int(options.get("keep", 1000)),
                    seconds=float(options.get("keep_seconds", 600)),
                )
            return self._log, self._folder.path

    def write(self, topic: str, data: str) -> None:
        """Publish. What fails is counted and logged: whoever publishes has done their work, and
        what they did must not fail for the telling of it."""
        try:
            log, folder = self.open()
            log.append(topic, data)
            ring(folder)
        except (OSError, sqlite3.Error):
            self.lost += 1
            logger.exception("A message to the topic %r could not be published", topic)


_channel = _Channel()


def _options() -> dict[str, Any]:
    options = getattr(settings, "TWOGATE_TOPICS", {})
    if not isinstance(options, dict):
        raise ImproperlyConfigured(
            'TWOGATE_TOPICS should be a dictionary, for example {"allow": "chat.may_subscribe"}.'
        )
    return options


def publish(topic: str, data: Any, *, on_commit: bool = True, using: str | None = None) -> None:
    """Send data to all who have subscribed to a topic, in every process of this machine.

    Works on any thread, with or without an event loop. In a transaction it waits for the commit,
    so that nobody hears of what is rolled back, or asks for it too early.

    :param topic: 1 to 200 characters.
    :param data: what Django's JSON encoder takes, up to 1 MiB in JSON.
    :param on_commit: false sends at once, whatever becomes of the transaction.
    :param using: the database whose transaction counts; the default one.
    :raises TypeError: the topic is no string, or the data are not JSON.
    :raises ValueError: the topic is empty or too long, or the data are too large.
    """
    check_topic(topic)
    text = json.dumps(data, cls=DjangoJSONEncoder, separators=(",", ":"))
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


def statistics() -> dict[str, int]:
    """Numbers of this process: messages that could not be published."""
    return {"lost": _channel.lost}


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


# Server-Sent Events (HTML, "Server-sent events").


@gateway("asgi")
async def events(request: HttpRequest) -> HttpResponse:
    """A stream of what is published: ``/events/?topic=news&topic=room.5``.

    Each event's data are ``{"topic": …, "data": …}``; its id is that of the message, so a browser's
    ``EventSource`` that connects again goes on where it was (``Last-Event-ID``, or ``?after=``). If
    messages it missed are no longer kept, it gets an event ``reset`` first.
    """
    topics = list(dict.fromkeys(request.GET.getlist("topic")))
    after = request.headers.get("Last-Event-ID") or request.GET.get("after") or None
    problem = _problem(topics, after)
    if problem is not None:
        return _plain(400, problem)
    for topic in topics:
        if not await _may_subscribe(request, topic):
            return _plain(403, f"You may not subscribe to {topic!r}.")
    feed = feed_of(*_channel.open())
    subscription = feed.subscribe(topics, None if after is None else int(after))
    response = StreamingHttpResponse(_stream(subscription), content_type="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would gather a page of events first
    return response


def _problem(topics: list[str], after: str | None) -> str | None:
    if not topics:
        return "Name at least one topic: ?topic=news"
    if len(topics) > MAX_TOPICS:
        return f"{MAX_TOPICS} topics are the most."
    if not all(0 < len(topic) <= 200 for topic in topics):
        return "A topic has 1 to 200 characters."
    if any(topic.startswith("twogate.") for topic in topics):
        return "Topics that begin with “twogate.” are the server's own."
    if after is not None and not (after.isascii() and after.isdigit() and len(after) < 19):
        return "The number of the last event is none that came from here."
    return None


def _plain(status: int, message: str) -> HttpResponse:
    return HttpResponse(message + "\n", status=status, content_type="text/plain; charset=utf-8")


async def _may_subscribe(request: HttpRequest, topic: str) -> bool:
    name = _options().get("allow")
    if name is None:
        logger.warning(
            "Nobody may subscribe to %r: TWOGATE_TOPICS has no 'allow', the dotted name of a"
            " function (request, topic) -> bool",
            topic,
        )
        return False
    allow = import_string(name) if isinstance(name, str) else name
    call = allow if iscoroutinefunction(allow) else sync_to_async(allow)
    return bool(await call(request, topic))


async def _stream(subscription: Subscription) -> AsyncIterator[str]:
    try:
        yield f"retry: {_RETRY}\n\n"
        if not subscription.complete:
            yield "event: reset\ndata: {}\n\n"
        while True:
            entry = await _next_within(subscription, HEARTBEAT)
            if entry is None:
                yield ": still here\n\n"
            else:
                yield _event(entry)
    except (Lagging, StopAsyncIteration):
        return  # the browser comes back with the number of its last event
    finally:
        subscription.close()


async def _next_within(subscription: Subscription, seconds: float) -> Entry | None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await anext(subscription)
    return None


def _event(entry: Entry) -> str:
    topic = json.dumps(entry.topic)
    return f'id: {entry.id}\ndata: {{"topic":{topic},"data":{entry.data}}}\n\n'
