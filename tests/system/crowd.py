"""Many WebSockets in one process of the tests, and the bytes that each of them is sent."""

from __future__ import annotations

import asyncio
import base64
import os
import resource
import urllib.parse
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from .conftest import Site

__all__ = ["Subscriber", "ask", "crowd", "resident", "run", "until"]

SECONDS = 60.0


def run(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(SECONDS):
            await main

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


async def ask(site: Site, view: str, **query: object) -> None:
    reader, writer = await asyncio.open_connection(site.host, site.port)
    words = urllib.parse.urlencode(query)
    writer.write(f"GET /{view}/?{words} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert b" 200 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


class Subscriber(asyncio.Protocol):
    """A WebSocket that keeps the bytes it is sent."""

    def __init__(self, path: str = "/room/") -> None:
        self._path = path
        self.received = bytearray()
        self.opened = False
        self.closed = False

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.Transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}"
            "\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not self.opened and (end := self.received.find(b"\r\n\r\n")) > 0:
            assert self.received.startswith(b"HTTP/1.1 101 ")
            del self.received[: end + 4]
            self.opened = True

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True


@asynccontextmanager
async def crowd(site: Site, count: int, path: str = "/room/") -> AsyncIterator[list[Subscriber]]:
    loop = asyncio.get_running_loop()
    members = []
    for _ in range(count):
        _, member = await loop.create_connection(partial(Subscriber, path), site.host, site.port)
        members.append(member)
    await until(lambda: all(member.opened for member in members))
    try:
        yield members
    finally:
        for member in members:
            member.transport.abort()
        await until(lambda: all(member.closed for member in members))


def resident(pid: int) -> int:
    """Bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
