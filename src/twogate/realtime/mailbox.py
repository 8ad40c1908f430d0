"""The channels and groups of one process: what waits in them, and who waits for it.

Channels belong to the process, not to an event loop: a message may be put by any thread and
received on any loop. Everything here is guarded by one lock, which is held for microseconds.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from twogate.realtime.statistics import Drops

__all__ = ["Mailbox"]

Waiter: TypeAlias = "asyncio.Future[None]"
_Loop: TypeAlias = asyncio.AbstractEventLoop


class Mailbox:
    """Channels, their waiting messages, and groups of channels.

    :param capacity: how many messages may wait in a channel of this name.
    :param group_expiry: seconds after which a membership ends that nobody renewed.
    :param clock: seconds; deadlines are by this clock.
    """

    def __init__(
        self,
        capacity: Callable[[str], int],
        group_expiry: float,
        drops: Drops,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capacity = capacity
        self._group_expiry = group_expiry
        self._drops = drops
        self._clock = clock
        self._lock = threading.Lock()
        #: Only channels in which something waits, so that an idle one costs nothing.
        self._queues: dict[str, deque[tuple[float, bytes]]] = {}
        self._waiters: dict[str, list[Waiter]] = {}
        #: By group: its channels, and when each of them entered.
        self._groups: dict[str, dict[str, float]] = {}
        self._groups_of: dict[str, set[str]] = {}
        #: Members whose last receiver was cancelled, as that of a consumer is when it ends. A
        #: consumer that is merely slow is not among them.
        self._abandoned: set[str] = set()
        self.received = 0

    # Messages

    def put(self, channel: str, deadline: float, body: bytes) -> bool:
        """Add a message; ``False`` when the channel is full."""
        with self._lock:
            if not self._append(channel, (deadline, body)):
                return False
            waiter = self._next_waiter(channel)
        if waiter is not None:
            _wake([waiter])
        return True

    def put_to_group(self, group: str, deadline: float, body: bytes) -> bool:
        """Add a message to each channel of a group; full ones lose it, which is counted.

        :return: whether the group has members.
        """
        full = 0
        entry = (deadline, body)
        waiters: list[Waiter] = []
        with self._lock:
            members = self._groups.get(group)
            if not members:
                return False
            self._expire_members(group, members)
            for channel in members:
                if not self._append(channel, entry):
                    full += 1
                elif channel in self._waiters:
                    waiter = self._next_waiter(channel)
                    if waiter is not None:
                        waiters.append(waiter)
        _wake(waiters)
        self._drops.add("capacity", full, group)
        return True

    def _append(self, channel: str, entry: tuple[float, bytes]) -> bool:
        queue = self._queues.get(channel)
        if queue is None:
            self._queues[channel] = deque((entry,))
        elif len(queue) < self._capacity(channel):
            queue.append(entry)
        else:
            return False
        return True

    async def get(self, channel: str) -> bytes:
        """The next message of a channel, once there is one.

        When cancelled it has taken nothing.
        """
        while True:
            with self._lock:
                body, expired = self._take(channel)
                if body is None:
                    waiter = self._add_waiter(channel)
            self._drops.add("expired", expired, channel)
            if body is not None:
                return body
            try:
                await waiter
            except BaseException:
                self.give_up(channel, waiter)
                raise

    def _take(self, channel: str) -> tuple[bytes | None, int]:
        """The first message that has not expired, and how many before it had."""
        self._abandoned.discard(channel)
        expired = 0
        queue = self._queues.get(channel)
        if queue is None:
            return None, 0
        body = None
        now = self._clock()
        while queue and body is None:
            deadline, body = queue.popleft()
            if deadline < now:
                body = None
                expired += 1
        if not queue:
            del self._queues[channel]
        self.received += body is not None
        return body, expired

    # Who waits

    def wait(self, channel: str) -> Waiter:
        """A future of the running loop for :meth:`wake`; to be handed to :meth:`give_up` after."""
        with self._lock:
            return self._add_waiter(channel)

    def wake(self, channel: str) -> None:
        """Wake everybody who waits for a channel."""
        with self._lock:
            waiters = self._waiters.pop(channel, [])
        _wake(waiters)

    def give_up(self, channel: str, waiter: Waiter) -> None:
        """The waiter does not wait any more. If it was woken in vain, another one is woken."""
        following = None
        with self._lock:
            waiters = self._waiters.get(channel, [])
            if waiter in waiters:
                waiters.remove(waiter)
                if not waiters:
                    del self._waiters[channel]
            elif channel in self._queues:
                following = self._next_waiter(channel)
            if channel in self._groups_of and channel not in self._waiters:
                self._abandoned.add(channel)
        if following is not None:
            _wake([following])

    def _add_waiter(self, channel: str) -> Waiter:
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(channel, []).append(waiter)
        return waiter

    def _next_waiter(self, channel: str) -> Waiter | None:
        """Whoever has waited longest. A loop may have been closed under those who waited on it."""
        waiters = self._waiters.get(channel)
        if waiters is None:
            return None
        found = None
        while waiters and found is None:
            found = waiters.pop(0)
            if found.done() or found.get_loop().is_closed():
                found = None
        if not waiters:
            del self._waiters[channel]
        return found

    # Groups

    def join(self, group: str, channel: str) -> None:
        """Make a channel a member of a group, or renew its membership."""
        with self._lock:
            members = self._groups.setdefault(group, {})
            members.pop(channel, None)
            members[channel] = self._clock()
            self._groups_of.setdefault(channel, set()).add(group)

    def leave(self, group: str, channel: str) -> None:
        """End a membership, if there is one."""
        with self._lock:
            self._leave(group, channel)

    def _leave(self, group: str, channel: str) -> None:
        members = self._groups.get(group)
        if members is None or members.pop(channel, None) is None:
            return
        if not members:
            del self._groups[group]
        groups = self._groups_of[channel]
        groups.discard(group)
        if not groups:
            del self._groups_of[channel]
            self._abandoned.discard(channel)

    def has_members(self, group: str) -> bool:
        """Whether any channel is a member of a group."""
        return group in self._groups

    def memberships(self) -> dict[str, dict[str, float]]:
        """By group its channels, and for how many seconds each has been a member."""
        with self._lock:
            now = self._clock()
            for group, members in list(self._groups.items()):
                self._expire_members(group, members)
            return {
                group: {channel: now - since for channel, since in members.items()}
                for group, members in self._groups.items()
            }

    def _expire_members(self, group: str, members: dict[str, float]) -> None:
        """The oldest memberships come first: one that is renewed goes to the end."""
        oldest = self._clock() - self._group_expiry
        while members and next(iter(members.values())) < oldest:
            self._leave(group, next(iter(members)))

    # Housekeeping

    def sweep(self) -> bool:
        """Remove what has expired; ``False`` when nothing is left that could.

        An abandoned channel loses its memberships with the first message that expires in it, as
        Channels' specification allows ("Persistence").
        """
        expired, example = 0, ""
        with self._lock:
            now = self._clock()
            for channel, queue in list(self._queues.items()):
                before = len(queue)
                while queue and queue[0][0] < now:
                    queue.popleft()
                if len(queue) == before:
                    continue
                expired, example = expired + before - len(queue), channel
                if not queue:
                    del self._queues[channel]
                if channel in self._abandoned:
                    for group in list(self._groups_of[channel]):
                        self._leave(group, channel)
            busy = bool(self._queues)
        self._drops.add("expired", expired, example)
        return busy

    def clear(self) -> None:
        """Forget all messages and memberships; those who wait go on waiting."""
        with self._lock:
            for forgotten in (self._queues, self._groups, self._groups_of, self._abandoned):
                forgotten.clear()

    def sizes(self) -> tuple[int, int, int]:
        """How many messages wait, how many groups there are, and how many memberships."""
        with self._lock:
            queued = sum(map(len, self._queues.values()))
            return queued, len(self._groups), sum(map(len, self._groups.values()))


def _wake(waiters: Iterable[Waiter]) -> None:
    """Wake waiters of any loop; one crossing for all of a loop."""
    running = asyncio._get_running_loop()
    elsewhere: dict[_Loop, list[Waiter]] = {}
    for waiter in waiters:
        loop = waiter.get_loop()
        if loop is not running:
            elsewhere.setdefault(loop, []).append(waiter)
        elif not waiter.done():
            waiter.set_result(None)
    for loop, theirs in elsewhere.items():
        try:
            loop.call_soon_threadsafe(_set_results, theirs)
        except RuntimeError:  # it was closed this moment
            pass


def _set_results(waiters: list[Any]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
