"""A WebSocket client with next to no work per message, so that it is never the bottleneck.

Runs as a process of its own: ``websocket_client.py PORT SOCKETS SECONDS PAUSE`` prints one JSON
object. It speaks just enough of RFC 6455: every frame it sends is one prepared masked frame of 32
bytes, every answer must be one unmasked frame of 32 bytes; anything else is an error.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from typing import cast

import uvloop

TEXT = b"thirty-two bytes of plain text.."
MASK = b"\x00\x00\x00\x00"
#: FIN and text; masked and its length; a mask of zeros leaves the text as it is (§5.3).
FRAME = bytes([0x81, 0x80 | len(TEXT)]) + MASK + TEXT
ANSWER = bytes([0x81, len(TEXT)]) + TEXT
CONNECT_TIMEOUT = 20.0


def handshake(port: int, path: str = "/ws/echo/") -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ).encode()


class Echo(asyncio.Protocol):
    """One socket: send, wait for the answer, note how long it took, pause, send again."""

    __slots__ = ("buffer", "latencies", "loop", "opened", "pause", "port", "sent_at", "transport")

    def __init__(self, port: int, pause: float) -> None:
        self.port = port
        self.pause = pause
        self.loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = self.loop.create_future()
        self.latencies: list[float] = []
        self.buffer = b""
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(handshake(self.port))

    def data_received(self, data: bytes) -> None:
        if self.buffer:
            data = self.buffer + data
        if not self.opened.done():
            self.open(data)
        elif data == ANSWER:
            self.answered()
        elif len(data) < len(ANSWER):
            self.buffer = data
        else:
            raise SystemExit(f"not the echo that was expected: {data!r}")

    def open(self, data: bytes) -> None:
        """The answer to the handshake."""
        self.buffer = data
        if b"\r\n\r\n" in data:
            if not data.startswith(b"HTTP/1.1 101"):
                raise SystemExit(f"the server refused the WebSocket: {data!r}")
            self.buffer = b""
            self.opened.set_result(None)

    def answered(self) -> None:
        self.buffer = b""
        self.latencies.append(time.perf_counter() - self.sent_at)
        if self.pause:
            self.loop.call_later(self.pause, self.send)
        else:
            self.send()

    def send(self) -> None:
        self.sent_at = time.perf_counter()
        self.transport.write(FRAME)


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile, in milliseconds."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1000


async def main(port: int, sockets: int, seconds: float, pause: float) -> None:
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(sockets):
        _, client = await loop.create_connection(lambda: Echo(port, pause), "127.0.0.1", port)
        clients.append(client)
    async with asyncio.timeout(CONNECT_TIMEOUT):
        await asyncio.gather(*(client.opened for client in clients))
    start = time.perf_counter()
    for client in clients:
        client.send()
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - start
    latencies = [latency for client in clients for latency in client.latencies]
    if not latencies or any(client.transport.is_closing() for client in clients):
        raise SystemExit("a WebSocket was closed, or nothing came back")
    print(
        json.dumps(
            {
                "rate": len(latencies) / elapsed,
                "count": len(latencies),
                "p50": percentile(latencies, 0.50),
                "p99": percentile(latencies, 0.99),
            }
        )
    )


if __name__ == "__main__":
    port, sockets, seconds, pause = sys.argv[1:]
    uvloop.run(main(int(port), int(sockets), float(seconds), float(pause)))
