"""A server's life: start, drain, cut, retire, and what it tells of itself."""

from __future__ import annotations

import asyncio
import gc
import http.client
import inspect
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.http import Serving, eventually, get, post, serving
from tests.support.routes import Gate
from twogate.config import Config
from twogate.dispatch import Applications
from twogate.observe.observer import Observer
from twogate.server import Server, _Counter

GATEWAYS = ["wsgi", "asgi"]
TIMEOUTS = ["keep_alive", "header_timeout", "body_timeout"]


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
        assert time.monotonic() - began < 8
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


def test_stopping_twice_is_one_end(server: Serving, gate: Gate) -> None:
    with server.connect() as client:
        client.send(get("/wait"))
        eventually(lambda: gate.inside == 1)
        first, second = server.stopping(10), server.stopping(0)
        assert not second.done()
        gate.opened.set()
        assert client.response().body == b"wait"
        first.result(10)
        second.result(10)
    server.stopping(10).result(10)


def test_stopping_what_never_started_does_nothing(gate: Gate) -> None:
    server = Server(Applications(wsgi=gate.wsgi), Config(), Observer())
    asyncio.run(server.stop(5))


def test_sockets_that_are_closed_before_the_end(server: Serving) -> None:
    assert server.ask(get("/hello")).body == b"hello"
    server.run(server.listener.close)
    server.stopping(5).result(10)
    with pytest.raises(OSError):
        socket.create_connection(server.address, 1)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_stop_without_connections_takes_no_time(gateway: str, gate: Gate) -> None:
    def stop() -> float:
        with serving(**{gateway: getattr(gate, gateway)}) as server:
            server.ask(get("/hello"))
            eventually(lambda: server.statistics()["connections"] == 0)
            began = time.monotonic()
            server.stopping(30).result(10)
            return time.monotonic() - began

    # A last call would take a second each time; a busy machine takes its time now and then.
    assert min(stop() for _ in range(3)) < 0.5


def test_a_first_request_that_is_late_is_answered(server: Serving) -> None:
    with server.connect() as client:
        eventually(lambda: server.statistics()["connections"] == 1)
        stopped = server.stopping(30)
        time.sleep(0.4)  # the way of a request around the world
        response = client.ask(get("/hello"))
        assert (response.body, response.headers["connection"]) == (b"hello", "close")
        stopped.result(10)


def test_a_moment_without_connections_is_not_the_end(server: Serving, gate: Gate) -> None:
    """The last one may be gone before those that wait in the kernel are accepted."""
    with server.connect() as client:
        client.ask(get("/hello"))
        client.send(get("/wait"))
        eventually(lambda: gate.inside == 1)
        server.run(server.server._context.drained.set)
        stopped = server.stopping(30)
        eventually(lambda: server.run(lambda: server.server._context.draining))
        time.sleep(0.2)
        assert not stopped.done()
        gate.opened.set()
        assert client.response().body == b"wait"
        stopped.result(10)


@pytest.mark.parametrize("name", TIMEOUTS)
def test_zero_switches_a_timeout_off(gate: Gate, name: str) -> None:
    options: dict[str, Any] = dict.fromkeys(TIMEOUTS, 0.1) | {name: 0.0}
    parts = {
        "keep_alive": (get("/hello"), b"", get("/hello")),
        "header_timeout": (b"", b"GET /hello HTTP/1.1\r\n", b"Host: a\r\n\r\n"),
        "body_timeout": (b"", post("/echo", b"hello")[:-5], b"hello"),
    }
    first, begun, rest = parts[name]
    with serving(wsgi=gate.wsgi, **options) as server, server.connect() as client:
        if first:
            client.ask(first)
        client.send(begun)
        assert client.silent(0.6)
        assert client.ask(rest).body == b"hello"
        assert server.server._context.interval <= 1.0


def test_no_timeout_at_all_still_renews_the_date(gate: Gate) -> None:
    with serving(wsgi=gate.wsgi, keep_alive=0, header_timeout=0, body_timeout=0) as server:
        first = server.ask(get("/hello")).headers["date"]
        eventually(lambda: server.ask(get("/hello")).headers["date"] != first, patience=5)


@pytest.mark.parametrize("route", ["/wait", "/begin"])
def test_a_graceful_timeout_of_zero_waits_for_nobody(
    server: Serving, gate: Gate, route: str
) -> None:
    with server.connect() as client:
        client.send(get(route))
        eventually(lambda: gate.inside == 1)
        began = time.monotonic()
        stopped = server.stopping(0)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            client.response()
        assert time.monotonic() - began < 8
        gate.opened.set()
        stopped.result(10)


def test_the_end_of_django_is_no_noise(gate: Gate) -> None:
    """What its handler began must see the disconnect before it is cancelled."""

    class Gone(Exception):
        pass

    async def listen(receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise Gone

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        gate.inside += 1
        tasks = [asyncio.create_task(listen(receive)), asyncio.create_task(asyncio.sleep(60))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with serving(asgi=application) as server:
        with server.connect() as client:
            client.send(get("/"))
            eventually(lambda: gate.inside == 1)
            server.stopping(0).result(10)
            server.run(gc.collect)
    assert server.complaints == []


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
        assert told["broadcast"].sockets == 0
        assert told["carried"] is None  # in the tests nobody carries
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


def test_the_observer_is_told_everything(gate: Gate) -> None:
    """The server counts on the way, and passes each point on."""
    points = {name for name in vars(Observer) if not name.startswith("_")}

    class Recorder(Observer):
        pass

    for point in points:
        setattr(Recorder, point, lambda self, *arguments, point=point: told.append(point))
    told: list[str] = []
    counter = _Counter(Recorder())
    for point in sorted(points):
        _, *arguments = inspect.signature(getattr(Observer, point)).parameters
        getattr(counter, point)(*arguments)
    assert told == sorted(points)
