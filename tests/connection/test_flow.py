"""Backpressure over real sockets: bounded memory both ways, sendfile, readers that stop."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.http import (
    Client,
    descriptors,
    eventually,
    get,
    memory,
    post,
    serving,
)
from tests.support.routes import Gate

from twogate.connection.flow import WriteFlow

GATEWAYS = ["wsgi", "asgi"]
MIB = 1024 * 1024
CONTENT = os.urandom(3 * MIB + 123)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


def test_waiters_are_called_when_more_may_be_written() -> None:
    flow, called = WriteFlow(), []
    flow.when_writable(lambda: called.append(1))
    flow.pause()
    flow.when_writable(lambda: called.append(2))
    flow.when_writable(lambda: called.append(3))
    assert called == [1]
    flow.resume()
    assert called == [1, 2, 3]
    flow.resume()
    assert called == [1, 2, 3]


def read_slowly(client: Client, size: int) -> int:
    """Read a body of known size, pausing often; returns the largest memory seen."""
    while client.line() != b"\r\n":
        pass
    buffer, left, peak, turn = bytearray(256 * 1024), size, 0, 0
    while left:
        left -= (count := client.file.readinto(buffer))
        assert count
        turn += 1
        if turn % 1024 == 0:
            time.sleep(0.002)
            peak = max(peak, memory())
    return peak


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_gibibyte_read_slowly_needs_little_memory(gate: Gate, gateway: str) -> None:
    size = 1024 * MIB
    with serving(**{gateway: getattr(gate, gateway)}) as server, server.connect(65536) as client:
        # HTTP/1.0 has no chunks: every byte that arrives is one of the body.
        client.send(get(f"/bytes/{16 * MIB}", "Connection: keep-alive", version="1.0"))
        read_slowly(client, 16 * MIB)
        client.close()
        before = memory()
        with server.connect(65536) as slow:
            slow.send(get(f"/bytes/{size}", version="1.0"))
            peak = read_slowly(slow, size)
            assert slow.at_end()
    assert gate.produced == size + 16 * MIB
    assert peak - before < 8 * MIB


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_an_application_waits_for_a_reader_that_stops(gate: Gate, gateway: str) -> None:
    with serving(**{gateway: getattr(gate, gateway)}) as server:
        with server.connect(65536) as client:
            client.send(get(f"/bytes/{64 * MIB}"))
            eventually(lambda: gate.produced > 0)
            settled = _settle(lambda: gate.produced)
            assert settled < 8 * MIB  # the kernel's buffers, mostly
            assert len(client.response().body) == 64 * MIB


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_pipeline_waits_for_a_reader_that_stops(gate: Gate, gateway: str) -> None:
    """Each answer is small enough to be written at once; a hundred of them are not."""
    with serving(**{gateway: getattr(gate, gateway)}) as server:
        with server.connect(65536) as client:
            client.send(get(f"/one/{2 * MIB}") * 100)
            settled = _settle(lambda: server.statistics()["requests"])
            assert 0 < settled < 10
            for _ in range(50):
                assert len(client.response().body) == 2 * MIB
            if gateway == "wsgi":  # through ASGI the end of the requests is a disconnect
                client.half_close()
            stopped = server.stopping(10)
            for _ in range(50):
                assert len(client.response().body) == 2 * MIB
            assert client.at_end()
            stopped.result(10)
            assert server.statistics()["requests"] == 100


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_pipeline_of_quick_requests_is_held_back_too(gate: Gate, gateway: str) -> None:
    with serving(**{gateway: getattr(gate, gateway)}) as server, server.connect(4096) as client:
        client.sock.settimeout(0.5)
        request, sent = get("/hello") * 100, 0
        with pytest.raises(TimeoutError):
            while sent < 64 * MIB:
                sent += client.sock.send(request)
        assert sent < 32 * MIB  # the kernel's buffers, mostly
        connection = server.run(lambda: next(iter(server.server._context.connections)))
        held = server.run(
            lambda: (
                len(connection._queue),  # type: ignore[attr-defined]
                connection._transport.get_write_buffer_size(),  # type: ignore[attr-defined]
            )
        )
        assert held[0] < 10_000
        assert held[1] < MIB


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_an_upload_waits_for_an_application_that_does_not_read(gate: Gate, gateway: str) -> None:
    with serving(**{gateway: getattr(gate, gateway)}) as server, server.connect() as client:
        client.send(get("/first", f"Content-Length: {32 * MIB}", method="POST") + b"x" * 70_000)
        eventually(lambda: gate.inside == 1)
        client.sock.settimeout(0.5)
        sent = 70_000
        with pytest.raises(TimeoutError):
            while True:
                sent += client.sock.send(b"x" * 65536)
        assert sent < 12 * MIB  # the kernel's buffers, mostly
        body = server.run(
            lambda: next(iter(server.server._context.connections))._current.body  # type: ignore[attr-defined]
        )
        assert body.buffered < MIB
        client.sock.settimeout(15)
        gate.opened.set()
        while sent < 32 * MIB:
            sent += client.sock.send(b"x" * min(65536, 32 * MIB - sent))
        assert client.response().body == b"first"
        assert gate.taken == 32 * MIB


def _settle(value: Any) -> int:
    """A growing number, once it has stopped for a while."""
    last, since = -1, time.monotonic()
    while time.monotonic() - since < 0.3:
        if (now := value()) != last:
            last, since = now, time.monotonic()
        time.sleep(0.01)
    return last


@pytest.mark.parametrize("route", [f"/bytes/{64 * MIB}", f"/one/{64 * MIB}"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_reader_that_stops_for_good_is_cut_off(
    gate: Gate, gateway: str, version: str, route: str
) -> None:
    options: dict[str, Any] = {
        "body_timeout": 0.5,
        "keep_alive": 0.4,
        gateway: getattr(gate, gateway),
    }
    with serving(**options) as server, server.connect(65536) as client:
        client.send(get(route, version=version))
        eventually(lambda: server.statistics()["connections"] == 1)
        eventually(lambda: server.statistics()["connections"] == 0)
        eventually(lambda: server.statistics()["threads"].busy == 0)
        eventually(lambda: server.tasks() == 0)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_reader_that_is_only_slow_gets_all(gate: Gate, version: str) -> None:
    """It takes long beyond every timeout, and less than the kernel notices in one."""
    size = 8 * MIB
    with serving(wsgi=gate.wsgi, body_timeout=0.5, keep_alive=0.3) as server:
        with server.connect(32768) as client:
            client.send(get(f"/one/{size}", version=version))
            while client.line() != b"\r\n":
                pass
            began, left = time.monotonic(), size
            while time.monotonic() - began < 2.5:
                left -= len(client.file.read(16384))
                time.sleep(0.02)
            assert left > 4 * MIB
            assert len(client.file.read(left)) == left


@pytest.mark.parametrize("target", ["/one/9000000"])
def test_an_answer_still_on_its_way_is_not_cut_by_lingering(gate: Gate, target: str) -> None:
    """The answer to a body too large to read past arrives, however slowly it is read."""
    with serving(asgi=gate.asgi) as server, server.connect(32768) as client:
        client.send(get(target, "Content-Length: 90000000", method="POST"))
        time.sleep(3.5)  # longer than lingering takes
        assert len(client.response().body) == 9_000_000


# sendfile.


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "content"
    path.write_bytes(CONTENT)
    return path


def file_app(path: Path, offset: int = 0, length: int | None = None) -> Any:
    """Serves a file through ``wsgi.file_wrapper``."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        opened = path.open("rb")
        opened.seek(offset)
        headers = [] if length is None else [("Content-Length", str(length))]
        start_response("200 OK", headers)
        return environ["wsgi.file_wrapper"](opened)

    return app


@pytest.mark.parametrize(
    ("offset", "length"), [(0, None), (1000, None), (1000, 2_000_000), (0, len(CONTENT))]
)
def test_files_arrive_whole(file: Path, offset: int, length: int | None) -> None:
    expected = CONTENT[offset:][:length]
    with serving(wsgi=file_app(file, offset, length)) as server:
        with server.connect() as client:
            client.ask(get("/", method="HEAD"), "HEAD")
            before = descriptors()
            for _ in range(3):
                response = client.ask(get("/"))
                assert response.headers["content-length"] == str(len(expected))
                assert response.body == expected
            client.send(get("/") * 5)
            for _ in range(5):
                assert client.response().body == expected
            head = client.ask(get("/", method="HEAD"), "HEAD")
            assert head.body == b""
            assert client.ask(get("/")).body == expected
            eventually(lambda: descriptors() == before)


def test_a_file_arrives_whole_at_a_slow_reader(file: Path) -> None:
    with serving(wsgi=file_app(file), body_timeout=0.5, keep_alive=0.3) as server:
        with server.connect(16384) as client:
            client.send(get("/", "Connection: close"))
            while client.line() != b"\r\n":
                pass
            received = b""
            while len(received) < len(CONTENT):
                received += client.file.read(min(131072, len(CONTENT) - len(received)))
                time.sleep(0.05)
            assert received == CONTENT
            assert client.at_end()


@pytest.mark.parametrize("goodbye", ["close", "reset"])
def test_who_vanishes_in_a_file_leaves_no_descriptor(
    tmp_path: Path, file: Path, goodbye: str
) -> None:
    large = tmp_path / "large"
    with large.open("wb") as opened:
        opened.truncate(200 * MIB)
    with serving(wsgi=file_app(large)) as server:
        server.ask(get("/", "Range: none", method="HEAD"), "HEAD")
        eventually(lambda: server.statistics()["connections"] == 0)
        before = descriptors()
        for _ in range(20):
            client = server.connect(16384)
            client.send(get("/"))
            client.line()
            getattr(client, goodbye)()
        eventually(lambda: server.statistics()["connections"] == 0)
        eventually(lambda: descriptors() == before)


def test_a_reader_of_a_file_that_stops_for_good_is_cut_off(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as opened:
        opened.truncate(200 * MIB)
    with serving(wsgi=file_app(large), body_timeout=0.5) as server:
        before = descriptors()
        with server.connect(16384) as client:
            client.send(get("/"))
            eventually(lambda: server.statistics()["connections"] == 1)
            eventually(lambda: server.statistics()["connections"] == 0)
        eventually(lambda: descriptors() == before)


def test_a_file_that_shrinks_is_cut_short(tmp_path: Path) -> None:
    shrinking = tmp_path / "shrinking"
    with shrinking.open("wb") as opened:
        opened.truncate(100 * MIB)
    with serving(wsgi=file_app(shrinking)) as server, server.connect(16384) as client:
        client.send(get("/"))
        client.line()
        os.truncate(shrinking, MIB)
        with pytest.raises((ConnectionError, AssertionError)):
            while data := client.file.read1(MIB):
                assert data
            raise ConnectionError
        eventually(lambda: server.statistics()["connections"] == 0)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_large_bodies_both_ways_over_a_unix_socket(
    gate: Gate, gateway: str, tmp_path: Path
) -> None:
    body = os.urandom(MIB)
    with serving(unix=tmp_path / "socket", **{gateway: getattr(gate, gateway)}) as server:
        assert server.ask(post("/echo", body)).body == body
