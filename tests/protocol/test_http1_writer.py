"""Responses, calls to bytes: framing, refusals, and what other parsers read back."""

from __future__ import annotations

import http.client
import io
from collections.abc import Iterable
from typing import Any

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twogate.errors import ApplicationError
from twogate.protocol.events import RequestHead
from twogate.protocol.http1_writer import Headers, Payload, ResponseEncoder, reason_phrase

DEFAULTS: Headers = ((b"Date", b"Thu, 01 Jan 1970 00:00:00 GMT"), (b"Server", b"twogate"))


def encoder(
    method: str = "GET", version: str = "1.1", keep_alive: bool | None = None
) -> ResponseEncoder:
    alive = version == "1.1" if keep_alive is None else keep_alive
    return ResponseEncoder(RequestHead(method, b"/", b"", version, [], keep_alive=alive))


def raw(payload: Payload) -> bytes:
    return payload if isinstance(payload, bytes) else b"".join(payload)


def respond(
    made: ResponseEncoder,
    pieces: list[bytes],
    status: int = 200,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """The whole response; the last piece ends it."""
    made.start(status, reason_phrase(status), headers)
    last = len(pieces) - 1
    return b"".join(raw(made.encode(p, n == last, DEFAULTS)) for n, p in enumerate(pieces))


def fields(response: bytes) -> dict[bytes, bytes]:
    lines = response.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}


CLOSE = {b"connection": b"close"}
KEPT = {b"connection": b"keep-alive"}
ONE, THREE = [b"hello"], [b"he", b"", b"llo"]
LENGTH: Headers = ((b"Content-Length", b"5"),)


@pytest.mark.parametrize(
    ("made", "pieces", "status", "headers", "expected", "body"),
    [
        (encoder(), ONE, 200, (), {b"content-length": b"5"}, b"hello"),
        (encoder(), [b""], 200, (), {b"content-length": b"0"}, b""),
        (encoder(), THREE, 200, LENGTH, {b"content-length": b"5"}, b"hello"),
        (
            encoder(), [*THREE, b""], 200, (), {b"transfer-encoding": b"chunked"},
            b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        ),
        (encoder("HEAD"), ONE, 200, (), {b"content-length": b"5"}, b""),
        (encoder("HEAD"), [b""], 200, LENGTH, {b"content-length": b"5"}, b""),
        (encoder("HEAD"), [b""], 200, (), {}, b""),
        (encoder("HEAD"), THREE, 200, (), {}, b""),
        (encoder(), [b""], 204, (), {}, b""),
        (encoder(), [b""], 204, [(b"content-length", b"0")], {}, b""),
        (encoder(), ONE, 204, (), {}, b""),
        (encoder(), [b""], 304, (), {}, b""),
        (encoder(), [b""], 304, LENGTH, {b"content-length": b"5"}, b""),
        (encoder(version="1.0"), ONE, 200, (), {b"content-length": b"5"} | CLOSE, b"hello"),
        (encoder(version="1.0"), THREE, 200, (), CLOSE, b"hello"),
        (
            encoder(version="1.0", keep_alive=True), ONE, 200, (),
            {b"content-length": b"5"} | KEPT, b"hello",
        ),
        (encoder(version="1.0", keep_alive=True), THREE, 200, (), CLOSE, b"hello"),
        (encoder(keep_alive=False), ONE, 200, (), {b"content-length": b"5"} | CLOSE, b"hello"),
        (
            encoder(), ONE, 200, [(b"Connection", b"keep-alive, Close")],
            {b"content-length": b"5"} | CLOSE, b"hello",
        ),
    ],
)  # fmt: skip
def test_framing(
    made: ResponseEncoder,
    pieces: list[bytes],
    status: int,
    headers: Headers,
    expected: dict[bytes, bytes],
    body: bytes,
) -> None:
    response = respond(made, pieces, status, headers)
    told = fields(response)
    assert {n: v for n, v in told.items() if n not in (b"date", b"server")} == expected
    assert response.partition(b"\r\n\r\n")[2] == body
    assert made.finished
    assert made.keep_alive == (expected.get(b"connection") != b"close")


def test_what_belongs_to_the_connection_is_dropped() -> None:
    names = [b"Keep-Alive", b"Proxy-Connection", b"TE", b"Transfer-Encoding", b"Upgrade"]
    told = fields(respond(encoder(), ONE, headers=[(name, b"chunked") for name in names]))
    assert set(told) == {b"date", b"server", b"content-length"}


def test_an_application_may_set_its_own_date_and_server() -> None:
    own = [(b"date", b"today"), (b"SERVER", b"mine")]
    response = respond(encoder(), ONE, headers=own)
    assert response.lower().count(b"date:") == response.lower().count(b"server:") == 1
    assert fields(response)[b"date"] == b"today"
    assert fields(response)[b"server"] == b"mine"


def test_an_unknown_status_has_an_empty_reason() -> None:
    assert respond(encoder(), ONE, 299).startswith(b"HTTP/1.1 299 \r\n")


@pytest.mark.parametrize(
    "headers",
    [
        [(b"X-A", b"1\r\nSet-Cookie: a=b")],
        [(b"X-A", b"1\nX-B: 2")],
        [(b"X-A", b"1\rX-B: 2")],
        [(b"X-A", b"1\0")],
        [(b"X-A", b"\x7f")],
        [(b"X A", b"1")],
        [(b"X-A:", b"1")],
        [(b"X-A\r\n", b"1")],
        [(b"", b"1")],
        [(b"X-\xe9", b"1")],
        [("X-A", b"1")],
        [(b"X-A", "1")],
        [(b"X-A", 1)],
        [(b"X-A",)],
        [b"X-A: 1"],
        None,
        [(b"Content-Length", b"-1")],
        [(b"Content-Length", b"+1")],
        [(b"Content-Length", b"")],
        [(b"Content-Length", b"5, 5")],
        [(b"Content-Length", b"5"), (b"Content-Length", b"6")],
    ],
    ids=str,
)
def test_bad_headers_are_refused_and_a_500_can_follow(headers: Any) -> None:
    made = encoder()
    with pytest.raises(ApplicationError):
        respond(made, ONE, headers=headers)
    assert not made.head_sent
    assert respond(made, ONE, 500).startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("reason", [b"OK\r\nX: y", b"OK\n", b"\0"])
def test_a_bad_reason_is_refused(reason: bytes) -> None:
    made = encoder()
    with pytest.raises(ApplicationError, match="reason"):
        made.start(200, reason, [])


@pytest.mark.parametrize("status", [0, 100, 101, 199, 1000, -1])
def test_only_final_statuses_are_taken(status: int) -> None:
    with pytest.raises(ApplicationError):
        encoder().start(status, b"", [])


@pytest.mark.parametrize(
    "pieces", [[b"hell"], [b"hello!"], [b""]], ids=["shorter", "longer", "empty"]
)
def test_a_body_that_breaks_its_length_at_once_can_still_become_a_500(pieces: list[bytes]) -> None:
    made = encoder()
    with pytest.raises(ApplicationError, match="Content-Length of 5"):
        respond(made, pieces, headers=LENGTH)
    assert not made.head_sent
    assert not made.keep_alive
    assert respond(made, ONE, 500).startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("pieces", [[b"he", b"l"], [b"he", b"llo!"]], ids=["shorter", "longer"])
def test_a_body_that_breaks_its_length_later_ends_the_connection(pieces: list[bytes]) -> None:
    made = encoder()
    with pytest.raises(ApplicationError, match="Content-Length of 5"):
        respond(made, pieces, headers=LENGTH)
    assert made.head_sent
    assert not made.keep_alive
    assert not made.finished


def test_start_may_be_repeated_until_the_head_is_sent() -> None:
    made = encoder()
    made.start(200, b"OK", [*LENGTH, (b"Connection", b"close"), (b"Date", b"today")])
    response = respond(made, [b"oops"], 500)
    assert fields(response)[b"content-length"] == b"4"
    assert b"connection" not in fields(response)
    with pytest.raises(ApplicationError, match="already"):
        made.start(200, b"OK", [])


def test_calls_out_of_turn_are_refused() -> None:
    made = encoder()
    with pytest.raises(ApplicationError, match="must be started"):
        made.encode(b"", True, DEFAULTS)
    respond(made, ONE)
    with pytest.raises(ApplicationError, match="already ended"):
        made.encode(b"", True, DEFAULTS)


def test_large_pieces_are_not_copied() -> None:
    made, large = encoder(), b"x" * 100_000
    made.start(200, b"OK", [])
    payload = made.encode(large, True, DEFAULTS)
    assert isinstance(payload, list)
    assert payload[-1] is large


def test_a_declared_length_is_counted_down() -> None:
    made = encoder()
    made.declare_length(5)
    assert made.length_left is None or made.length_left == 5
    made.start(200, b"OK", LENGTH)
    made.encode(b"he", False, DEFAULTS)
    assert made.length_left == 3
    made.sent_elsewhere(3)
    assert (made.length_left, made.bytes_sent) == (0, 5)


# Whatever is written, others read the same.

_TOKENS = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=12).map(str.encode)
_VISIBLE = st.binary(max_size=30).map(lambda value: bytes(b for b in value if 0x20 < b != 0x7F))
_OWN = {
    b"content-length", b"connection", b"keep-alive", b"proxy-connection", b"te",
    b"transfer-encoding", b"upgrade", b"date", b"server", b"trailer",
}  # fmt: skip
_HEADERS = st.lists(
    st.tuples(_TOKENS, _VISIBLE).filter(lambda field: field[0].lower() not in _OWN), max_size=6
)


class _Collector:
    """What httptools tells of one response."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True


class _Socket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


@settings(deadline=None, max_examples=300)
@given(
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    version=st.sampled_from(["1.0", "1.1"]),
    keep_alive=st.booleans(),
    status=st.sampled_from([200, 201, 204, 206, 299, 304, 404, 500, 599]),
    headers=_HEADERS,
    pieces=st.lists(st.binary(max_size=200), min_size=1, max_size=5),
    declared=st.booleans(),
)
def test_other_parsers_read_back_what_was_written(
    method: str,
    version: str,
    keep_alive: bool,
    status: int,
    headers: list[tuple[bytes, bytes]],
    pieces: list[bytes],
    declared: bool,
) -> None:
    whole = b"".join(pieces)
    bodiless = method == "HEAD" or status in (204, 304)
    length = [(b"Content-Length", b"%d" % len(whole))] if declared else []
    made = encoder(method, version, keep_alive)
    response = respond(made, pieces, status, [*headers, *length])
    body = b"" if bodiless else whole
    given_fields = [(name.lower(), value) for name, value in headers]

    reader = http.client.HTTPResponse(_Socket(response), method=method)  # type: ignore[arg-type]
    reader.begin()
    assert (reader.status, reader.read()) == (status, body)

    if method != "HEAD":
        collector = _Collector()
        parser = httptools.HttpResponseParser(collector)
        parser.feed_data(response)
        assert (parser.get_status_code(), collector.body) == (status, body)
        told = [(name.lower(), value) for name, value in collector.headers]
        assert [field for field in told if field[0] not in _OWN] == given_fields
        if made.keep_alive:
            assert collector.complete


@pytest.mark.parametrize(
    ("content_type", "is_one"),
    [
        (b"text/event-stream", True),
        (b"Text/Event-Stream; charset=utf-8", True),
        (b"text/event-streams", False),
        (b"text/plain", False),
    ],
)
def test_a_stream_of_events_is_told_by_its_type(content_type: bytes, is_one: bool) -> None:
    made = encoder()
    assert not made.is_event_stream
    made.start(200, b"OK", [(b"X-Type", b"text/event-stream"), (b"content-type", content_type)])
    assert made.is_event_stream is is_one
    made.encode(b"data: 1\n\n", False, DEFAULTS)
    assert made.is_event_stream is is_one


@pytest.mark.parametrize("fields", [[(b"Content-Length", b"9")], []])
def test_what_has_a_length_or_no_body_is_none(fields: list[tuple[bytes, bytes]]) -> None:
    made = encoder("GET" if fields else "HEAD")
    made.start(200, b"OK", [(b"Content-Type", b"text/event-stream"), *fields])
    assert not made.is_event_stream


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_the_last_bytes_complete_a_body_between_any_two_pieces(version: str) -> None:
    made = encoder(version=version)
    made.start(200, b"OK", [(b"Content-Type", b"text/event-stream")])
    written = raw(made.encode(b"data: 1\n\n", False, DEFAULTS)) + made.last_bytes
    reader = http.client.HTTPResponse(_Socket(written))  # type: ignore[arg-type]
    reader.begin()
    assert reader.read() == b"data: 1\n\n"
