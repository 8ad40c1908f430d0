"""A server's life: start, drain, cut, retire, and what it tells of itself."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.http import Serving, eventually, get, post, serving
from tests.support.routes import Gate

GATEWAYS = ["wsgi", "asgi"]


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


@pytest.fixture(params=GATEWAYS)
def server(request: pytest.FixtureRequest, gate: Gate) -> Iterator[Serving]:
    with serving(**{request.param: getattr(gate, request.param)}) as running:
        yield running


def test_stopping_finishes_what_is_under_way_and_closes_the_idle(
    server: Serving, gate: Gate
) -> None:
    with server.connect() as busy, server.connect() as idle, server.connect() as fresh:
        idle.ask(get("/hello"))
        busy.send(get("/wait"))
        eventually(lambda: gate.inside == 1)
        began = time.monotonic()
        stopped = server.stopping(10)
        assert idle.at_end()
        assert fresh.at_end()
        assert time.monotonic() - began < 2
        assert not stopped.done()
        gate.opened.set()
        response = busy.response()
        assert (response.status, response.body) == (200, b"wait")
        assert busy.at_end()
        stopped.result(10)
    assert server.record.open == 0


def test_stopping_answers_all_of_a_pipeline(server: Serving, gate: Gate) -> None:
    with server.connect() as client:
        client.send(get("/wait") + post("/echo", b"abc") + get("/hello"))
        eventually(lambda: gate.inside == 1)
        stopped = server.stopping(10)
        gate.opened.set()
        assert [client.response().body for _ in range(3)] == [b"wait", b"abc", b"hello"]
        assert client.at_end()
        stopped.result(10)


def test_a_request_that_has_begun_is_answered_and_told_to_close(server: Serving) -> None:
    def begun() -> int:
        connections = server.server._context.connections
        return sum(found._reader.mid_head for found in connections)  # type: ignore[attr-defined]

    with server.connect() as client, server.connect() as idle:
        client.send(b"GET /hello HTTP/1.1\r\n")
        eventually(lambda: server.run(begun) == 1)
        stopped = server.stopping(10)
        assert idle.at_end()
        response = client.ask(b"Host: a\r\n\r\n")
        assert response.body == b"hello"
        assert response.headers["connection"] == "close"
        stopped.result(10)


def test_nobody_is_accepted_any_more(server: Serving) -> None:
    server.stopping(10).result(10)
    with pytest.raises(OSError):
        socket.create_connection(server.address, 1)


@pytest.mark.parametrize("route", ["/wait", "/begin"])
def test_what_takes_too_long_is_cut(server: Serving, gate: Gate, route: str) -> None:
    with server.connect() as client:
        client.send(get(route))
        eventually(lambda: gate.inside == 1)
        began = time.monotonic()
        stopped = server.stopping(0.6)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            client.response()
        assert 0.5 < time.monotonic() - began < 5
        gate.opened.set()
        stopped.result(10)
    assert server.record.open == 0


def test_a_stopped_server_leaves_no_task(gate: Gate) -> None:
    with serving(asgi=gate.asgi) as server:
        with server.connect() as client:
            client.send(get("/wait"))
            eventually(lambda: gate.inside == 1)
            server.stopping(0.3).result(10)
            assert server.tasks() == 0


def test_it_retires_once(gate: Gate) -> None:
    retired: list[int] = []
    with serving(wsgi=gate.wsgi, max_requests=5) as server:
        server.server.on_retire = lambda: retired.append(server.server.statistics()["requests"])
        with server.connect() as client:
            for number in range(1, 9):
                client.ask(get("/hello"))
                assert len(retired) == (number >= 5)
    assert retired == [5]


def test_jitter_spreads_the_end(gate: Gate) -> None:
    retired: list[int] = []
    with serving(wsgi=gate.wsgi, max_requests=3, max_requests_jitter=4) as server:
        server.server.on_retire = lambda: retired.append(server.server.statistics()["requests"])
        with server.connect() as client:
            for _ in range(8):
                client.ask(get("/hello"))
    assert len(retired) == 1
    assert 3 <= retired[0] <= 7


def test_statistics(server: Serving, gate: Gate) -> None:
    with server.connect() as client, server.connect() as other:
        client.ask(get("/hello"))
        other.send(get("/wait"))
        eventually(lambda: gate.inside == 1)
        told = server.statistics()
        assert (told["connections"], told["requests"]) == (2, 1)
        assert told["threads"].busy + told["tasks"] == 1
        gate.opened.set()
        other.response()
    eventually(lambda: server.statistics()["connections"] == 0)
    assert server.statistics()["requests"] == 2


def test_the_server_header_can_be_switched_off(gate: Gate) -> None:
    with serving(wsgi=gate.wsgi, server_header=False) as server:
        headers = server.ask(get("/hello")).headers
        assert "server" not in headers
        assert "date" in headers


def test_the_date_moves_on(server: Serving) -> None:
    first = server.ask(get("/hello")).headers["date"]
    eventually(lambda: server.ask(get("/hello")).headers["date"] != first, patience=5)
