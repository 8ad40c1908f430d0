"""Takes broadcasts to the processes of a project on all machines, by Redis' publish and subscribe.

Each message travels as the WebSocket frame it is, with a number, so that whoever listens knows how
many never came. One thread sends, another one listens. Knows no sockets and no Django.
"""

from __future__ import annotations

import os
import secrets
import struct
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from twogate.realtime.gaps import Gaps
from twogate.realtime.redis_link import Link
from twogate.realtime.redis_listener import Listener
from twogate.realtime.redis_outbox import Outbox, Reason
from twogate.realtime.statistics import Reporter

__all__ = ["RedisCarrier", "RedisCarrierStatistics"]

#: Sender, number, length of the topic; then the topic and the frame.
_HEAD = struct.Struct("!8sQH")

_WORDS = {
    "unreachable": "because Redis could not be reached",
    "backlog": "because Redis did not take them fast enough",
    "missing": "sent by other processes and never came",
}


@dataclass(slots=True, frozen=True)
class RedisCarrierStatistics:
    """What this process has told others, and heard of them, since its start.

    :ivar sent: messages that Redis took.
    :ivar received: messages that came from other processes.
    :ivar dropped: messages by the reason why they were lost. ``unreachable`` and ``backlog``: they
        were not sent, or it is not known. ``missing``: others sent them, or tried to, and they
        never came here; known once a later one of the same sender comes.
    :ivar outages: how often Redis went away.
    :ivar away: whether it is.
    """

    sent: int
    received: int
    dropped: dict[str, int]
    outages: int
    away: bool


class RedisCarrier:
    """See :class:`twogate.realtime.topics.Carrier`. Nothing is opened before it is used.

    :param prefix: of its channel; that of the project.
    :param deliver: takes the topic and the frame of each message that comes from another process,
        on a thread of its own.
    """

    def __init__(self, link: Link, prefix: str, deliver: Callable[[str, bytes], None]) -> None:
        self._link = link
        self._channel = f"{prefix}:broadcast"
        self._deliver = deliver
        self._drops = Reporter("Broadcasting to other processes", _WORDS).drops
        self._outbox = Outbox(self._send, self._lose)
        self._begin()
        _carriers.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._sender = secrets.token_bytes(8)
        self._number = 0
        self._sent = self._received = 0
        self._listener: Listener | None = None
        self._gaps = Gaps(lambda count, target: self._drops.add("missing", count, "a broadcast"))

    def publish(self, topic: str, frame: bytes) -> None:
        """Send a frame to all other processes whose sockets have joined topics."""
        name = topic.encode("utf-8", "surrogatepass")
        with self._lock:  # so that they are sent in the order of their numbers
            self._number += 1
            head = _HEAD.pack(self._sender, self._number, len(name))
            self._outbox.put(b"".join((head, name, frame)), len(frame))

    def _send(self, messages: list[bytes]) -> None:
        pipe = self._link.client.pipeline(transaction=False)
        for message in messages:
            pipe.publish(self._channel, message)
        with self._link.trying():
            pipe.execute()
        self._sent += len(messages)

    def _lose(self, reason: Reason, messages: list[bytes]) -> None:
        self._drops.add(reason, len(messages), _split(messages[0])[2])

    def listen(self) -> None:
        """Have what others publish delivered here from now on. Cheap when that is so already."""
        if self._listener is None:
            self._listener = Listener(self._link, self._channel, self._gaps.settle, self._hear)
        else:
            self._gaps.settle()

    def _hear(self, message: bytes) -> None:
        try:
            sender, number, topic, frame = _split(message)
        except (struct.error, UnicodeDecodeError):
            return  # somebody else's
        if sender != self._sender:
            self._received += 1
            if self._gaps.note(("", sender.hex(), number)):
                self._deliver(topic, frame)

    def statistics(self) -> RedisCarrierStatistics:
        """Numbers of this moment."""
        self._gaps.settle()
        return RedisCarrierStatistics(
            sent=self._sent,
            received=self._received,
            dropped=self._drops.counts(),
            outages=self._link.outage.count,
            away=self._link.outage.away,
        )

    def close(self) -> None:
        """Leave; what waits is sent first, for some seconds at most."""
        self._outbox.close()
        if self._listener is not None:
            self._listener.close()


def _split(message: bytes) -> tuple[bytes, int, str, bytes]:
    sender, number, length = _HEAD.unpack_from(message)
    end = _HEAD.size + length
    return sender, number, message[_HEAD.size : end].decode("utf-8", "surrogatepass"), message[end:]


_carriers: weakref.WeakSet[RedisCarrier] = weakref.WeakSet()


def _after_fork() -> None:
    for carrier in list(_carriers):
        carrier._begin()  # its threads are the parent's, and so is its name


os.register_at_fork(after_in_child=_after_fork)
