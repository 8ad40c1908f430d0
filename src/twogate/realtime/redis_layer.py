"""channels_redis' layer, which outlives its Redis and counts what is lost. On the event loop.

What is ours: one task reads for all channels of a process, so that no consumer ever meets an error
of the connection; memberships are remembered and made again; messages are numbered, so that those
which Redis took and lost are missed. Everything else is ``channels_redis.core``.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import threading
import time
import weakref
from dataclasses import dataclass
from typing import Any

import msgpack
from channels.exceptions import ChannelFull
from channels_redis.core import RedisChannelLayer, RedisLoopLayer

from twogate.realtime.gaps import Gaps, Mark, Sequence
from twogate.realtime.mailbox import Mailbox
from twogate.realtime.outage import Away
from twogate.realtime.redis_link import BLOCK, TIMEOUT, Link, link_to
from twogate.realtime.statistics import Reporter

__all__ = ["LayerStatistics", "RedisAway", "RedisLayer"]

#: Seconds from one round of housekeeping to the next.
TICK = 1.0
#: Messages read at a time.
_BATCH = 100
#: Messages that may wait in Redis for all channels of a process, as a multiple of ``capacity``.
_SHARED_CAPACITY = 10
#: The key of a message under which its mark travels.
_MARK = "__twogate__"
#: Memberships that ended while Redis was away, and are to be ended there.
_MOST_LEFT = 10_000

_WORDS = {
    "capacity": "for channels at capacity",
    "expired": "expired unread",
    "unreachable": "because Redis could not be reached",
    "missing": "sent to a group by somebody and never came",
}


class RedisAway(ChannelFull):  # type: ignore[misc]
    """Redis cannot be reached, so the message was not sent. Also a ``ChannelFull``: the one error
    that Channels' specification lets the sender of a message expect."""


@dataclass(frozen=True, slots=True)
class LayerStatistics:
    """A layer's figures in this process. Counts are since its start.

    :ivar sent: messages that Redis took from ``send()`` and ``group_send()``.
    :ivar received: messages that ``receive()`` returned, of channels of this process.
    :ivar refused: messages that ``send()`` answered with ``ChannelFull``.
    :ivar dropped: messages by the reason why they were lost. ``unreachable``: this process could
        not hand them to Redis, or does not know whether it did. ``missing``: others or this process
        sent them to a group, and they never came here, among them what their senders count as
        unreachable; one for each process. ``capacity`` and ``expired``: they came, once for each
        channel that did not get it.
    :ivar queued: messages that wait in channels of this process.
    :ivar groups: groups with members in this process.
    :ivar members: memberships of channels of this process.
    :ivar outages: how often Redis went away.
    :ivar away: whether it is.
    """

    sent: int
    received: int
    refused: int
    dropped: dict[str, int]
    queued: int
    groups: int
    members: int
    outages: int
    away: bool


class RedisLayer(RedisChannelLayer):  # type: ignore[misc]
    """A channel layer for many machines, with the groups and flush extensions.

    ``receive()``, ``group_add()``, ``group_discard()`` and ``group_send()`` raise nothing when
    Redis is away; ``send()`` raises :class:`RedisAway`. Nothing waits for Redis longer than two
    seconds, but ``receive()`` and ``flush()``.

    :param url: as :func:`twogate.realtime.where.redis_url` returns it.
    :param prefix: of all keys in Redis.
    :param options: those of ``channels_redis.core.RedisChannelLayer``.
    """

    brpop_timeout = BLOCK

    def __init__(self, url: str, *, prefix: str, **options: Any) -> None:
        self._link: Link = link_to(url)
        hosts = [{"address": url, **self._link.options(for_asyncio=True)}]
        super().__init__(hosts=hosts, prefix=prefix, **options)
        self._drops = Reporter("Channel layer", _WORDS).drops
        self._mailbox = Mailbox(super().get_capacity, self.group_expiry, self._drops)
        self._sequence = Sequence()
        self._gaps = Gaps(lambda count, group: self._drops.add("missing", count, group))
        self._lock = threading.Lock()
        self._sent = self._refused = 0
        #: What reads for all channels of this process, and the loops that would.
        self._reader: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        #: How often Redis failed to hear of a membership, and of how many of those it has been
        #: told since; and the memberships it is to forget.
        self._untold = self._told = 0
        self._left: dict[tuple[str, str], None] = {}
        _layers.add(self)

    # Channels' specification

    async def send(self, channel: str, message: Any) -> None:
        """Send a message to a channel.

        :raises ChannelFull: as many messages wait there as may.
        :raises RedisAway: Redis cannot be reached. Where it did not answer in time, the message may
            arrive all the same.
        """
        self.require_valid_channel_name(channel)
        try:
            with self._link.trying():
                async with asyncio.timeout(TIMEOUT):
                    await super().send(channel, message)
        except ChannelFull:
            with self._lock:
                self._refused += 1
            raise ChannelFull(channel) from None
        except Away as error:
            self._drops.add("unreachable", 1, channel)
            raise RedisAway(f"{channel}: {error}") from error
        self._count_sent()

    async def group_send(self, group: str, message: Any) -> None:
        """Send a message to all members of a group. What cannot be sent is counted."""
        self.require_valid_group_name(group)
        marked = {**message, _MARK: self._sequence.next(group)}
        try:
            with self._link.trying():
                async with asyncio.timeout(TIMEOUT):
                    await super().group_send(group, marked)
        except Away:
            self._drops.add("unreachable", 1, group)
        else:
            self._count_sent()

    async def receive(self, channel: str) -> Any:
        """The next message of a channel, once there is one, however often Redis goes away."""
        self.require_valid_channel_name(channel)
        if "!" not in channel:
            return await self._receive_from_anywhere(channel)
        if self.non_local_name(channel) != self._home:
            raise AssertionError(f"{channel} is another process's channel: only it can receive.")
        self._read_here()
        return msgpack.unpackb(await self._mailbox.get(channel), strict_map_key=False)

    async def group_add(self, group: str, channel: str) -> None:
        """Make a channel a member of a group, as soon as Redis is there to know it."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        self._mailbox.join(group, channel)
        self._left.pop((group, channel), None)
        try:
            with self._link.trying():
                async with asyncio.timeout(TIMEOUT):
                    await super().group_add(group, channel)
        except Away:
            self._untold += 1

    async def group_discard(self, group: str, channel: str) -> None:
        """End a membership, as soon as Redis is there to know it."""
        self.require_valid_channel_name(channel)
        self.require_valid_group_name(group)
        self._mailbox.leave(group, channel)
        if not self._mailbox.has_members(group):
            self._gaps.forget(group)
        try:
            with self._link.trying():
                async with asyncio.timeout(TIMEOUT):
                    await super().group_discard(group, channel)
        except Away:
            self._untold += 1
            if len(self._left) < _MOST_LEFT:  # others end with their expiry
                self._left[group, channel] = None

    async def flush(self) -> None:
        """Make Redis and this process forget all messages and groups.

        :raises redis.RedisError: Redis cannot be reached.
        """
        # Not channels_redis' own: it ends with closing connections on which others wait.
        connection = self.connection(0)
        async for key in connection.scan_iter(match=f"{_escape(self.prefix)}*", count=1000):
            await connection.unlink(key)
        self._mailbox.clear()
        self._left.clear()

    async def close(self) -> None:
        """Leave: end what reads on this loop, and its connections."""
        await self.wait_received()
        here = self._layers.pop(asyncio.get_running_loop(), None)
        if here is not None:
            await here.flush()

    # Beyond the specification

    def statistics(self) -> LayerStatistics:
        """What this process has sent, received and lost, and what waits in it."""
        self._gaps.settle()
        queued, groups, members = self._mailbox.sizes()
        return LayerStatistics(
            sent=self._sent,
            received=self._mailbox.received,
            refused=self._refused,
            dropped=self._drops.counts(),
            queued=queued,
            groups=groups,
            members=members,
            outages=self._link.outage.count,
            away=self._link.outage.away,
        )

    def non_local_name(self, name: str) -> str:
        """What the channels of one process have in common: one list in Redis, whatever prefixes
        :meth:`new_channel` was given."""
        shared: str = super().non_local_name(name)
        return shared.rpartition(".")[2] if shared.endswith("!") else shared

    def get_capacity(self, channel: str) -> int:
        """How many messages may wait in Redis: in a channel without a home, or in all of a
        process. How many may wait in each of those, :class:`Mailbox` sees to."""
        capacity: int = super().get_capacity(channel)
        return capacity * _SHARED_CAPACITY if "!" in channel else capacity

    @property
    def _home(self) -> str:
        return f"{self.client_prefix}!"

    def _leave_to_parent(self) -> None:
        """After a fork, in the child: channels, readers and streams are the parent's."""
        self._lock = threading.Lock()
        self.client_prefix = secrets.token_hex(16)
        self._sequence = Sequence()
        self._mailbox = Mailbox(super().get_capacity, self.group_expiry, self._drops)
        self._left.clear()
        self._reader = self._keeper = None
        self._loops = weakref.WeakSet()

    def _count_sent(self) -> None:
        with self._lock:
            self._sent += 1

    def connection(self, index: int) -> Any:
        """See channels_redis, which closes a loop's connections before the loop; what reads there
        must end first."""
        connection = super().connection(index)
        kept = self._layers[asyncio.get_running_loop()]
        if not isinstance(kept, _LoopLayer):
            mine = self._layers[asyncio.get_running_loop()] = _LoopLayer(self)
            mine._connections = kept._connections
        return connection

    # Reading

    async def _receive_from_anywhere(self, channel: str) -> Any:
        """From a channel without a home, which any process may read."""
        while True:
            try:
                _, message = await self.receive_single(channel)
            except self._link.failures as error:
                await self._pause(error)
                continue
            self._link.outage.worked()
            message.pop(_MARK, None)
            return message

    async def _pause(self, error: BaseException) -> None:
        self._untold += 1
        if not self._link.outage.away:
            try:
                await self.connection(0).ping()
                return  # it was only that connection
            except self._link.failures:
                pass
        self._link.outage.failed(error)
        await asyncio.sleep(self._link.outage.wait())

    def _read_here(self) -> None:
        """Have somebody read for the channels of this process; on the loop that asked first."""
        loop = asyncio.get_running_loop()
        self._loops.add(loop)
        if self._reader is None or self._reader.done():
            self._reader = loop.create_task(self._read())
            self._reader.add_done_callback(self._hand_over)
        if self._keeper is None or self._keeper.done():
            self._keeper = loop.create_task(self._keep())

    def _hand_over(self, reader: asyncio.Task[None]) -> None:
        """The loop of a reader ends; another one on which somebody waits goes on."""
        if self._reader is not reader:
            return
        self._reader = None
        if self._keeper is not None and self._keeper.get_loop() is reader.get_loop():
            self._keeper = None
        for loop in tuple(self._loops):
            if loop is not reader.get_loop() and loop.is_running():
                loop.call_soon_threadsafe(self._read_here)
                return

    async def _stop_reading(self) -> None:
        """End the tasks of this loop; those of another one go on."""
        loop = asyncio.get_running_loop()
        tasks = [task for task in (self._reader, self._keeper) if task is not None]
        mine = [task for task in tasks if task.get_loop() is loop]
        if self._reader in mine:
            self._reader = None
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)

    async def _read(self) -> None:
        """Read for all channels of this process, until the loop ends."""
        key = self.prefix + self._home
        while True:
            try:
                bodies = await self._next(key)
            except self._link.failures as error:
                await self._pause(error)
                continue
            self._link.outage.worked()
            for body in bodies:
                message = self.deserialize(body)
                channels = message.pop("__asgi_channel__")
                self._deliver([channels] if isinstance(channels, str) else channels, message)

    async def _next(self, key: str) -> list[bytes]:
        """The next messages; none after a while.

        They are not put into a backup, as channels_redis does for consumers that may be cancelled
        while they read: this reader is not. Then a message costs it one trip at most.
        """
        connection = self.connection(0)
        first = await connection.bzpopmin(key, timeout=BLOCK)
        _end_if_told()
        if first is None:
            return []
        return [first[1], *(body for body, _ in await connection.zpopmin(key, _BATCH))]

    def _deliver(self, channels: list[str], message: dict[str, Any]) -> None:
        mark: Mark | None = message.pop(_MARK, None)
        if mark is not None and self._mailbox.has_members(mark[0]) and not self._gaps.note(mark):
            return  # Redis did not hear that it was received, and gave it again
        body = msgpack.packb(message)
        deadline = time.monotonic() + self.expiry
        for channel in channels:
            if not self._mailbox.put(channel, deadline, body):
                self._drops.add("capacity", 1, channel)

    async def _brpop_with_clean(self, index: int, channel: str, timeout: float) -> Any:
        """Called again and again until something came."""
        member = await super()._brpop_with_clean(index, channel, timeout)
        _end_if_told()  # what came is in Redis' backup, for the next one
        return member

    async def _clean_receive_backup(self, index: int, channel: str) -> None:
        """Runs behind ``receive_single()``, where nobody would hear of an error."""
        try:
            await super()._clean_receive_backup(index, channel)
        except self._link.failures as error:
            self._link.outage.failed(error)
            self._untold += 1

    # Housekeeping

    async def _keep(self) -> None:
        while True:
            _end_if_told()
            behind = self._told != self._untold
            await asyncio.sleep(min(TICK, self._link.outage.wait()) if behind else TICK)
            await self._settle()
            self._mailbox.sweep()
            self._gaps.settle()

    async def _settle(self) -> None:
        """Tell Redis the memberships of this process, unless it knows them."""
        untold, left = self._untold, dict(self._left)
        try:
            with self._link.trying():
                async with asyncio.timeout(TIMEOUT):
                    if self._told == untold and await self._is_known():
                        return
                    await self._tell(left)
        except Away:
            return
        self._told = untold
        for membership in left:
            self._left.pop(membership, None)

    async def _is_known(self) -> bool:
        """Whether Redis has what it was told: one that lost its data may be back unnoticed."""
        known: bool = await self.connection(0).expire(self._here, self.group_expiry)
        return known

    async def _tell(self, left: dict[tuple[str, str], None]) -> None:
        now = time.time()
        memberships = self._mailbox.memberships()
        pipe = self.connection(0).pipeline(transaction=False)
        for group, channel in left:
            if channel not in memberships.get(group, ()):
                pipe.zrem(self._group_key(group), channel)
        for group, members in memberships.items():
            key = self._group_key(group)
            pipe.zadd(key, {channel: now - age for channel, age in members.items()})
            pipe.expire(key, self.group_expiry)
        pipe.set(self._here, 1, ex=self.group_expiry)
        await pipe.execute()

    @property
    def _here(self) -> str:
        """A key that Redis has as long as it has what this process told it."""
        return f"{self.prefix}:here:{self.client_prefix}"


class _LoopLayer(RedisLoopLayer):  # type: ignore[misc]
    """The connections of one loop."""

    async def flush(self) -> None:
        """Close them."""
        await self.channel_layer._stop_reading()
        await super().flush()


def _end_if_told() -> None:
    """In Python 3.11 ``wait_for()``, by which the client sends, may swallow a cancellation; then
    one that reads again and again would never end."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _escape(text: str) -> str:
    """For a pattern of Redis."""
    return re.sub(r"([\\*?\[\]^])", r"\\\1", text)


_layers: weakref.WeakSet[RedisLayer] = weakref.WeakSet()


def _after_fork() -> None:
    for layer in list(_layers):
        layer._leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)
