"""WebSocket bytes to events and back, against the client and the server of another hand."""

from __future__ import annotations

import base64
import itertools
import json
import random
import subprocess
import sys
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
)
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from twogate.errors import ApplicationError, PeerError
from twogate.protocol.events import RequestHead
from twogate.protocol.websocket import (
    COMPRESS_FROM,
    PING,
    ClosedSocket,
    Handshake,
    SocketEvent,
    WebSocketFraming,
    check_close,
    encode_frame,
    encode_message,
)

LIMIT = 4096
KEY = base64.b64encode(bytes(16))


def head_of(*extra: tuple[bytes, bytes], without: bytes = b"", method: str = "GET") -> RequestHead:
    headers = [
        (b"host", b"example.org"),
        (b"upgrade", b"websocket"),
        (b"connection", b"keep-alive, Upgrade"),
        (b"sec-websocket-key", KEY),
        (b"sec-websocket-version", b"13"),
    ]
    kept = [field for field in headers if field[0] != without]
    return RequestHead(method, b"/chat", b"", "1.1", [*kept, *extra], is_websocket=True)


def handshake(head: RequestHead, compression: bool = True) -> Handshake:
    return Handshake(head, max_message_size=LIMIT, compression=compression)


def deflate() -> PerMessageDeflate:
    return PerMessageDeflate(True, True, 12, 12)


def framing(compressed: bool = False) -> WebSocketFraming:
    return WebSocketFraming(LIMIT, [deflate()] if compressed else [])


def server(compressed: bool = False) -> ServerProtocol:
    protocol = ServerProtocol(state=OPEN, max_size=LIMIT)
    protocol.extensions = [deflate()] if compressed else []
    return protocol


def client(compressed: bool = False) -> ClientProtocol:
    protocol = ClientProtocol(parse_uri("ws://example.org/"), state=OPEN)
    protocol.extensions = [deflate()] if compressed else []
    return protocol


def sent_by(protocol: ClientProtocol) -> bytes:
    return b"".join(protocol.data_to_send())


def read(subject: WebSocketFraming, chunks: Iterable[bytes]) -> tuple[list[SocketEvent], bytes]:
    events: list[SocketEvent] = []
    for chunk in chunks:
        subject.feed(chunk)
        while (event := subject.next_event()) is not None:
            events.append(event)
    return events, subject.answer()


def read_by_protocol_alone(
    protocol: ServerProtocol, data: bytes
) -> tuple[list[SocketEvent], bytes]:
    """What the shortcut and the feeding in frames must be equal to."""
    protocol.receive_data(data)
    events: list[SocketEvent] = []
    message, is_text = b"", False
    for frame in protocol.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode is Opcode.PING:
            events.append(PING)
        elif frame.opcode is Opcode.CLOSE and protocol.close_rcvd is not None:
            close = protocol.close_rcvd
            events.append(ClosedSocket(close.code, close.reason))
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if frame.opcode is not Opcode.CONT:
                message, is_text = b"", frame.opcode is Opcode.TEXT
            message += bytes(frame.data)
            if frame.fin:
                events.append(message.decode() if is_text else message)
    if protocol.parser_exc is not None:
        assert isinstance(protocol.parser_exc, ProtocolError | PayloadTooBig | UnicodeDecodeError)
        assert protocol.close_sent is not None
        close = protocol.close_sent
        events.append(ClosedSocket(close.code, close.reason))
    return events, b"".join(protocol.data_to_send())


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[begin:end] for begin, end in itertools.pairwise(ends)]


texts = st.text(st.characters(codec="utf-8"), max_size=300)
blobs = st.binary(max_size=300) | st.integers(100, 3000).map(bytes)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("text"), texts),
        st.tuples(st.just("binary"), blobs),
        st.tuples(st.just("fragments"), st.lists(texts, min_size=2, max_size=4)),
        st.tuples(st.just("ping"), st.binary(max_size=125)),
        st.tuples(st.just("pong"), st.binary(max_size=125)),
    ),
    max_size=6,
)


def perform(protocol: ClientProtocol, steps: list[tuple[str, object]]) -> bytes:
    for kind, value in steps:
        if kind == "text":
            protocol.send_text(str(value).encode())
        elif kind == "fragments":
            assert isinstance(value, list)
            protocol.send_text(value[0].encode(), fin=False)
            for number, part in enumerate(value[1:], 2):
                protocol.send_ping(b"between")
                protocol.send_continuation(part.encode(), fin=number == len(value))
        else:
            assert isinstance(value, bytes)
            {
                "binary": protocol.send_binary,
                "ping": protocol.send_ping,
                "pong": protocol.send_pong,
            }[kind](value)
    return sent_by(protocol)


@settings(deadline=None)
@given(actions, st.booleans(), st.lists(st.integers(0, 1 << 16), max_size=12), st.booleans())
def test_any_split_gives_the_events_of_the_protocol_alone(
    steps: list[tuple[str, object]], compressed: bool, places: list[int], close: bool
) -> None:
    sender = client(compressed)
    data = perform(sender, steps)
    if close:
        sender.send_close(3001, "enough")
        data += sent_by(sender)
    expected = read_by_protocol_alone(server(compressed), data)
    assert read(framing(compressed), [data]) == expected
    assert read(framing(compressed), cut(data, places)) == expected
    assert read(framing(compressed), [bytes([byte]) for byte in data]) == expected


@settings(deadline=None)
@given(actions, st.integers(0, 1 << 16), st.integers(1, 255), st.lists(st.integers(0, 1 << 16)))
def test_one_wrong_byte_is_judged_as_the_protocol_alone_judges_it(
    steps: list[tuple[str, object]], place: int, flip: int, places: list[int]
) -> None:
    whole = bytearray(perform(client(), [*steps, ("text", "last"), ("binary", b"12345")]))
    # The zeros complete whatever header was begun; two of them are a frame that is not masked.
    whole[place % len(whole)] ^= flip
    data = bytes(whole) + bytes(16)
    results = [read(framing(), [data]), read(framing(), cut(data, places))]
    assert results[0] == results[1]
    if results[0][0][-1:] == [ClosedSocket(1007, "text that is not UTF-8")]:
        return  # the protocol alone does not look at text
    assert results[0] == read_by_protocol_alone(server(), data)


@settings(deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400)))
def test_no_bytes_raise_and_the_end_is_told_once(data: bytes, places: list[int]) -> None:
    subject = framing()
    events, _ = read(subject, cut(data, places))
    ends = [event for event in events if isinstance(event, ClosedSocket)]
    assert len(ends) <= 1
    if ends:
        assert events[-1] == ends[0]
        assert read(subject, [encode_frame(9, b"more")]) == ([], b"")


@settings(deadline=None)
@given(texts | blobs)
def test_the_client_reads_what_is_encoded(message: str | bytes) -> None:
    for compressed in (False, True):
        receiver = client(compressed)
        receiver.receive_data(framing(compressed).encode(message))
        receiver.receive_data(encode_message(message))
        frames = receiver.events_received()
        for frame in frames:
            assert isinstance(frame, Frame)
            data = bytes(frame.data)
            assert (data.decode() if frame.opcode is Opcode.TEXT else data) == message
        assert len(frames) == 2


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_encode_frame_is_what_the_protocol_would_send(size: int) -> None:
    payload = bytes(size)
    assert encode_frame(2, payload) == Frame(Opcode.BINARY, payload).serialize(mask=False)


def test_short_messages_are_not_compressed_and_long_ones_are() -> None:
    subject = framing(compressed=True)
    short, long = "a" * (COMPRESS_FROM - 1), "a" * COMPRESS_FROM
    assert subject.encode(short) == encode_message(short)
    assert len(subject.encode(long)) < 100
    assert framing(compressed=False).encode(long) == encode_message(long)


def test_compression_holds_nothing_between_messages() -> None:
    subject = framing(compressed=True)
    sender = client(compressed=True)
    sender.send_text(b"x" * 3000)
    events, _ = read(subject, [sent_by(sender)])
    subject.encode("y" * 3000)
    (extension,) = subject._protocol.extensions
    assert events == ["x" * 3000]
    assert not hasattr(extension, "decoder")
    assert not hasattr(extension, "encoder")


def test_messages_and_pongs_leave_nothing_behind() -> None:
    subject = framing()
    events, answer = read(
        subject, [masked(0x8A, b""), masked(0x81, b"hello") + masked(0x8A, b"any"), b"\x8a"]
    )
    assert (events, answer) == (["hello"], b"")
    assert subject._made is None
    assert subject._data == b"\x8a"
    events, answer = read(subject, [masked(0x8A, bytes(125))[1:] + masked(0x89, b"ping")])
    assert (events, answer) == ([PING], encode_frame(10, b"ping"))


# Rules that end a WebSocket.


def masked(first: int, payload: bytes) -> bytes:
    return bytes((first, 0x80 | len(payload), 0, 0, 0, 0)) + payload


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (encode_frame(1, b"not masked"), 1002),
        (masked(0xC1, b"RSV1 without compression"), 1002),
        (masked(0xA1, b"RSV2"), 1002),
        (masked(0x83, b"a reserved opcode"), 1002),
        (masked(0x80, b"a continuation of nothing"), 1002),
        (masked(0x01, b"begun") + masked(0x81, b"and begun again"), 1002),
        (masked(0x09, b"a ping in fragments"), 1002),
        (masked(0x0A, b"a pong in fragments"), 1002),
        (b"\x8a\xfe\x00\x7e" + bytes(4 + 126), 1002),  # a pong that is too long
        (masked(0x88, b"\x03"), 1002),
        (masked(0x88, b"\x03\xed"), 1002),  # 1005 is never sent
        (masked(0x81, b"\xff"), 1007),
        (masked(0x01, b"\xe2\x82") + masked(0x80, b"\x28"), 1007),
        (masked(0x01, b"\xe2\x82") + masked(0x80, b""), 1007),
        (masked(0x88, b"\x03\xe8\xff"), 1007),
        (b"\x82\xfe\x10\x01" + bytes(4), 1009),
        (b"\x82\xff" + bytes(6) + b"\x10\x01" + bytes(4), 1009),
    ],
)
def test_a_broken_rule_closes_with_its_code(data: bytes, code: int) -> None:
    subject = framing()
    subject.feed(data)
    event = subject.next_event()
    assert isinstance(event, ClosedSocket)
    assert event.code == code
    assert subject.failed
    answer = subject.answer()
    assert answer[0] == 0x88
    assert int.from_bytes(answer[2:4], "big") == code
    subject.feed(masked(0x81, b"ignored"))
    assert subject.next_event() is None


def test_text_may_be_cut_inside_a_character() -> None:
    data = "€".encode()
    frames = masked(0x01, data[:1]) + masked(0x00, data[1:2]) + masked(0x80, data[2:])
    assert read(framing(), [frames]) == (["€"], b"")


def test_the_limit_is_the_largest_message_that_passes() -> None:
    for size, passes in ((LIMIT, True), (LIMIT + 1, False)):
        peer = client()
        peer.send_binary(bytes(size))
        events, _ = read(framing(), [sent_by(peer)])
        assert (events == [bytes(size)]) == passes


def test_a_long_length_may_be_cut_anywhere() -> None:
    peer = client()
    peer.send_binary(bytes(70_000))
    peer.send_text(b"next")
    data = sent_by(peer)
    for place in range(20):
        subject = WebSocketFraming(None)
        assert read(subject, [data[:place], data[place:]])[0] == [bytes(70_000), "next"]


def test_the_limit_counts_all_fragments() -> None:
    part = masked(0x02, bytes(120)) + masked(0x00, bytes(120)) * 40
    events, _ = read(framing(), [part])
    assert [event.code for event in events if isinstance(event, ClosedSocket)] == [1009]


def test_the_limit_counts_after_decompression() -> None:
    sender = client(compressed=True)
    sender.send_binary(bytes(LIMIT + 1))
    bomb = sent_by(sender)
    assert len(bomb) < 100
    events, _ = read(framing(compressed=True), [bomb])
    assert [event.code for event in events if isinstance(event, ClosedSocket)] == [1009]


def test_the_limit_does_not_count_what_compression_adds() -> None:
    noise = random.Random(1).randbytes(LIMIT)
    sender = client(compressed=True)
    sender.send_binary(noise)
    frame = sent_by(sender)
    assert len(frame) > LIMIT + 8
    assert read(framing(compressed=True), [frame]) == ([noise], b"")
    sender.send_binary(noise + b"x")
    events, _ = read(framing(compressed=True), [sent_by(sender)])
    assert [event.code for event in events if isinstance(event, ClosedSocket)] == [1009]


def test_empty_fragments_without_end_take_no_memory() -> None:
    subject = framing()
    subject.feed(masked(0x02, b""))
    assert subject.next_event() is None
    for _ in range(1000):
        subject.feed(masked(0x00, b"") * 10)
        assert subject.next_event() is None
    assert subject._partial == bytearray()


def test_nothing_is_decoded_before_it_is_asked_for() -> None:
    sender = client(compressed=True)
    for _ in range(50):
        sender.send_binary(bytes(LIMIT))
    subject = framing(compressed=True)
    subject.feed(sent_by(sender))
    assert subject.next_event() == bytes(LIMIT)
    assert len(subject._data) - subject._position > 49 * 10


# Closing.


def test_a_close_frame_is_echoed() -> None:
    sender = client()
    sender.send_close(3000, "bye")
    assert read(framing(), [sent_by(sender)]) == (
        [ClosedSocket(3000, "bye")],
        encode_frame(8, b"\x0b\xb8bye"),
    )


def test_a_close_frame_without_a_code_is_1005() -> None:
    events, answer = read(framing(), [masked(0x88, b"")])
    assert events == [ClosedSocket(1005, "")]
    assert answer == encode_frame(8, b"")


def test_closing_first_waits_for_the_answer() -> None:
    subject, peer = framing(), client()
    peer.send_text(b"on its way")
    data = sent_by(peer)
    peer.receive_data(subject.close(4000, "ours"))
    data += sent_by(peer)
    assert read(subject, [data]) == (["on its way", ClosedSocket(4000, "ours")], b"")
    assert not subject.failed


def test_a_failure_after_closing_is_not_taken_for_a_bug() -> None:
    subject = framing()
    subject.close(1011)
    events, answer = read(subject, [encode_frame(1, b"not masked")])
    assert events == [ClosedSocket(1011, "")]
    assert answer == b""


def test_fail_says_why_and_reads_no_more() -> None:
    subject = framing()
    assert subject.fail(1011, "gone") == encode_frame(8, b"\x03\xf3gone")
    assert read(subject, [masked(0x81, b"late")]) == ([], b"")


@pytest.mark.parametrize("code", [1000, 1001, 1012, 3000, 4999])
def test_codes_that_may_be_sent(code: int) -> None:
    check_close(code, "é" * 61)


@pytest.mark.parametrize(
    ("code", "reason"),
    [(0, ""), (1005, ""), (1006, ""), (1015, ""), (2999, ""), (5000, ""), ("1000", ""), (1000, 5)],
)
def test_codes_and_reasons_that_may_not(code: object, reason: object) -> None:
    with pytest.raises(ApplicationError, match="RFC 6455"):
        check_close(code, reason)


def test_a_reason_has_at_most_123_bytes() -> None:
    with pytest.raises(ApplicationError, match="123 bytes"):
        check_close(1000, "é" * 62)


# The handshake.


def test_the_answer_satisfies_the_client() -> None:
    peer = ClientProtocol(
        parse_uri("ws://example.org/"),
        extensions=[ClientPerMessageDeflateFactory(client_max_window_bits=True)],
        subprotocols=["chat", "other"],  # type: ignore[list-item]
    )
    request = peer.connect()
    fields = [(n.lower().encode(), v.encode()) for n, v in request.headers.raw_items()]
    subject = handshake(RequestHead("GET", b"/", b"", "1.1", fields, is_websocket=True))
    assert subject.subprotocols == ["chat", "other"]
    peer.send_request(request)
    peer.data_to_send()
    peer.receive_data(subject.response("other", [(b"X-Room", b"1"), (b"Connection", b"close")]))
    (response,) = peer.events_received()
    assert isinstance(response, Response)
    assert peer.state is OPEN
    assert peer.handshake_exc is None
    assert peer.subprotocol == "other"
    assert response.headers["X-Room"] == "1"
    assert response.headers.get_all("Connection") == ["Upgrade"]
    for side in ("server", "client"):
        assert f"{side}_no_context_takeover" in response.headers["Sec-WebSocket-Extensions"]
    peer.send_text(b"compressed " * 100)
    assert read(subject.framing(), [sent_by(peer)]) == (["compressed " * 100], b"")


def test_the_answer_of_the_rfc() -> None:
    head = head_of(
        (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="), without=b"sec-websocket-key"
    )
    assert handshake(head).response(None) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


def test_compression_can_be_switched_off() -> None:
    head = head_of((b"sec-websocket-extensions", b"permessage-deflate"))
    assert b"permessage-deflate" in handshake(head).response(None)
    assert b"permessage-deflate" not in handshake(head, compression=False).response(None)


def test_another_version_is_told_ours() -> None:
    for head in (
        head_of((b"sec-websocket-version", b"8"), without=b"sec-websocket-version"),
        head_of(without=b"sec-websocket-version"),
    ):
        with pytest.raises(PeerError) as caught:
            handshake(head)
        assert caught.value.status == 426
        assert (b"Sec-WebSocket-Version", b"13") in caught.value.headers


@pytest.mark.parametrize(
    "head",
    [
        head_of(without=b"sec-websocket-key"),
        head_of((b"sec-websocket-key", KEY)),
        head_of((b"sec-websocket-key", b"too short"), without=b"sec-websocket-key"),
        head_of((b"sec-websocket-key", b"\xff" * 24), without=b"sec-websocket-key"),
        head_of((b"sec-websocket-version", b"13")),
        head_of((b"sec-websocket-protocol", b"a b")),
        head_of((b"sec-websocket-extensions", b"=;")),
    ],
)
def test_a_malformed_handshake_is_400_and_quotes_no_peer(head: RequestHead) -> None:
    with pytest.raises(PeerError) as caught:
        handshake(head)
    assert caught.value.status == 400
    assert "too short" not in caught.value.message


def test_only_get_opens_a_websocket() -> None:
    with pytest.raises(PeerError) as caught:
        handshake(head_of(method="POST"))
    assert caught.value.status == 405
    assert (b"Allow", b"GET") in caught.value.headers


@pytest.mark.parametrize(
    ("subprotocol", "headers"),
    [
        ("chat", []),
        (None, [(b"Sec-WebSocket-Protocol", b"chat")]),
        (None, [(b"sec-websocket-accept", b"mine")]),
        (None, [(b"X-Bad", b"a\r\nb")]),
        (None, [(b"X Bad", b"a")]),
        (None, [("X-Bad", "a")]),
        (None, [(b"X-Bad",)]),
    ],
)
def test_what_an_application_may_not_put_in_the_answer(
    subprotocol: str | None, headers: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(ApplicationError):
        handshake(head_of()).response(subprotocol, headers)


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    subject = handshake(head_of()).framing()
    read(subject, [masked(0x81, b"hello"), masked(0x89, b""), encode_frame(1, b"not masked")])
    assert not caplog.records


def test_it_also_works_without_the_c_extension() -> None:
    program = (
        "import sys; sys.modules['websockets.speedups'] = None\n"
        "from twogate.protocol.websocket import WebSocketFraming\n"
        "f = WebSocketFraming(None)\n"
        "f.feed(bytes.fromhex('818537fa213d7f9f4d5158'))\n"  # RFC 6455 §5.7
        "import json; print(json.dumps([f.next_event()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        timeout=30,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert json.loads(done.stdout) == ["Hello"]
