"""Requests, bytes to events: a corpus on disk, every split of it, and the limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twogate.errors import PeerError
from twogate.protocol.events import END, Event, RequestHead, Upgraded
from twogate.protocol.http1_reader import Http1Reader, Limits

CORPUS = Path(__file__).parents[1] / "corpus" / "http1"
VALID = sorted((CORPUS / "valid").glob("*.http"))
INVALID = sorted((CORPUS / "invalid").glob("*.http"))
HOST = b"Host: example.test\r\n"


def read(data: bytes, limits: Limits | None = None) -> list[Event]:
    return Http1Reader(limits or Limits()).receive(data)


def read_in_pieces(data: bytes, cuts: list[int], limits: Limits | None = None) -> list[Event]:
    reader = Http1Reader(limits or Limits())
    events: list[Event] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        events += reader.receive(data[start:end])
    return events


def describe(events: list[Event]) -> list[dict[str, Any]]:
    """The requests that events tell of; pieces of a body are put together."""
    told: list[dict[str, Any]] = []
    for event in events:
        if isinstance(event, RequestHead):
            told.append(
                {
                    "method": event.method,
                    "path": event.raw_path.decode("latin-1"),
                    "query": event.query_string.decode("latin-1"),
                    "version": event.http_version,
                    "headers": [[n.decode(), v.decode("latin-1")] for n, v in event.headers],
                    "keep_alive": event.keep_alive,
                    "body": "",
                }
            )
            if event.expects_continue:
                told[-1]["expects_continue"] = True
            if event.is_websocket:
                told[-1]["is_websocket"] = True
        elif isinstance(event, bytes):
            told[-1]["body"] += event.decode("latin-1")
        elif isinstance(event, Upgraded):
            told[-1]["upgraded"] = event.rest.decode("latin-1")
        elif isinstance(event, PeerError):
            told.append({"status": event.status, "message": event.message})
        else:
            told[-1]["complete"] = True
    return told


def status_of(events: list[Event]) -> int:
    """The status of the error that ends the events; 0 without one."""
    return int(events[-1].status) if events and isinstance(events[-1], PeerError) else 0


def test_the_corpus_is_there() -> None:
    assert len(VALID) > 40
    assert len(INVALID) > 100


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.stem)
def test_valid_requests_are_read(file: Path) -> None:
    expected = json.loads(file.with_suffix(".json").read_text())
    for request in expected:
        request["complete"] = True
    assert describe(read(file.read_bytes())) == expected


@pytest.mark.parametrize("file", INVALID, ids=lambda file: file.stem)
def test_invalid_requests_are_refused(file: Path) -> None:
    data = file.read_bytes()
    events = read(data)
    expected = int(file.stem.split("-")[0])
    assert status_of(events) == expected
    # Not one byte at a time either, and nothing that follows is read.
    reader = Http1Reader(Limits())
    single = [event for byte in data for event in reader.receive(bytes([byte]))]
    assert status_of(single) == expected
    assert reader.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == []


@pytest.mark.parametrize("file", INVALID, ids=lambda file: file.stem)
def test_an_error_does_not_repeat_what_the_peer_sent(file: Path) -> None:
    error = read(file.read_bytes())[-1]
    assert isinstance(error, PeerError)
    assert set(error.message) - set("§`") <= set(map(chr, range(0x20, 0x7F)))
    assert "example" not in error.message
    assert error.__traceback__ is None  # it would keep the reader alive


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_any_split_gives_the_same_events(data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(VALID + INVALID))
    raw = file.read_bytes()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    assert describe(_joined(read_in_pieces(raw, cuts))) == describe(_joined(read(raw)))


def _joined(events: list[Event]) -> list[Event]:
    """Early bytes of the next protocol come apart by design; the first piece is what counts."""
    return [Upgraded(b"") if isinstance(event, Upgraded) else event for event in events]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=300), max_size=8))
def test_random_bytes_never_raise(pieces: list[bytes]) -> None:
    reader = Http1Reader(Limits())
    for piece in pieces:
        reader.receive(piece)


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_damaged_requests_never_raise(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(VALID)).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    reader = Http1Reader(Limits(body=3))
    for event in reader.receive(bytes(raw)):
        assert isinstance(event, RequestHead | bytes | Upgraded | PeerError) or event is END


# Limits.


def _post(*fields: bytes, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\n" + HOST + b"".join(f + b"\r\n" for f in fields) + b"\r\n" + body


@pytest.mark.parametrize("split", [False, True], ids=["whole", "split"])
@pytest.mark.parametrize(
    ("limits", "fits", "breaks", "status"),
    [
        (
            Limits(request_line=40),
            b"GET /" + b"a" * 26 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
            b"GET /" + b"a" * 27 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
            414,
        ),
        (Limits(fields=3), _post(b"A: 1", b"B: 2"), _post(b"A: 1", b"B: 2", b"C: 3"), 431),
        (
            Limits(field_size=50),
            _post(b"A: " + b"x" * 49),
            _post(b"A: " + b"x" * 50),
            431,
        ),
        (
            Limits(head=100),
            _post(b"A: " + b"x" * 39, b"B: " + b"x" * 43),
            _post(b"A: " + b"x" * 39, b"B: " + b"x" * 44),
            431,
        ),
        (
            Limits(body=5),
            _post(b"Content-Length: 5", body=b"12345"),
            _post(b"Content-Length: 6", body=b"123456"),
            413,
        ),
        (
            Limits(body=5),
            _post(b"Transfer-Encoding: chunked", body=b"3\r\n123\r\n2\r\n45\r\n0\r\n\r\n"),
            _post(b"Transfer-Encoding: chunked", body=b"3\r\n123\r\n3\r\n456\r\n0\r\n\r\n"),
            413,
        ),
        (
            Limits(fields=3),
            _post(b"Transfer-Encoding: chunked", body=b"0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"),
            _post(b"Transfer-Encoding: chunked", body=b"0\r\nA:1\r\nB:2\r\nC:3\r\nD:4\r\n\r\n"),
            431,
        ),
    ],
    ids=["line", "count", "size", "total", "declared", "chunked", "trailers"],
)
def test_limits(limits: Limits, fits: bytes, breaks: bytes, status: int, split: bool) -> None:
    def events(data: bytes) -> list[Event]:
        return read_in_pieces(data, list(range(1, len(data))) if split else [], limits)

    assert events(fits)[-1] is END
    assert status_of(events(breaks)) == status


def test_zero_switches_a_limit_off() -> None:
    unlimited = Limits(request_line=0, fields=0, field_size=0, head=0, body=0)
    fields = [b"F%d: x" % number for number in range(500)] + [b"Long: " + b"x" * 100_000]
    data = _post(*fields, b"Content-Length: 3", body=b"abc")
    data = data.replace(b" / ", b" /" + b"a" * 9000 + b" ")
    assert read(data, unlimited)[-1] is END


@pytest.mark.parametrize(
    ("before", "endless", "status"),
    [
        (b"", b"\r\n", 414),
        (b"GET /", b"a", 414),
        (b"GET /?", b"a", 414),
        (b"GET /", b" ", 431),
        (b"GET / HTTP/1.1\r\n", b"a", 431),
        (b"GET / HTTP/1.1\r\nA:", b" ", 431),
        (b"GET / HTTP/1.1\r\nA: ", b"a", 431),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1", b"0", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: ", b"a", 400),
    ],
    ids=[
        "blank-lines", "path", "query", "spaces", "name", "value-space", "value",
        "extension", "chunk-size", "trailer",
    ],
)  # fmt: skip
def test_what_never_ends_is_refused_early(before: bytes, endless: bytes, status: int) -> None:
    reader = Http1Reader(Limits())
    assert status_of(reader.receive(before)) == 0
    piece, sent = endless * 50, 0
    while sent < 1024 * 1024:
        events = reader.receive(piece)
        sent += len(piece)
        if events:
            break
    assert status_of(events) == status
    assert sent < 10_000


def test_a_field_as_large_as_the_limit_may_come_in_pieces() -> None:
    name, value = b"X-Large", b"v" * (8190 - 9)
    data = b"GET / HTTP/1.1\r\n" + HOST + name + b":    " + value + b"  \r\n\r\n"
    at = data.index(name)
    assert read_in_pieces(data, [at, at + 1, len(data) - 4])[-1] is END


def test_a_flood_of_ignored_upgrades_is_read_in_one_loop() -> None:
    one = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    events = read(one * 3000)
    assert len(events) == 6000
    assert events[-1] is END


def test_many_pipelined_requests_cost_time_in_proportion() -> None:
    assert len(read((b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 5000)) == 10_000


# States that the connection asks for.


def test_mid_head_is_true_from_the_first_byte_to_the_last() -> None:
    data = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nab"
    reader = Http1Reader(Limits())
    seen = ""
    for byte in data * 2:
        reader.receive(bytes([byte]))
        seen += "h" if reader.mid_head else "."
    one = "h" * (len(data) - 3) + "..."
    assert seen == one * 2


def test_mid_head_sees_a_request_that_begins_behind_another() -> None:
    reader = Http1Reader(Limits())
    reader.receive(b"GET / HTTP/1.1\r\n" + HOST + b"\r\nG")
    assert reader.mid_head


def test_a_closed_reader_reads_nothing() -> None:
    reader = Http1Reader(Limits())
    reader.close()
    assert reader.receive(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") == []
