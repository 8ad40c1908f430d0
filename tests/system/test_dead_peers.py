"""Peers that vanish without a word: noticed by a ping, and their consumers are told."""

from __future__ import annotations

import base64
import socket
import time
from pathlib import Path

from websockets.asyncio.client import connect

from .conftest import Serve, Site
from .test_deploys import notes, run, served, until

INTERVAL, TIMEOUT = 1.0, 1.0
#: The sweep looks about once a second, for the silence and for the answer.
SWEEPS = 2.0
#: A busy machine takes its time.
BUSY = 10.0


def vanish(site: Site, path: str) -> socket.socket:
    """Open a WebSocket and never say or answer anything again, not even that it ends.

    To the server it is a machine that lost its power; only that the kernel goes on to acknowledge
    what it gets, so that nothing but the missing pong can tell.
    """
    sock = socket.create_connection((site.host, site.port), 20)
    key = base64.b64encode(bytes(16)).decode()
    sock.sendall(
        f"GET /{path}/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    assert sock.recv(65536).startswith(b"HTTP/1.1 101 ")
    return sock


def test_a_peer_that_vanishes_is_gone_after_interval_and_timeout(
    serve: Serve, tmp_path: Path
) -> None:
    async def main(site: Site) -> None:
        async with connect(f"ws://{site.host}:{site.port}/socket/", ping_interval=None) as quiet:
            await quiet.recv()
            begun = time.monotonic()
            vanished = [vanish(site, "socket"), vanish(site, "sync")]
            await until(lambda: notes(tmp_path)["disconnect-1006"] == 2)
            took = time.monotonic() - begun
            assert INTERVAL + TIMEOUT <= took < INTERVAL + TIMEOUT + SWEEPS + BUSY
            # One that has nothing to say for as long but answers pings stays.
            assert quiet.close_code is None
            for sock in vanished:
                sock.close()
        await until(lambda: notes(tmp_path)["disconnect-1000"] == 1)
        assert notes(tmp_path) == {"disconnect-1006": 2, "disconnect-1000": 1}

    options = (f"--websocket-ping-interval={INTERVAL}", f"--websocket-ping-timeout={TIMEOUT}")
    with served(serve, tmp_path, *options) as site:
        run(main(site))
