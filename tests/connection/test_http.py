"""HTTP/1.1 over real sockets, through both gateways: order, framing, limits of time, endings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.http import Client, Serving, eventually, get, post, serving
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


def impatient(gate: Gate, gateway: str, **options: float) -> dict[str, object]:
    """Arguments for a server with short times."""
    return {gateway: getattr(gate, gateway), **options}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNKED = get("/echo", "Transfer-Encoding: chunked", method="POST")


# Requests and their answers.


def test_a_connection_is_kept(server: Serving) -> None:
    with server.connect() as client:
        for _ in range(3):
            response = client.ask(get("/hello"))
            assert (response.status, response.body) == (200, b"hello")
            assert "connection" not in response.headers
            assert response.headers["server"] == "twogate"
            assert response.headers["date"].endswith(" GMT")
    assert server.record.finished == [("/hello", 200)] * 3


def test_a_hundred_pipelined_requests_are_answered_in_order(server: Serving) -> None:
    with server.connect() as client:
        client.send(b"".join(post("/echo", b"%d" % number) for number in range(100)))
        assert [client.response().body for _ in range(100)] == [b"%d" % n for n in range(100)]
        assert client.ask(get("/hello")).status == 200


def test_a_slow_answer_holds_back_the_quick_ones_behind_it(server: Serving, gate: Gate) -> None:
    with server.connect() as client:
        client.send(get("/wait") + get("*", method="OPTIONS") + get("/hello"))
        eventually(lambda: gate.inside == 1)
        assert client.silent(0.1)
        gate.opened.set()
        assert client.response().body == b"wait"
        assert client.response("OPTIONS").status == 204
        assert client.response().body == b"hello"


def test_a_pipeline_is_not_read_further_than_it_can_be_held(server: Serving, gate: Gate) -> None:
    request = get("/hello", "X-Fill: " + "x" * 2000)
    with server.connect() as client:
        client.send(get("/wait"))
        eventually(lambda: gate.inside == 1)
        client.sock.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 10_000:  # twenty megabytes
                client.send(request)
                sent += 1
        assert sent < 9_000
        connection = server.run(lambda: next(iter(server.server._context.connections)))
        assert len(connection._queue) < 300  # type: ignore[attr-defined]


def test_an_error_in_a_pipeline_is_answered_in_its_turn(server: Serving, gate: Gate) -> None:
    with server.connect() as client:
        client.send(get("/wait") + b"NONSENSE\r\n\r\n")
        eventually(lambda: gate.inside == 1)
        assert client.silent(0.05)
        gate.opened.set()
        assert client.response().body == b"wait"
        refused = client.response()
        assert refused.status == 400
        assert refused.headers["connection"] == "close"
        assert client.at_end()
    assert server.record.refused[0][1] == 400


def test_chunks_both_ways(server: Serving) -> None:
    with server.connect() as client:
        pieces = [b"a" * size for size in (1, 100, 70_000, 5)]
        body = b"".join(map(chunk, pieces)) + b"0\r\nX-Trailer: 1\r\n\r\n"
        assert client.ask(CHUNKED + body).body == b"".join(pieces)
        response = client.ask(get("/pieces"))
        assert response.headers["transfer-encoding"] == "chunked"
        assert response.body == b"onetwothree"
        assert client.ask(get("/hello")).body == b"hello"


def test_a_body_sent_byte_by_byte(server: Serving) -> None:
    with server.connect() as client:
        for byte in post("/echo", b"some bytes"):
            client.send(bytes([byte]))
        assert client.response().body == b"some bytes"


def test_an_application_may_answer_each_piece(server: Serving) -> None:
    with server.connect() as client:
        client.send(get("/conversation", "Transfer-Encoding: chunked", method="POST"))
        client.send(chunk(b"abc"))
        lines = [client.line() for _ in range(7)]
        assert b"3\r\n" in lines
        client.send(chunk(b"def") + b"0\r\n\r\n")
        rest = b"".join(iter(client.line, b"0\r\n"))
        assert b"DEF" in b"".join(lines) + rest


@pytest.mark.parametrize(("status", "length"), [(200, "0"), (204, None), (304, None), (404, "0")])
def test_responses_without_a_body(server: Serving, status: int, length: str | None) -> None:
    with server.connect() as client:
        response = client.ask(get(f"/status/{status}"))
        assert (response.status, response.headers.get("content-length")) == (status, length)
        assert "transfer-encoding" not in response.headers
        assert client.ask(get("/hello")).body == b"hello"


def test_head_has_the_headers_of_get_and_no_body(server: Serving) -> None:
    with server.connect() as client:
        response = client.ask(get("/hello", method="HEAD"), "HEAD")
        assert (response.headers["content-length"], response.body) == ("5", b"")
        assert client.ask(get("/pieces", method="HEAD"), "HEAD").body == b""
        assert client.ask(get("/hello")).body == b"hello"


def test_http_1_0(server: Serving) -> None:
    with server.connect() as client:
        response = client.ask(get("/pieces", version="1.0"))
        assert response.body == b"onetwothree"
        assert response.headers["connection"] == "close"
        assert "transfer-encoding" not in response.headers
    with server.connect() as client:
        response = client.ask(get("/hello", "Connection: keep-alive", version="1.0"))
        assert response.headers["connection"] == "keep-alive"
        assert client.ask(get("/hello", version="1.0")).headers["connection"] == "close"
        assert client.at_end()


@pytest.mark.parametrize(
    "request_", [get("/hello", "Connection: close"), get("/close")], ids=["client", "application"]
)
def test_either_side_may_close(server: Serving, request_: bytes) -> None:
    with server.connect() as client:
        assert client.ask(request_).headers["connection"] == "close"
        assert client.at_end()


def test_what_was_pipelined_behind_a_close_is_not_answered(server: Serving) -> None:
    with server.connect() as client:
        assert client.ask(get("/close") + get("/hello") * 50).body == b"close"
        assert client.at_end()
    assert server.record.finished == [("/close", 200)]


def test_options_asterisk_is_answered_by_the_server(server: Serving) -> None:
    response = server.ask(get("*", method="OPTIONS"), "OPTIONS")
    assert response.status == 204
    assert "GET" in response.headers["allow"]


def test_ignored_upgrades_stay_http(server: Serving) -> None:
    upgrade = get("/hello", "Connection: Upgrade", "Upgrade: h2c")
    with server.connect() as client:
        client.send(upgrade * 20 + get("/close"))
        assert [client.response().body for _ in range(21)] == [b"hello"] * 20 + [b"close"]


def test_a_failing_application_gives_500_and_no_detail(server: Serving) -> None:
    response = server.ask(get("/broken"))
    assert (response.status, response.body) == (500, b"Internal Server Error\n")
    assert server.ask(get("/hello")).status == 200
    assert isinstance(server.record.failed[0], ValueError)


@pytest.mark.parametrize(
    ("limits", "request_", "status"),
    [
        ({"limit_request_line": 100}, get("/" + "a" * 100), 414),
        ({"limit_request_fields": 2}, get("/", "A: 1", "B: 2"), 431),
        ({"limit_request_field_size": 100}, get("/", "A: " + "a" * 100), 431),
        ({"limit_request_head": 100}, get("/", "A: " + "a" * 50, "B: " + "b" * 50), 431),
        ({"limit_request_body": 10}, post("/echo", b"a" * 11), 413),
        ({"limit_request_body": 10}, CHUNKED + chunk(b"a" * 11) + b"0\r\n\r\n", 413),
    ],
    ids=["line", "fields", "field", "head", "body", "chunks"],
)
@pytest.mark.parametrize("gateway", GATEWAYS)
def test_limits(
    gate: Gate, gateway: str, limits: dict[str, int], request_: bytes, status: int
) -> None:
    with serving(**impatient(gate, gateway, **limits)) as server, server.connect() as client:  # type: ignore[arg-type]
        response = client.ask(request_)
        assert response.status == status
        assert response.headers["connection"] == "close"
        assert b"--limit-request" in response.body
        assert client.at_end()


# Expect: 100-continue.


def expecting(target: str, length: int, *fields: str) -> bytes:
    return get(target, "Expect: 100-continue", f"Content-Length: {length}", *fields, method="POST")


def test_continue_is_sent_when_the_body_is_wanted(server: Serving) -> None:
    with server.connect() as client:
        client.send(expecting("/echo", 4))
        assert client.line() == b"HTTP/1.1 100 Continue\r\n"
        assert client.line() == b"\r\n"
        response = client.ask(b"body")
        assert response.body == b"body"
        assert "connection" not in response.headers
        assert client.ask(get("/hello")).status == 200


def test_continue_is_not_sent_when_the_body_is_not_wanted(server: Serving) -> None:
    with server.connect() as client:
        response = client.ask(expecting("/early", 4))
        assert (response.status, response.body) == (200, b"early")
        # Body or next request? The client may send either: it is told that neither is read.
        assert response.headers["connection"] == "close"
        assert client.at_end()


def test_continue_is_not_sent_to_who_is_refused(gate: Gate) -> None:
    with serving(wsgi=gate.wsgi, limit_request_body=3) as server, server.connect() as client:
        assert client.ask(expecting("/echo", 4)).status == 413
        assert client.at_end()


def test_continue_waits_its_turn(server: Serving, gate: Gate) -> None:
    with server.connect() as client:
        client.send(get("/wait") + expecting("/echo", 4))
        eventually(lambda: gate.inside == 1)
        gate.opened.set()
        assert client.response().body == b"wait"
        assert client.line() == b"HTTP/1.1 100 Continue\r\n"
        client.line()
        assert client.ask(b"body").body == b"body"


def test_who_does_not_wait_for_continue_keeps_the_connection(server: Serving) -> None:
    with server.connect() as client:
        client.send(expecting("/echo", 4) + b"body")
        line = client.line()
        if line.startswith(b"HTTP/1.1 100"):
            client.line()
            line = client.line()
        assert line == b"HTTP/1.1 200 OK\r\n"
        assert b"close" not in b"".join(iter(client.line, b"\r\n"))


# An answer before the body was read.


def test_a_small_unwanted_body_is_read_past(server: Serving) -> None:
    with server.connect() as client:
        client.send(get("/early", "Content-Length: 100000", method="POST"))
        eventually(lambda: server.record.finished or gateway_gathers(client))
        client.send(b"x" * 100_000)
        assert client.response().body == b"early"
        assert client.ask(get("/hello")).body == b"hello"


def gateway_gathers(client: Client) -> bool:
    """The WSGI gateway waits for more of the body before it takes a thread."""
    return client.silent(0.05)


@pytest.mark.parametrize("framing", ["Content-Length: 20000000", "Transfer-Encoding: chunked"])
def test_a_large_unwanted_body_ends_the_connection_and_the_answer_arrives(
    server: Serving, framing: str
) -> None:
    with server.connect() as client:
        client.send(get("/early", framing, method="POST"))
        piece = chunk(b"x" * 50_000) if "chunked" in framing else b"x" * 50_000
        with pytest.raises((ConnectionError, TimeoutError)):
            client.sock.settimeout(5)
            for _ in range(400):
                client.send(piece)
                time.sleep(0.01)
        assert client.file.read(15) == b"HTTP/1.1 200 OK"


def test_the_body_of_an_answered_request_fails_for_who_still_reads() -> None:
    failures: list[BaseException] = []

    def app(environ, start_response):  # type: ignore[no-untyped-def]
        start_response("200 OK", [("Content-Length", "2")])
        yield b"ok"
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            failures.append(error)

    with serving(wsgi=app) as server, server.connect() as client:
        client.send(get("/", "Transfer-Encoding: chunked", method="POST") + chunk(b"x"))
        assert client.response().body == b"ok"
        eventually(lambda: failures)
        eventually(lambda: server.statistics()["threads"].busy == 0)
        client.send(b"0\r\n\r\n")
        assert client.ask(get("/")).body == b"ok"


# Time.


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_head_that_does_not_come_is_answered_with_408(gate: Gate, gateway: str) -> None:
    with serving(**impatient(gate, gateway, header_timeout=0.4)) as server:  # type: ignore[arg-type]
        with server.connect() as client:
            began = time.monotonic()
            client.send(b"GET / HT")
            response = client.response()
            assert response.status == 408
            assert client.at_end()
            assert 0.4 <= time.monotonic() - began < 4
        assert server.record.refused[0][1] == 408


def test_a_silent_client_is_closed_after_the_header_timeout(gate: Gate) -> None:
    with serving(wsgi=gate.wsgi, header_timeout=0.4) as server, server.connect() as client:
        began = time.monotonic()
        assert client.at_end()
        assert 0.4 <= time.monotonic() - began < 4


def test_an_idle_connection_is_closed_after_keep_alive(server: Serving, gate: Gate) -> None:
    with serving(wsgi=gate.wsgi, keep_alive=0.4) as server, server.connect() as client:
        client.ask(get("/hello"))
        began = time.monotonic()
        assert client.at_end()
        assert 0.4 <= time.monotonic() - began < 4
        assert server.record.refused == []


def test_the_next_head_has_its_own_time(gate: Gate) -> None:
    with serving(wsgi=gate.wsgi, keep_alive=5.0, header_timeout=0.4) as server:
        with server.connect() as client:
            client.ask(get("/hello"))
            client.send(b"GET /")
            assert client.response().status == 408


@pytest.mark.parametrize("target", ["/echo", "/early"])
@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_body_that_stops_is_answered_with_408(gate: Gate, gateway: str, target: str) -> None:
    options = impatient(gate, gateway, body_timeout=0.4, keep_alive=0.4)
    with serving(**options) as server, server.connect() as client:  # type: ignore[arg-type]
        client.send(get(target, "Content-Length: 100", method="POST") + b"some")
        response = client.response()
        assert response.status == (200 if (gateway, target) == ("asgi", "/early") else 408)
        assert client.at_end()
        eventually(lambda: server.statistics()["tasks"] == 0)
        eventually(lambda: server.statistics()["threads"].busy == 0)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_large_body_that_stops_late_is_given_up(gate: Gate, gateway: str) -> None:
    with serving(**impatient(gate, gateway, body_timeout=0.4)) as server:  # type: ignore[arg-type]
        with server.connect() as client:
            client.send(get("/echo", "Content-Length: 9000000", method="POST") + b"x" * 8_000_000)
            began = time.monotonic()
            assert client.response().status == 408
            assert time.monotonic() - began < 5


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_body_that_trickles_is_given_up(gate: Gate, gateway: str) -> None:
    with serving(**impatient(gate, gateway, body_timeout=0.6)) as server:  # type: ignore[arg-type]
        with server.connect() as client:
            client.send(get("/echo", "Content-Length: 1000", method="POST"))
            with pytest.raises(ConnectionError):
                for _ in range(100):
                    client.send(b"x")
                    time.sleep(0.1)
        assert server.record.refused[0][1] == 408


# Endings.


def test_who_closes_its_side_still_gets_the_answer(gate: Gate) -> None:
    with serving(wsgi=gate.wsgi) as server, server.connect() as client:
        client.send(get("/wait") + get("/hello"))
        eventually(lambda: gate.inside == 1)
        client.half_close()
        assert client.silent(0.05)
        gate.opened.set()
        assert client.response().body == b"wait"
        assert client.response().body == b"hello"
        assert client.at_end()


def test_a_request_cut_off_in_a_pipeline_does_not_take_the_others_with_it(gate: Gate) -> None:
    with serving(wsgi=gate.wsgi) as server, server.connect() as client:
        client.send(get("/wait"))
        eventually(lambda: gate.inside == 1)
        client.send(get("/echo", "Content-Length: 10", method="POST") + b"half")
        client.half_close()
        assert client.silent(0.05)
        gate.opened.set()
        assert client.response().body == b"wait"
        assert client.at_end()


@pytest.mark.parametrize("route", ["/wait", "/begin"])
@pytest.mark.parametrize("goodbye", ["half_close", "close", "reset"])
def test_an_application_that_gives_up_on_who_has_gone_leaves_nothing(
    gate: Gate, route: str, goodbye: str
) -> None:
    with serving(asgi=gate.asgi) as server:
        client = server.connect()
        client.send(get(route) + get(route))
        eventually(lambda: gate.inside == 1)
        getattr(client, goodbye)()
        eventually(lambda: server.statistics()["connections"] == 0)
        eventually(lambda: server.tasks() == 0)
        client.close()
        assert server.record.failed == []


@pytest.mark.parametrize("goodbye", ["close", "reset"])
def test_who_vanishes_in_a_body_releases_the_application(server: Serving, goodbye: str) -> None:
    def at_work() -> int:
        return int(server.statistics()["threads"].busy) + server.tasks()

    client = server.connect()
    client.send(get("/echo", "Transfer-Encoding: chunked", method="POST") + chunk(b"x"))
    eventually(lambda: at_work() >= 1)
    getattr(client, goodbye)()
    eventually(lambda: server.statistics()["connections"] == 0)
    eventually(lambda: at_work() == 0)


def test_over_a_unix_socket(gate: Gate, tmp_path: Path) -> None:
    with serving(wsgi=gate.wsgi, unix=tmp_path / "socket") as server, server.connect() as client:
        assert client.ask(get("/hello")).body == b"hello"
        assert client.ask(post("/echo", b"x" * 200_000)).body == b"x" * 200_000


def test_debug_shows_the_gateway(gate: Gate) -> None:
    with serving(wsgi=gate.wsgi, debug=True) as server:
        assert "wsgi" in server.ask(get("/hello")).headers["server-timing"]
