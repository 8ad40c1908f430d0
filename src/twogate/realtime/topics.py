"""Topics for the code of a project: a socket joins, anybody says something to those who have.

:func:`broadcast` may be called from any thread: it hands the message over to each loop of this
process, and to a carrier that takes it to other processes. That is what :func:`carry` was given, or
what a Django project's settings say. The servers of this process attach their hubs; nothing here
knows one.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from twogate.errors import RealtimeError
from twogate.protocol.websocket import Message, encode_message
from twogate.realtime.hub import Hub, check_topic

__all__ = [
    "EXTENSION",
    "MAX_FRAME",
    "Carrier",
    "attach",
    "broadcast",
    "carry",
    "deliver_here",
    "join",
    "leave",
    "statistics",
]

logger = logging.getLogger("twogate.realtime")

#: The ASGI extension of a WebSocket's scope: ``scope["extensions"][EXTENSION]`` is a dictionary of
#: two functions, ``"join"`` and ``"leave"``. Each takes a topic and returns at once; both may be
#: called from any thread, and before the WebSocket is accepted.
EXTENSION = "twogate.broadcast"

#: Its ``find()`` returns the carrier of a Django project, or ``None`` before it has its settings.
_PROJECT = "twogate.django.carriers"

#: Bytes of a message with its head, at most.
MAX_FRAME = 1 << 24
#: Bytes that may wait to be handed over to one loop, with about what Python adds to each message.
_MOST_WAITING = 1 << 24
_OVERHEAD = 200
#: Frames written before the loop's other work has its turn; some milliseconds.
_TURN = 1000


class Carrier(Protocol):
    """Takes messages to the other processes, whose :func:`deliver_here` is to be called."""

    def publish(self, topic: str, frame: bytes) -> None:
        """Send a whole WebSocket frame to all others. Any thread; never waits and never raises."""

    def listen(self) -> None:
        """Deliver here what others publish, from now on: somebody has joined a topic.

        Called on a loop, about once a second; never raises.
        """

    def statistics(self) -> Any:
        """Numbers of this process, as a dataclass."""


# For consumers.


def join(connection: Any, topic: str) -> None:
    """Let a WebSocket have all that is broadcast to a topic, until it leaves or closes.

    In a consumer: ``join(self, "room.5")``, in async and sync ones alike. It may stand before
    ``accept()``; messages come from then on.

    :param connection: a consumer, or whatever else has a ``scope``; or the scope itself.
    :raises RealtimeError: this connection cannot join: no WebSocket, or not served by Twogate.
    :raises TypeError: the topic is no string.
    :raises ValueError: the topic is empty or too long.
    """
    _extension(connection)["join"](topic)


def leave(connection: Any, topic: str) -> None:
    """Take a WebSocket off a topic; not needed when it closes. Like :func:`join` otherwise."""
    _extension(connection)["leave"](topic)


def _extension(connection: Any) -> dict[str, Callable[[str], None]]:
    scope = getattr(connection, "scope", connection)
    try:
        found: dict[str, Callable[[str], None]] = scope["extensions"][EXTENSION]
    except (KeyError, TypeError):
        raise RealtimeError(_why_not(scope)) from None
    return found


def _why_not(scope: Any) -> str:
    kind = scope.get("type") if isinstance(scope, dict) else None
    if kind is not None and kind != "websocket":
        return f"Only a WebSocket can join a topic; the scope of this one is of type {kind!r}."
    return (
        f"This WebSocket cannot join a topic: its server does not offer {EXTENSION!r} in"
        ' scope["extensions"]. Serve the project with “twogate serve”; a test that has no server'
        ' puts {"join": …, "leave": …}, two functions that take a topic, in that place.'
    )


# For everybody.


def broadcast(topic: str, message: Message) -> None:
    """Send a message to every WebSocket that has joined a topic. Any thread; never waits.

    In a Django project it reaches all its processes, and may be called in any of them. On a
    server's own loop it is written before this returns. From another thread it is handed over, and
    messages of one thread keep their order.

    :param message: text or bytes, for one text or binary WebSocket message; 16 MiB with its head.
    :raises TypeError: the topic is no string, or the message neither text nor bytes.
    :raises ValueError: the topic is empty or too long, the message is too long, or the text is not
        Unicode (it has a surrogate).
    """
    check_topic(topic)
    frame = _encode(message)
    deliver_here(topic, frame)
    carrier = _carrier or _find_carrier()
    if carrier is not None:
        carrier.publish(topic, frame)
    elif not _inboxes:
        _warn_of_silence()


def _encode(message: Message) -> bytes:
    if not isinstance(message, str | bytes):
        raise TypeError(
            f"A message is text or bytes, not {type(message).__name__}; use json.dumps() for data."
        )
    frame = encode_message(message)
    if len(frame) > MAX_FRAME:
        raise ValueError(
            f"The message makes a frame of {len(frame)} bytes; {MAX_FRAME} are the most."
            " Broadcast where to find it."
        )
    return frame


def deliver_here(topic: str, frame: bytes) -> None:
    """Write a WebSocket frame to all who have joined a topic in this process. Any thread."""
    for inbox in _inboxes:
        inbox.put(topic, frame)


def carry(carrier: Carrier | None) -> None:
    """Let :func:`broadcast` reach other processes by this carrier, whatever the settings say.

    :param carrier: ``None`` for this process alone.
    """
    global _carrier, _carrier_is_chosen
    with _changing:
        _carrier, _carrier_is_chosen = carrier, True


def statistics() -> Any:
    """The carrier's, see :meth:`Carrier.statistics`; ``None`` when there is none."""
    return None if _carrier is None else _carrier.statistics()


def _find_carrier() -> Carrier | None:
    """The carrier that the project's settings ask for, if this process has any."""
    global _carrier, _carrier_is_chosen
    if _carrier_is_chosen or sys.modules.get("django.conf") is None:
        return _carrier
    find = importlib.import_module(_PROJECT).find
    with _changing:
        if not _carrier_is_chosen:
            _carrier = find()
            _carrier_is_chosen = _carrier is not None
        return _carrier


def _listen() -> None:
    carrier = _carrier or _find_carrier()
    if carrier is not None:
        carrier.listen()


def attach(hub: Hub, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """Let :func:`broadcast` reach a hub of this process.

    :param loop: the hub's.
    :return: detaches it; to be called before the loop is closed.
    """
    inbox = _Inbox(hub, loop)
    hub.occupied = _listen
    _change(lambda inboxes: (*inboxes, inbox))
    return lambda: _change(lambda inboxes: tuple(each for each in inboxes if each is not inbox))


class _Inbox:
    """Takes messages from any thread to one hub, on its loop, in order."""

    __slots__ = ("_hub", "_lock", "_loop", "_messages", "_scheduled", "_size")

    def __init__(self, hub: Hub, loop: asyncio.AbstractEventLoop) -> None:
        self._hub = hub
        self._loop = loop
        self._lock = threading.Lock()
        self._messages: deque[tuple[str, bytes]] = deque()
        self._size = 0
        self._scheduled = False

    def put(self, topic: str, frame: bytes) -> None:
        """Any thread."""
        if not self._messages and asyncio._get_running_loop() is self._loop:
            self._hub.deliver_frame(topic, frame)
            return
        with self._lock:
            size = self._size + len(frame) + _OVERHEAD
            if size > _MOST_WAITING and self._messages:
                self._hub.lost += 1
                return
            self._messages.append((topic, frame))
            self._size = size
            if self._scheduled:
                return
            self._scheduled = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            pass  # the loop is closed, and with it all who have joined

    def _deliver(self) -> None:
        """Pass messages on for a while, then let the loop's other work have its turn."""
        deliver, left = self._hub.deliver_frame, _TURN
        while left > 0:
            with self._lock:
                if not self._messages:
                    self._scheduled = False
                    return
                topic, frame = self._messages.popleft()
                self._size -= len(frame) + _OVERHEAD
            left -= 1 + deliver(topic, frame)
        self._loop.call_soon(self._deliver)


_carrier: Carrier | None = None
_carrier_is_chosen = False
#: Of the servers in this process; replaced as a whole, so that reading takes no lock.
_inboxes: tuple[_Inbox, ...] = ()
_changing = threading.Lock()
_silence_told = False


def _change(change: Callable[[tuple[_Inbox, ...]], tuple[_Inbox, ...]]) -> None:
    global _inboxes
    with _changing:
        _inboxes = change(_inboxes)


def _warn_of_silence() -> None:
    global _silence_told
    if not _silence_told:
        _silence_told = True
        logger.warning(
            "broadcast() reaches nobody: no server runs in this process, and nothing carries"
            " topics to others. This is said once."
        )


def _after_fork() -> None:
    """In the child: the loops are the parent's, and are reached as those of any other process."""
    global _inboxes, _changing
    _inboxes, _changing = (), threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
