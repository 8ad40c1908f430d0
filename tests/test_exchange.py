"""The waist without its two sides: the body's reader and feeder, and how an exchange ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from twogate.errors import PeerError
from twogate.exchange import HIGH_WATER, Exchange, Peer, RequestBody
from twogate.protocol.events import RequestHead
from twogate.protocol.http1_writer import Headers, Payload


class Connection:
    """A carrier that keeps what it is told."""

    def __init__(self) -> None:
        self.writable = True
        self.default_headers: Headers = ()
        self.written: list[bytes] = []
        self.ended = self.aborted = False
        self.wanted = 0
        self.drained: list[Callable[[], None]] = []

    def write(self, exchange: Exchange, payload: Payload, end: bool) -> None:
        self.written.append(payload if isinstance(payload, bytes) else b"".join(payload))
        self.ended = end

    def want_body(self, body: RequestBody) -> None:
        self.wanted += 1

    def when_writable(self, callback: Callable[[], None]) -> None:
        self.drained.append(callback)

    def send_file(self, exchange: Exchange, fd: int, offset: int, count: int) -> None:
        raise NotImplementedError

    def upgrade(self, exchange: Exchange, make: Callable[..., Any]) -> Any:
        raise NotImplementedError

    def abort(self, exchange: Exchange) -> None:
        self.aborted = True


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
def exchange(connection: Connection) -> Exchange:
    head = RequestHead("POST", b"/", b"", "1.1", [], content_length=1_000_000)
    return Exchange(head, Peer(("c", 1), ("s", 2)), connection)


class Calls:
    """Counts how often it was called."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def test_a_reader_is_called_once_there_is_something(exchange: Exchange) -> None:
    body, called = exchange.body, Calls()
    body.when_ready(called)
    assert called.count == 0
    body.feed(b"a")
    body.feed(b"b")
    assert called.count == 1
    assert (body.take(), body.take(), body.take()) == (b"a", b"b", b"")
    assert (body.received, body.buffered) == (2, 0)


@pytest.mark.parametrize("how", ["end", "fail"])
def test_a_reader_is_called_at_the_end(exchange: Exchange, how: str) -> None:
    body, called = exchange.body, Calls()
    body.when_ready(called)
    getattr(body, how)()
    assert called.count == 1
    assert (body.complete, body.failed) == (how == "end", how == "fail")
    body.when_ready(called)
    assert called.count == 2


def test_a_body_that_is_complete_cannot_fail(exchange: Exchange) -> None:
    exchange.body.end()
    exchange.body.fail()
    assert not exchange.body.failed


def test_a_gathering_reader_waits_for_the_whole_body_or_a_full_buffer(exchange: Exchange) -> None:
    for finish in (
        exchange.body.end,
        exchange.body.hurry,
        lambda: exchange.body.feed(b"x" * HIGH_WATER),
    ):
        exchange.body.complete = False
        called = Calls()
        exchange.body.when_ready(called, gather=True)
        exchange.body.feed(b"a")
        assert called.count == 0
        finish()
        assert called.count == 1


def test_a_full_buffer_pauses_until_half_of_it_is_taken(
    exchange: Exchange, connection: Connection
) -> None:
    body = exchange.body
    for _ in range(4):
        body.feed(b"x" * (HIGH_WATER // 4))
    assert body.paused
    body.take()
    body.relieve()
    assert body.paused
    body.take()
    body.relieve()
    assert not body.paused
    assert connection.wanted == 1


def test_the_client_s_end_is_told_once(exchange: Exchange) -> None:
    called = Calls()
    exchange.when_over(called)
    exchange.disconnect()
    exchange.disconnect()
    assert called.count == 1
    assert exchange.over
    assert exchange.disconnected
    assert exchange.body.failed
    exchange.when_over(called)
    assert called.count == 2


def test_a_client_that_closed_its_side_may_still_read(
    exchange: Exchange, connection: Connection
) -> None:
    exchange.half_close()
    assert exchange.over
    assert not exchange.disconnected
    exchange.respond(200, [], b"answer")
    assert connection.ended


def test_a_failure_before_the_head_is_a_500(exchange: Exchange, connection: Connection) -> None:
    exchange.start_response(200, [(b"X-Promise", b"kept")])
    exchange.fail()
    (response,) = connection.written
    assert response.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"Connection: close\r\n" in response
    assert b"X-Promise" not in response
    assert connection.ended


def test_a_failure_after_the_head_cuts_the_response(
    exchange: Exchange, connection: Connection
) -> None:
    exchange.start_response(200, [])
    exchange.write(exchange.encode(b"half", False), False)
    exchange.fail()
    assert connection.aborted
    assert len(connection.written) == 1


def test_nothing_is_written_to_a_client_that_is_gone(
    exchange: Exchange, connection: Connection
) -> None:
    exchange.disconnect()
    exchange.respond(200, [], b"nobody reads this")
    exchange.fail()
    exchange.abandon()
    assert (connection.written, connection.aborted) == ([], False)


def test_a_client_that_is_given_up_is_cut_off(exchange: Exchange, connection: Connection) -> None:
    exchange.half_close()
    exchange.abandon()
    assert connection.aborted


def test_waiting_for_a_slow_client(exchange: Exchange, connection: Connection) -> None:
    called = Calls()
    exchange.when_writable(called)
    assert called.count == 1
    connection.writable = False
    exchange.when_writable(called)
    assert called.count == 1
    (drained,) = connection.drained
    drained()
    exchange.disconnect()
    exchange.when_writable(called)
    assert called.count == 3


def test_a_refusal_is_one_plain_sentence(exchange: Exchange, connection: Connection) -> None:
    exchange.refuse(PeerError(405, "Not like this.", [(b"Allow", b"GET")]))
    (response,) = connection.written
    assert response.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert b"Allow: GET\r\n" in response
    assert response.endswith(b"\r\n\r\nNot like this.\n")


def test_under_debug_the_response_says_which_gateway_and_why(
    exchange: Exchange, connection: Connection
) -> None:
    exchange.debug = True
    exchange.gateway, exchange.reason = "wsgi", 'a "sync" view'
    exchange.respond(200, [], b"")
    assert (
        b'Server-Timing: gateway;desc="wsgi: a \\"sync\\" view", queue;dur='
        in (connection.written[0])
    )
