"""A channel layer for all processes of a project on one machine, with nothing to install or start.

Here is what Channels asks of a layer: names that are checked, messages made of bytes, errors. How
they get from one process to another is :mod:`twogate.realtime.bus`'s business.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgpack
from channels.exceptions import ChannelFull, MessageTooLarge
from channels.layers import BaseChannelLayer
from django.conf import settings

from twogate.realtime.bus import Bus
from twogate.realtime.folder import RuntimeFolder
from twogate.realtime.statistics import Statistics
from twogate.realtime.store import Busy

__all__ = ["LocalChannelLayer"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: Seconds after which whoever waits for a channel without a home looks at the store unasked. Nobody
#: tells of a message whose sender was killed between the store and the telling.
POLL = 5.0
#: Seconds to wait for a process that holds the store. Only one that is stopped holds it for long.
PATIENCE = 1.0
#: Seconds from one try to the next.
RETRY = 0.002


class LocalChannelLayer(BaseChannelLayer):  # type: ignore[misc]
    """A channel layer as Channels specifies it, with the groups and flush extensions.

    Works among all processes of one user that have the same ``SECRET_KEY``, from any thread and on
    any event loop. Delivery is at most once. The messages of one sender arrive in order. Capacity
    is that of each channel by its full name, so a slow consumer does nothing to others.

    :param expiry: seconds that a message may wait to be received.
    :param group_expiry: seconds after which a membership ends that nobody renewed.
    :param capacity: how many messages may wait in a channel.
    :param channel_capacity: the same by name of channel: globs or compiled patterns.
    :param max_message_size: bytes of a message in msgpack.
    :param name: sets apart layers of one project that should not hear of each other.
    :param folder: where to make the runtime folder, in place of ``/tmp/twogate-UID``; for processes
        that have a ``/tmp`` of their own, for example. Only the user may be able to write there.
    """

    extensions = ["groups", "flush"]
    ChannelFull = ChannelFull
    MessageTooLarge = MessageTooLarge

    def __init__(
        self,
        *,
        expiry: float = 60,
        group_expiry: float = 86400,
        capacity: int = 100,
        channel_capacity: Mapping[Any, int] | None = None,
        max_message_size: int = 4 << 20,
        name: str = "",
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(expiry=expiry, capacity=capacity)
        self.channel_capacity = self.compile_capacities(channel_capacity or {})
        self.group_expiry = group_expiry
        self.max_message_size = max_message_size
        self.name = name
        self._folder = None if folder is None else Path(folder)
        self._bus: Bus | None = None
        self._lock = threading.Lock()
        _layers.add(self)

    # Channels' specification

    async def new_channel(self, prefix: str = "specific.") -> str:
        """The name of a new channel, from which this process can receive.

        :raises TypeError: the prefix is no part of a name, or too long.
        """
        channel = self.bus.new_channel(prefix)
        self.require_valid_channel_name(channel)
        return channel

    async def send(self, channel: str, message: Any) -> None:
        """Send a message to a channel.

        :raises ChannelFull: as many messages wait there as may. Where a channel belongs to another
            process this is found out there, and counted.
        :raises MessageTooLarge: it is longer than ``max_message_size``.
        :raises TypeError: the name is not valid, or the message holds what cannot be sent.
        """
        self.require_valid_channel_name(channel)
        body = self._encode(message)
        bus = self.bus
        if "!" in channel:
            taken = bus.send(channel, body)
        else:
            taken = await self._store(channel, body)
            bus.count_sent(taken)
        if not taken:
            raise ChannelFull(channel)

    async def receive(self, channel: str) -> Any:
        """The next message of a channel, once there is one; when cancelled, none is lost.

        :raises AssertionError: the channel belongs to another process.
        """
        bus = self.bus
        if "!" in channel and bus.is_at_home(channel):
            return self.deserialize(await bus.get(channel))
        self.require_valid_channel_name(channel)
        if "!" in channel:
            raise AssertionError(f"{channel} is another process's channel: only it can receive.")
        return self.deserialize(await self._take(channel))

    async def group_add(self, group: str, channel: str) -> None:
        """Make a channel a member of a group, or renew its membership.

        :raises Busy: a stopped process holds the store, which has the channels without a home.
        """
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        if "!" in channel:
            self.bus.join(group, channel)
        else:
            await _patiently(self.bus.store.join, group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """End a membership, if there is one."""
        self.require_valid_channel_name(channel)
        self.require_valid_group_name(group)
        if "!" in channel:
            self.bus.leave(group, channel)
        else:
            await _patiently(self.bus.store.leave, group, channel)

    async def group_send(self, group: str, message: Any) -> None:
        """Send a message to all members of a group; those that are full lose it, which is counted.

        :raises MessageTooLarge: it is longer than ``max_message_size``.
        """
        self.require_valid_group_name(group)
        body = self._encode(message)
        bus = self.bus
        bus.send_to_group(group, body)
        if bus.store.has_members:
            try:
                members = await _patiently(bus.store.members, group)
            except Busy:  # like a channel that is full
                bus.drops.add("capacity", 1, group)
                return
            for channel in members:
                if not await self._store(channel, body):
                    bus.drops.add("capacity", 1, group)

    async def flush(self) -> None:
        """Make the processes of this project forget all messages and groups."""
        bus = self.bus
        await _patiently(bus.store.clear)
        await asyncio.to_thread(bus.flush)

    async def close(self) -> None:
        """Leave. Channels of this layer are gone; it may be used again, with new ones."""
        await asyncio.to_thread(self._leave)

    # Beyond the specification

    def statistics(self) -> Statistics:
        """What this process has sent, received and dropped, and what waits in it."""
        return self.bus.statistics()

    def serialize(self, message: Any) -> bytes:
        """A message as bytes."""
        packed: bytes = msgpack.packb(message)
        return packed

    def deserialize(self, body: bytes) -> Any:
        """A message out of what :meth:`serialize` made."""
        return msgpack.unpackb(body, strict_map_key=False)

    @property
    def bus(self) -> Bus:
        """This process's part of the layer; made when it is used first.

        :raises ConfigError: the runtime folder is not safe, or cannot be made.
        """
        return self._bus or self._make_bus()

    def _make_bus(self) -> Bus:
        with self._lock:
            if self._bus is None:
                # It must not refer to the layer, or the layer would never be collected.
                self._bus = bus = Bus(
                    RuntimeFolder(f"{settings.SECRET_KEY} {self.name}", self._folder),
                    capacity=_capacities(self.capacity, self.channel_capacity),
                    expiry=self.expiry,
                    group_expiry=self.group_expiry,
                    max_size=self.max_message_size,
                )
                self._close_bus = weakref.finalize(self, bus.close, wait=False)
                self._close_bus.atexit = False  # then it must wait
            return self._bus

    def _leave(self) -> None:
        with self._lock:
            bus, self._bus = self._bus, None
            if bus is not None:
                self._close_bus.detach()
                bus.close()

    def _leave_to_parent(self) -> None:
        """After a fork, in the child: it needs a node of its own."""
        self._lock = threading.Lock()
        bus, self._bus = self._bus, None
        if bus is not None:
            self._close_bus.detach()
            bus.node.abandon()

    def _encode(self, message: Any) -> bytes:
        body = self.serialize(message)
        if len(body) > self.max_message_size:
            raise MessageTooLarge(
                f"The message has {len(body)} bytes; max_message_size is {self.max_message_size}."
            )
        return body

    # Channels without a home

    async def _store(self, channel: str, body: bytes) -> bool:
        """Whether the store took it; a store that stays busy counts as full."""
        bus = self.bus
        capacity = self.get_capacity(channel)
        try:
            taken = await _patiently(bus.store.put, channel, self.expiry, body, capacity)
        except Busy:
            return False
        if taken:
            bus.announce(channel)
        return taken

    async def _take(self, channel: str) -> bytes:
        bus = self.bus
        bus.node.listen()
        while True:
            # First the waiter: what is stored after the look wakes it.
            waiter = bus.mailbox.wait(channel)
            try:
                body, expired = await _patiently(bus.store.take, channel)
                bus.drops.add("expired", expired, channel)
                if body is not None:
                    return body
                await asyncio.wait([waiter], timeout=POLL)
            except Busy:
                continue
            finally:
                bus.mailbox.give_up(channel, waiter)


async def _patiently(call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call what may find the store held by another process, again and again for a while.

    :raises Busy: it was held all the time.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call(*args, **kwargs)
        except Busy:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(RETRY)


def _capacities(default: int, patterns: list[tuple[Any, int]]) -> Callable[[str], int]:
    """What ``get_capacity`` does, remembered by the part of a name that channels share."""
    if not patterns:
        return lambda channel: default

    @functools.lru_cache(maxsize=1024)
    def find(channel: str) -> int:
        return next((value for pattern, value in patterns if pattern.match(channel)), default)

    return find


_layers: weakref.WeakSet[LocalChannelLayer] = weakref.WeakSet()


def _at_exit() -> None:
    for layer in list(_layers):
        layer._leave()


def _after_fork() -> None:
    for layer in list(_layers):
        layer._leave_to_parent()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
