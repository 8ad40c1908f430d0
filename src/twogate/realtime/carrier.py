"""Takes broadcasts to the other processes of a project on this machine.

Each process with sockets that have joined topics has a node in a runtime folder; whoever says
something sends it there as the WebSocket frame it is, which nobody decodes on its way. Any thread
sends and never waits; what comes is delivered by the node's thread. Knows no sockets and no Django.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct

from twogate.errors import ConfigError
from twogate.realtime.folder import RuntimeFolder
from twogate.realtime.frames import Frame, Kind, encode
from twogate.realtime.node import Node
from twogate.realtime.statistics import Drops
from twogate.realtime.topics import MAX_FRAME

__all__ = ["CarrierStatistics", "LocalCarrier"]

logger = logging.getLogger("twogate.realtime")

#: Bytes that may wait for each process that does not read; one frame may be larger.
BACKLOG = 4 << 20
#: A topic may be anything; the names of frames are ASCII. So it stands before the frame.
_LENGTH_OF_TOPIC = Struct("!H")
#: 200 characters in UTF-8.
_LONGEST_TOPIC = 800

_NOT_SENT = "A broadcast did not reach other processes"
_NOT_HEARD = "Broadcasts of other processes do not reach this one"


@dataclass(slots=True, frozen=True)
class CarrierStatistics:
    """What this process has told others, and heard of them, since its start.

    :ivar sent: messages that were sent to all others that listen, if there are any.
    :ivar received: messages that came from others.
    :ivar failed: messages that were not sent at all, because of an error that was logged.
    :ivar dropped: messages that one of the others did not get, by
        :data:`~twogate.realtime.statistics.Reason`; one for each of them.
    :ivar peers: processes that this one is connected to, now.
    :ivar backlog: bytes that wait for processes that do not read, now.
    :ivar broken_links: connections that were closed because garbage came from them.
    """

    sent: int
    received: int
    failed: int
    dropped: dict[str, int]
    peers: int
    backlog: int
    broken_links: int


class LocalCarrier:
    """See :class:`twogate.realtime.topics.Carrier`. Nothing is opened before it is used.

    :param folder: in which the processes of the project meet.
    :param deliver: takes the topic and the frame of each message that comes from another process,
        on the node's thread.
    """

    def __init__(self, folder: RuntimeFolder, deliver: Callable[[str, bytes], None]) -> None:
        self._folder = folder
        self._deliver = deliver
        self._begin()
        _carriers.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._node: Node | None = None
        self._drops = Drops(self._poke, "Broadcasting to other processes")
        self._complaints = set[str]()
        self._sent = 0
        self._failed = 0
        self._received = 0

    def publish(self, topic: str, frame: bytes) -> None:
        """Send a frame to all other processes whose sockets have joined topics.

        What goes wrong is counted and logged: the sockets of this process have it already.
        """
        try:
            node = self._node or self._open()
            peers = node.peers()
            if peers:
                encoded = topic.encode("utf-8", "surrogatepass")
                body = _LENGTH_OF_TOPIC.pack(len(encoded)) + encoded + frame
                full = node.links.send_to_all(peers, encode(Kind.BROADCAST, "", 0.0, body))
                self._drops.add("backlog", full, topic)
        except (OSError, ConfigError) as error:
            self._complain(_NOT_SENT, error)
            with self._lock:
                self._failed += 1
        else:
            self._complaints.discard(_NOT_SENT)
            with self._lock:
                self._sent += 1

    def listen(self) -> None:
        """Have what others publish delivered here from now on. Cheap when that is so already."""
        try:
            (self._node or self._open()).listen()
        except (OSError, ConfigError) as error:
            self._complain(_NOT_HEARD, error)
        else:
            self._complaints.discard(_NOT_HEARD)

    def statistics(self) -> CarrierStatistics:
        """Numbers of this moment."""
        node = self._node
        peers, backlog = (0, 0) if node is None else node.links.sizes()
        return CarrierStatistics(
            sent=self._sent,
            received=self._received,
            failed=self._failed,
            dropped=self._drops.counts(),
            peers=peers,
            backlog=backlog,
            broken_links=0 if node is None else node.broken_links,
        )

    def close(self) -> None:
        """Leave; what waits for others is written first, for a second at most."""
        with self._lock:
            node, self._node = self._node, None
        if node is not None:
            node.close()

    def _open(self) -> Node:
        with self._lock:
            if self._node is None:
                self._folder.prepare()
                most = MAX_FRAME + _LENGTH_OF_TOPIC.size + _LONGEST_TOPIC
                self._node = Node(self._folder, self, most, BACKLOG, self._drops)
            return self._node

    def _complain(self, what: str, error: Exception) -> None:
        """Once, until it works again."""
        if what not in self._complaints:
            self._complaints.add(what)
            logger.error("%s; this is said once until it works again: %s", what, error)

    def _poke(self) -> None:
        node = self._node
        if node is not None:
            node.poke()

    def _leave_to_parent(self) -> None:
        """After a fork, in the child: it needs a node of its own, and has said nothing yet."""
        node = self._node
        if node is not None:
            node.abandon()
        self._begin()  # with a new lock, too: the old one may be held by a thread that is not here

    # The node's thread, see twogate.realtime.node.Receiver.

    def receive(self, frames: list[Frame]) -> None:
        """Messages came from one process, in the order it sent them."""
        start = _LENGTH_OF_TOPIC.size
        for frame in frames:
            body = frame.body
            end = start + _LENGTH_OF_TOPIC.unpack_from(body)[0]
            self._deliver(body[start:end].decode("utf-8", "surrogatepass"), body[end:])
        self._received += len(frames)

    def tick(self) -> float | None:
        """Log what was dropped, when that is due."""
        return self._drops.report()

    def end(self) -> None:
        """Log the rest."""
        self._drops.report(at_once=True)


_carriers: weakref.WeakSet[LocalCarrier] = weakref.WeakSet()


def _at_exit() -> None:
    for carrier in list(_carriers):
        carrier.close()


def _after_fork() -> None:
    for carrier in list(_carriers):
        carrier._leave_to_parent()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
