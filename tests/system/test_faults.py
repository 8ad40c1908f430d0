"""Clients that are slow or vanish, in numbers: others are served, and nothing stays behind."""

from __future__ import annotations

import contextlib
import gc
import resource
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.http import PATIENCE, Serving, descriptors, eventually, get, serving
from tests.support.routes import Gate

from twogate.connection.http import HttpConnection
from twogate.exchange import Exchange

SLOW_CLIENTS = 1000
VANISHING = 10_000
BATCH = 500


@pytest.fixture(autouse=True)
def _many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


class _Tricklers:
    """Clients that send one byte of a head each second."""

    HEAD = b"GET /hello HTTP/1.1\r\nHost: example.test\r\n"

    def __init__(self, address: Any, count: int) -> None:
        self.sockets = [socket.create_connection(address, PATIENCE) for _ in range(count)]
        self.began = time.monotonic()
        #: Seconds each client was kept.
        self.kept: list[float] = []
        self._thread = threading.Thread(target=self._trickle)
        self._thread.start()

    def _trickle(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock in self.sockets:
                selector.register(sock, selectors.EVENT_READ, sock)
            for turn in range(len(self.HEAD)):
                for key in list(selector.get_map().values()):
                    with contextlib.suppress(OSError):
                        key.data.send(self.HEAD[turn : turn + 1])
                self._notice_the_closed(selector, self.began + turn + 1)
                if not selector.get_map():
                    return

    def _notice_the_closed(self, selector: selectors.BaseSelector, until: float) -> None:
        while (left := until - time.monotonic()) > 0 and selector.get_map():
            for key, _ in selector.select(left):
                selector.unregister(key.fileobj)
                self.kept.append(time.monotonic() - self.began)

    def join(self) -> None:
        self._thread.join(PATIENCE)
        for sock in self.sockets:
            sock.close()


@pytest.mark.parametrize("gateway", ["wsgi", "asgi"])
def test_slow_clients_stop_nobody_and_are_gone_after_the_header_timeout(
    gate: Gate, gateway: str
) -> None:
    with serving(header_timeout=2.0, **{gateway: getattr(gate, gateway)}) as server:
        slow = _Tricklers(server.address, SLOW_CLIENTS)
        latencies = []
        while server.statistics()["connections"] > 1 and time.monotonic() - slow.began < 10:
            asked = time.perf_counter()
            assert server.ask(get("/hello")).body == b"hello"
            latencies.append(time.perf_counter() - asked)
            time.sleep(0.005)
        slow.join()
        latencies.sort()
        assert len(latencies) > 100
        assert latencies[len(latencies) // 2] < 0.02
        assert latencies[int(len(latencies) * 0.99)] < 0.3
        assert len(slow.kept) == SLOW_CLIENTS
        assert max(slow.kept) < 5
        eventually(lambda: server.statistics()["connections"] == 0)
        assert len(server.record.refused) == SLOW_CLIENTS
        assert {status for _, status, _ in server.record.refused} == {408}


def test_slow_bodies_take_no_thread(gate: Gate) -> None:
    with serving(wsgi=gate.wsgi, threads=2, header_timeout=0.4) as server:
        request = get("/echo", "Content-Length: 1000", method="POST") + b"x" * 500
        clients = [server.connect() for _ in range(50)]
        for client in clients:
            client.send(request)
        eventually(lambda: server.statistics()["connections"] == 50)
        until = time.monotonic() + 0.5  # several ticks
        while time.monotonic() < until:
            assert server.ask(get("/hello")).body == b"hello"
            assert server.statistics()["threads"].busy == 0
        for client in clients:
            assert client.ask(b"y" * 500).body == b"x" * 500 + b"y" * 500
            client.close()


#: What a vanishing client has sent before it is gone.
MOMENTS = {
    "before": b"",
    "mid-line": b"GET /he",
    "mid-head": b"GET /hello HTTP/1.1\r\nHost: a\r\nX-",
    "mid-body": get("/echo", "Content-Length: 1000", method="POST") + b"some",
    "mid-chunk": get("/echo", "Transfer-Encoding: chunked", method="POST") + b"ff\r\nsome",
    "expecting": get("/echo", "Expect: 100-continue", "Content-Length: 9", method="POST"),
    "waiting": get("/sleep/0.02"),
    "mid-response": get("/bytes/3000000"),
    "mid-large-response": get("/one/3000000"),
    "pipelined": get("/hello") * 5 + get("/bytes/1000000") + get("/hello"),
    "unwanted-body": get("/early", "Content-Length: 100000", method="POST") + b"some",
    "broken": b"NONSENSE\r\n\r\n",
}


def _vanish(sock: socket.socket, how: int) -> None:
    """FIN, RST, or a half close first."""
    with contextlib.suppress(OSError):
        if how == 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == 1:
            sock.shutdown(socket.SHUT_WR)
    sock.close()


def _run_batch(server: Serving, number: int) -> None:
    moments = list(MOMENTS.values())
    sockets = []
    for index in range(BATCH):
        sock = socket.socket()
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.connect(server.address)
        sock.sendall(moments[(number * BATCH + index) % len(moments)])
        sockets.append(sock)
        if index % 3 == 0:  # some stay for a moment, some are gone before they were seen
            _vanish(sockets.pop(), (index // 3) % 3)
    for index, sock in enumerate(sockets):
        _vanish(sock, index % 3)
    del sockets
    eventually(lambda: server.statistics()["connections"] == 0, "connections stay")


def _counts(server: Serving) -> dict[str, int]:
    """What there is of everything that could stay behind; the server must be at rest."""
    eventually(lambda: server.statistics()["threads"].busy == 0, "threads stay busy")
    eventually(lambda: server.tasks() == 0, "tasks stay")
    gc.collect()
    objects = gc.get_objects()
    return {
        "descriptors": descriptors(),
        # Not isinstance(): it asks for __class__, and lazy objects of others wake up then.
        "exchanges": sum(type(found) is Exchange for found in objects),
        "connections": sum(type(found) is HttpConnection for found in objects),
        "queue": server.statistics()["threads"].queue,
        "open": server.record.open,
    }


@pytest.mark.parametrize("gateway", ["wsgi", "asgi"])
def test_clients_that_vanish_leave_nothing_behind(gate: Gate, gateway: str) -> None:
    options: dict[str, Any] = {gateway: getattr(gate, gateway), "threads": 8}
    threads = threading.active_count()
    with serving(**options) as server:
        _run_batch(server, 0)
        server.record.finished.clear()
        before = _counts(server)
        began = time.monotonic()
        for number in range(VANISHING // BATCH):
            _run_batch(server, number)
            server.record.refused.clear()
        server.record.finished.clear()
        assert time.monotonic() - began < 60
        eventually(lambda: _counts(server) == before, f"{_counts(server)} is not {before}")
        assert before["exchanges"] == before["connections"] == before["open"] == 0
        assert threading.active_count() <= threads + 8 + 1  # the loop's own
        assert server.record.failed == []
        assert server.ask(get("/hello")).body == b"hello"


@pytest.mark.parametrize("gateway", ["wsgi", "asgi"])
def test_connections_are_freed_without_the_garbage_collector(gate: Gate, gateway: str) -> None:
    """A cycle per connection would leave memory to chance, and pauses to the collector."""
    with serving(**{gateway: getattr(gate, gateway)}) as server:
        server.ask(get("/hello"))
        eventually(lambda: server.statistics()["connections"] == 0)
        gc.collect()
        gc.disable()
        try:
            for request in (get("/hello"), b"NONSENSE\r\n\r\n", get("/hello", "Host: two")):
                server.ask(request)
            eventually(lambda: server.statistics()["connections"] == 0)

            def left() -> int:
                kinds = (HttpConnection, Exchange)
                return sum(type(found) in kinds for found in gc.get_objects())

            eventually(lambda: left() == 0, "connections or exchanges stay", 3)
        finally:
            gc.enable()
