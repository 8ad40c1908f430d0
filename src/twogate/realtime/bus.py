"""What one process has of a local channel layer, in bytes: its mailbox, its node and the store.

Knows neither Channels nor Django. All methods may be called by any thread, and none of them waits,
but for ``get``, ``flush`` and ``close``.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from twogate.realtime.folder import RuntimeFolder
from twogate.realtime.frames import Frame, Kind, encode
from twogate.realtime.mailbox import Mailbox
from twogate.realtime.node import NAME_LENGTH, Node
from twogate.realtime.statistics import Drops, Reason, Statistics
from twogate.realtime.store import Store

__all__ = ["Bus"]

#: Bytes that may wait for each peer that does not read, unless one message may be longer.
BACKLOG = 4 << 20
#: Seconds from one round of housekeeping to the next, while anything waits in the mailbox.
SWEEP = 1.0
#: Seconds that the other processes may take to forget everything.
FLUSH_TIMEOUT = 2.0
_STORE = "channels.sqlite3"


class Bus:
    """One process's part of a layer.

    A channel whose name ends in ``NODE!LOCAL`` is at home in the process of that node. One without
    an exclamation mark has no home; its messages wait in :attr:`store`.

    :param capacity: how many messages may wait in a channel of this name.
    :param expiry: seconds that a message may wait.
    :param group_expiry: seconds after which a membership ends that nobody renewed.
    :param max_size: the longest message, in bytes.
    """

    def __init__(
        self,
        folder: RuntimeFolder,
        *,
        capacity: Callable[[str], int],
        expiry: float,
        group_expiry: float,
        max_size: int,
    ) -> None:
        folder.prepare()
        self._expiry = expiry
        self._sweeping = False
        self._next_sweep = 0.0
        self._lock = threading.Lock()
        self._sent = 0
        self._refused = 0
        self.drops = Drops(self._poke)
        self.mailbox = Mailbox(capacity, group_expiry, self.drops)
        self.store = Store(Path(folder.path, _STORE), group_expiry)
        self.node = Node(folder, self, max_size, max(BACKLOG, max_size), self.drops)

    def new_channel(self, prefix: str) -> str:
        """The name of a new channel that is at home here."""
        self.node.listen()
        return f"{prefix}{self.node.name}!{secrets.token_hex(8)}"

    def is_at_home(self, channel: str) -> bool:
        """Whether a channel is at home in this process."""
        return _home(channel) == self.node.name

    def send(self, channel: str, body: bytes) -> bool:
        """Send to a channel that has a home; ``False`` when it is known to be full.

        Whether a channel of another process is full is known there only, where it is counted.
        """
        deadline = time.monotonic() + self._expiry
        home = _home(channel)
        if home == self.node.name:
            taken = self.mailbox.put(channel, deadline, body)
            self._begin_sweeping()
        else:
            taken = self._send(home, Kind.MESSAGE, channel, deadline, body) != "backlog"
        self.count_sent(taken)
        return taken

    def send_to_group(self, group: str, body: bytes) -> None:
        """Send to the members of a group that have a home."""
        deadline = time.monotonic() + self._expiry
        self.count_sent()
        if self.mailbox.put_to_group(group, deadline, body):
            self._begin_sweeping()
        peers = self.node.peers()
        if peers:
            frame = encode(Kind.GROUP, group, deadline, body)
            self.drops.add("backlog", self.node.links.send_to_all(peers, frame), group)

    def count_sent(self, taken: bool = True) -> None:
        """Count a message that was taken, or refused."""
        with self._lock:
            if taken:
                self._sent += 1
            else:
                self._refused += 1

    def announce(self, channel: str) -> None:
        """Tell all who receive from a channel without a home that the store has something."""
        self.mailbox.wake(channel)
        self.node.links.send_to_all(self.node.peers(), encode(Kind.WAKE, channel))

    async def get(self, channel: str) -> bytes:
        """The next message of a channel that is at home here, once there is one."""
        return await self.mailbox.get(channel)

    def join(self, group: str, channel: str) -> None:
        """Make a channel that has a home a member of a group.

        Its process may learn of it a moment later, but before whatever this one sends to it next.
        """
        home = _home(channel)
        if home == self.node.name:
            self.node.listen()
            self.mailbox.join(group, channel)
        else:
            self._send(home, Kind.JOIN, channel, 0.0, group.encode("ascii"))

    def leave(self, group: str, channel: str) -> None:
        """End the membership of a channel that has a home."""
        home = _home(channel)
        if home == self.node.name:
            self.mailbox.leave(group, channel)
        else:
            self._send(home, Kind.LEAVE, channel, 0.0, group.encode("ascii"))

    def _send(
        self, home: str, kind: Kind, channel: str, deadline: float, body: bytes
    ) -> Reason | None:
        reason = self.node.links.send(home, encode(kind, channel, deadline, body))
        # Of a message that finds no room its sender is told.
        if reason is not None and (reason == "gone" or kind is not Kind.MESSAGE):
            self.drops.add(reason, 1, channel)
        return reason

    def flush(self) -> None:
        """Make all processes forget all messages and groups.

        Returns when they have; does not wait for a process that is stopped.
        """
        self.mailbox.clear()
        self.node.links.send_to_all(self.node.peers(), encode(Kind.FLUSH, ""))
        self.node.links.finish(FLUSH_TIMEOUT, wait_for_peers=True)

    def statistics(self) -> Statistics:
        """The figures of this process."""
        queued, groups, members = self.mailbox.sizes()
        peers, backlog = self.node.links.sizes()
        return Statistics(
            sent=self._sent,
            received=self.mailbox.received,
            refused=self._refused,
            dropped=self.drops.counts(),
            queued=queued,
            groups=groups,
            members=members,
            peers=peers,
            backlog=backlog,
            broken_links=self.node.broken_links,
        )

    def close(self, wait: bool = True) -> None:
        """Leave; what waits for others is written first, for a second at most.

        :param wait: return when that is done; else the node's own thread does it.
        """
        self.node.close(wait)

    # The node's thread

    def receive(self, frames: list[Frame]) -> None:
        """See :class:`~twogate.realtime.node.Receiver`."""
        for kind, name, deadline, body in frames:
            if kind == Kind.GROUP:
                self.mailbox.put_to_group(name, deadline, body)
            elif kind == Kind.MESSAGE:
                if not self.mailbox.put(name, deadline, body):
                    self.drops.add("capacity", 1, name)
            elif kind == Kind.JOIN:
                self.mailbox.join(str(body, "ascii"), name)
            elif kind == Kind.LEAVE:
                self.mailbox.leave(str(body, "ascii"), name)
            elif kind == Kind.WAKE:
                self.mailbox.wake(name)
            elif kind == Kind.FLUSH:
                self.mailbox.clear()
        self._sweeping = True

    def tick(self) -> float | None:
        """See :class:`~twogate.realtime.node.Receiver`."""
        due = self.drops.report()
        if self._sweeping:
            now = time.monotonic()
            if now >= self._next_sweep:
                self._next_sweep = now + SWEEP
                # Unset first: whoever puts something meanwhile sets it again.
                self._sweeping = False
                if self.mailbox.sweep():
                    self._sweeping = True
            if self._sweeping:
                wait = self._next_sweep - now
                due = wait if due is None else min(due, wait)
        return due

    def end(self) -> None:
        """See :class:`~twogate.realtime.node.Receiver`."""
        self.drops.report(at_once=True)

    def _begin_sweeping(self) -> None:
        """After something was put, never before: a sweep in between would end the sweeping."""
        if not self._sweeping:
            self._sweeping = True
            self._poke()

    def _poke(self) -> None:
        self.node.poke()


def _home(channel: str) -> str:
    """The name of the node that a channel is at home in."""
    end = channel.index("!")
    return channel[max(0, end - NAME_LENGTH) : end]
