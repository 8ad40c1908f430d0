"""WebSocket (RFC 6455, RFC 7692), bytes to events and back: no I/O, no clock, no logging.

Handshake and framing are the work of :class:`websockets.server.ServerProtocol`; the head of the
request is handed to it as the object it is. Here are the rules around it: where a frame ends, whole
messages, UTF-8, what is worth compressing, and a shortcut past it for the one kind of frame that
nearly all traffic consists of: a short message in a single uncompressed frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any, Literal, TypeAlias, cast

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeader, InvalidMethod, PayloadTooBig, ProtocolError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import EXTERNAL_CLOSE_CODES, CloseCode, Frame, Opcode
from websockets.headers import parse_subprotocol
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from twogate.errors import ApplicationError, PeerError
from twogate.protocol.events import RequestHead
from twogate.protocol.headers import FORBIDDEN_IN_VALUE, TOKEN

try:
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover - the wheels of all supported platforms have it
    from websockets.utils import apply_mask

__all__ = [
    "PING",
    "ClosedSocket",
    "Handshake",
    "Message",
    "SocketEvent",
    "WebSocketFraming",
    "check_close",
    "encode_frame",
    "encode_message",
]

Message: TypeAlias = str | bytes
"""A whole message: text or binary (RFC 6455 §5.6)."""

#: Messages shorter than this many bytes are not compressed: a packet goes out all the same.
COMPRESS_FROM = 1024

# RFC 6455 §5.5: the payload of a control frame, and of a close frame without the code.
_MAX_CONTROL = 125
_MAX_REASON = _MAX_CONTROL - 2

# FIN, no reserved bit, and the opcode: a message in one uncompressed frame.
_WHOLE_TEXT = 0x81
_WHOLE_BINARY = 0x82
_WHOLE_PONG = 0x8A
_NO_LIMIT = 1 << 62

_WHOLE = (_WHOLE_TEXT, _WHOLE_BINARY)


class _Control(Enum):
    PING = "ping"


PING: Literal[_Control.PING] = _Control.PING
"""The peer sent a ping; its answer waits in :meth:`WebSocketFraming.answer`."""


@dataclass(slots=True)
class ClosedSocket:
    """How a WebSocket ended.

    :ivar code: the close code (RFC 6455 §7.4): the peer's; 1005 when its close frame had none; ours
        when we closed first or the peer broke a rule; 1006 when the connection was lost.
    :ivar reason: the reason that came with the code, for people to read; may be empty.
    """

    code: int
    reason: str = ""


SocketEvent: TypeAlias = Message | ClosedSocket | Literal[_Control.PING]


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """One whole, unmasked, uncompressed frame (RFC 6455 §5.2).

    It depends on nothing but its arguments: encoded once, it may be sent to any number of peers,
    also to those that have negotiated compression (RFC 7692 §6: compressing is optional).

    :param opcode: 1 for text (the payload is then UTF-8), 2 for binary, 9 for a ping.
    """
    size = len(payload)
    if size < 126:
        return b"%c%c%b" % (0x80 | opcode, size, payload)
    if size < 65536:
        return b"%c\x7e%b%b" % (0x80 | opcode, size.to_bytes(2, "big"), payload)
    return b"%c\x7f%b%b" % (0x80 | opcode, size.to_bytes(8, "big"), payload)


def encode_message(message: Message) -> bytes:
    """A message as one frame; see :func:`encode_frame`."""
    if isinstance(message, str):
        return encode_frame(Opcode.TEXT, message.encode())
    return encode_frame(Opcode.BINARY, message)


def check_close(code: object, reason: object) -> None:
    """Check a close code and reason that an application wants to send.

    :raises ApplicationError: they cannot stand in a close frame (RFC 6455 §5.5, §7.4).
    """
    if not isinstance(code, int) or not (code in EXTERNAL_CLOSE_CODES or 3000 <= code < 5000):
        raise ApplicationError(
            f"{code!r} is not a close code that may be sent (RFC 6455 §7.4): use 1000, another"
            " registered code, or 3000 to 4999."
        )
    if not isinstance(reason, str) or len(reason.encode("utf-8", "replace")) > _MAX_REASON:
        raise ApplicationError(
            f"A close reason is a string of at most {_MAX_REASON} bytes in UTF-8 (RFC 6455 §5.5)."
        )


class Handshake:
    """The opening handshake of one request, up to the bytes of the answer (RFC 6455 §4.2).

    :param head: the request that asks for the upgrade.
    :param max_message_size: bytes of one message, after decompression (→ 1009); 0 for no limit.
    :param compression: whether permessage-deflate is accepted when the client offers it.
    :raises PeerError: the request breaks a rule of the handshake (→ 400, 405 or 426).
    """

    __slots__ = ("_accept", "_agreed", "_extensions", "_limit", "subprotocols")

    def __init__(self, head: RequestHead, *, max_message_size: int, compression: bool) -> None:
        protocol = ServerProtocol(
            extensions=_DEFLATE if compression else None,
            state=OPEN,  # its own reader of requests is not needed
            logger=cast("Any", _SILENT),
        )
        self._limit = max_message_size or None
        if head.header(b"sec-websocket-version") != b"13":
            raise _wrong_version()
        headers = Headers(
            [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
        )
        response = protocol.accept(Request(head.raw_path.decode("latin-1"), headers, head.method))
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            raise _explain(protocol.handshake_exc)
        self._agreed = protocol.extensions
        self._accept = response.headers["Sec-WebSocket-Accept"].encode()
        self._extensions = response.headers.get("Sec-WebSocket-Extensions", "").encode()
        #: The subprotocols the client offers, in its order of preference.
        self.subprotocols: list[str] = [
            str(name)
            for value in headers.get_all("Sec-WebSocket-Protocol")
            for name in parse_subprotocol(value)
        ]

    def response(
        self, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> bytes:
        """Encode the ``101 Switching Protocols`` that accepts.

        :param subprotocol: one of :attr:`subprotocols`, or ``None``.
        :param headers: further header fields from the application.
        :raises ApplicationError: the subprotocol was not offered, or a header breaks the rules.
        """
        lines = [
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + self._accept,
        ]
        if self._extensions:
            lines.append(b"Sec-WebSocket-Extensions: " + self._extensions)
        if subprotocol is not None:
            lines.append(b"Sec-WebSocket-Protocol: " + self._offered(subprotocol).encode())
        lines += [b"%b: %b" % field for field in headers if _is_ours_to_send(field)]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def framing(self) -> WebSocketFraming:
        """What reads and writes the frames after the ``101``; to be called once."""
        return WebSocketFraming(self._limit, self._agreed)

    def _offered(self, subprotocol: str) -> str:
        if subprotocol not in self.subprotocols:
            raise ApplicationError(
                f"The client did not offer the subprotocol {subprotocol!r} (RFC 6455 §4.2.2);"
                f" it offered {self.subprotocols!r}."
            )
        return subprotocol


class WebSocketFraming:
    """Reads and writes the frames of one WebSocket, as the server.

    Feed bytes with :meth:`feed` and take events with :meth:`next_event` until it returns ``None``;
    what was not asked for is not decoded, so that a full queue also stops decompression.

    The protocol is made for the first frame that needs one: a WebSocket may live for hours and have
    none before its last, and nothing of the handshake is left in it.

    :param limit: bytes of one message, after decompression (→ 1009); ``None`` for no limit.
    :param extensions: those that were agreed on.
    """

    __slots__ = (
        "_data",
        "_ended",
        "_extensions",
        "_limit",
        "_made",
        "_owed",
        "_partial",
        "_position",
        "_text",
        "failed",
    )

    def __init__(self, limit: int | None, extensions: Sequence[Extension] = ()) -> None:
        self._extensions = extensions
        self._made: ServerProtocol | None = None
        # Bytes fed; those before the position are done with.
        self._data = b""
        self._position = 0
        # Bytes of the frame that the protocol has begun to read and has not been given yet.
        self._owed = 0
        # A message of which only some frames have come.
        self._partial: bytearray | None = None
        self._text = False
        self._ended = False
        #: Whether it ended because the peer broke a rule.
        self.failed = False
        self._limit = _NO_LIMIT if limit is None else limit

    @property
    def _protocol(self) -> ServerProtocol:
        protocol = self._made
        if protocol is None:
            limit = None if self._limit == _NO_LIMIT else self._limit
            if limit is not None and self._extensions:
                # It holds compressed frames to its limit, too, and what does not compress grows: by
                # 5 bytes for each stored block, of 128 bytes at the least (RFC 1951 §3.2.4).
                limit += limit // 16 + 64
            protocol = ServerProtocol(state=OPEN, max_size=limit, logger=cast("Any", _SILENT))
            protocol.extensions = list(self._extensions)
            self._made = protocol
        return protocol

    def feed(self, data: bytes) -> None:
        """Add bytes that came from the peer; ignored after a :class:`ClosedSocket`."""
        if self._ended:
            return
        if self._position < len(self._data):
            data = self._data[self._position :] + data
        self._data = data
        self._position = 0

    def next_event(self) -> SocketEvent | None:
        """The next whole message, ping or close among the bytes fed, or ``None``.

        A broken rule of the protocol is a :class:`ClosedSocket` with the code that says so. Nothing
        follows a :class:`ClosedSocket`. Ask :meth:`answer` after anything but a message.
        """
        while not self._ended:
            data, begin = self._data, self._position
            if self._owed:
                end = begin + self._owed
            else:
                # RFC 6455 §5.2: two bytes, an extended length, a masking key, the payload.
                size = len(data)
                if size - begin < 2:
                    return None
                length = data[begin + 1] - 0x80
                if length < 0:
                    return self._hand_over(size)  # not masked: the protocol says what follows
                start = begin + 6
                if length > 125:
                    extended = 2 if length == 126 else 8
                    start += extended
                    length = int.from_bytes(data[begin + 2 : begin + 2 + extended], "big")
                if size < start:
                    return None
                end = start + length
                first = data[begin]
                if (
                    first in _WHOLE
                    and end <= size
                    and length <= self._limit
                    and self._partial is None
                ):
                    payload = apply_mask(data[start:end], data[start - 4 : start])
                    self._pass(end)
                    return payload if first == _WHOLE_BINARY else self._decode(payload)
                if first == _WHOLE_PONG and end <= size and length <= _MAX_CONTROL:
                    self._pass(end)  # that it came is all it says
                    continue
            event = self._hand_over(end)
            if event is not None:
                return event
            if self._position >= len(self._data):
                break
        return None

    def _pass(self, end: int) -> None:
        """The bytes before ``end`` are done with."""
        if end == len(self._data):
            self._data = b""
            end = 0
        self._position = end

    def answer(self) -> bytes:
        """What the protocol wants to be sent: pongs and the close frame; ``b""`` for nothing."""
        return b"".join(self._made.data_to_send()) if self._made is not None else b""

    def encode(self, message: Message) -> bytes:
        """Encode a message in one frame, compressed when it was negotiated and is worth it."""
        if not self._extensions or len(message) < COMPRESS_FROM:
            return encode_message(message)
        if isinstance(message, str):
            frame = Frame(Opcode.TEXT, message.encode())
        else:
            frame = Frame(Opcode.BINARY, message)
        return frame.serialize(mask=False, extensions=self._extensions)

    def close(self, code: int, reason: str = "") -> bytes:
        """Begin the closing handshake: the close frame to send (RFC 6455 §7.1.2).

        To be called once, and not after a :class:`ClosedSocket`. What the peer sends until it
        answers can still be read; its answer is a :class:`ClosedSocket`.
        """
        self._protocol.send_close(code, reason)
        return self.answer()

    def fail(self, code: int, reason: str) -> bytes:
        """Give up (RFC 6455 §7.1.7): the close frame to send before the connection is closed."""
        self._end(code, reason)
        self._protocol.fail(code, reason)
        return self.answer()

    def _hand_over(self, end: int) -> SocketEvent | None:
        """Give the protocol a frame, or as much of it as has come."""
        data, begin = self._data, self._position
        available = min(end, len(data))
        self._pass(available)
        self._owed = end - available
        protocol = self._protocol
        whole = begin == 0 and available == len(data)
        protocol.receive_data(data if whole else data[begin:available])
        for frame in protocol.events_received():
            event = self._on_frame(cast("Frame", frame))
            if event is not None:
                return event
        if protocol.parser_exc is not None:
            return self._on_failure(protocol.parser_exc)
        return None

    def _on_frame(self, frame: Frame) -> SocketEvent | None:
        opcode = frame.opcode
        if opcode is Opcode.PING:
            return PING
        if opcode is Opcode.PONG:
            return None
        if opcode is Opcode.CLOSE:
            received = self._protocol.close_rcvd
            assert received is not None
            return self._end(received.code, received.reason)
        if opcode is not Opcode.CONT:
            self._text = opcode is Opcode.TEXT
        return self._on_data(bytes(frame.data), frame.fin)

    def _on_data(self, data: bytes, final: bool) -> SocketEvent | None:
        partial = self._partial
        if len(data) + (len(partial) if partial else 0) > self._limit:
            return self._give_up(CloseCode.MESSAGE_TOO_BIG, "the message is too big")
        if not final:
            if partial is None:
                self._partial = bytearray(data)
            else:
                partial += data
            return None
        if partial is not None:
            partial += data
            data = bytes(partial)
            self._partial = None
        return self._decode(data) if self._text else data

    def _decode(self, payload: bytes) -> str | ClosedSocket:
        try:
            return str(payload, "utf-8")
        except UnicodeDecodeError:
            # RFC 6455 §8.1
            return self._give_up(CloseCode.INVALID_DATA, "text that is not UTF-8")

    def _give_up(self, code: CloseCode, reason: str) -> ClosedSocket:
        """The peer has broken a rule that the protocol does not look at."""
        self._protocol.fail(code, reason)
        self.failed = True
        return self._end(code, reason)

    def _on_failure(self, error: Exception) -> ClosedSocket:
        sent = self._protocol.close_sent
        if sent is None or not isinstance(error, ProtocolError | PayloadTooBig | UnicodeError):
            raise error  # not the peer's fault: a bug
        self.failed = True
        return self._end(sent.code, sent.reason)

    def _end(self, code: int, reason: str) -> ClosedSocket:
        self._ended = True
        self._data = b""
        self._position = self._owed = 0
        self._partial = None
        return ClosedSocket(int(code), reason)


# Without context takeover nothing is held between messages: 50 KB less for each connection, a
# microsecond more for each compressed message (docs/design/0006-websocket.md). The windows bound
# what is held during one. It has no state: one for all connections.
_DEFLATE = [
    ServerPerMessageDeflateFactory(
        server_no_context_takeover=True,
        client_no_context_takeover=True,
        server_max_window_bits=12,
        client_max_window_bits=12,
        compress_settings={"memLevel": 5},
    )
]


def _wrong_version() -> PeerError:
    return PeerError(
        HTTPStatus.UPGRADE_REQUIRED,
        "The only version of WebSocket spoken is 13 (RFC 6455 §4.4).",
        [(b"Sec-WebSocket-Version", b"13"), (b"Upgrade", b"websocket")],
    )


def _explain(error: Exception | None) -> PeerError:
    if isinstance(error, InvalidMethod):
        return PeerError(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "A WebSocket is opened with GET (RFC 6455 §4.1).",
            [(b"Allow", b"GET")],
        )
    name = f"The header {error.name}" if isinstance(error, InvalidHeader) else "The request"
    return PeerError(
        HTTPStatus.BAD_REQUEST,
        f"{name} is not what opens a WebSocket: missing, repeated or malformed (RFC 6455 §4.2.1).",
    )


# RFC 6455 §4.2.2 and RFC 9110 §7.6.1: written by us, or meaningless in a 101.
_NOT_THEIRS = frozenset((b"connection", b"upgrade", b"content-length", b"transfer-encoding"))


def _is_ours_to_send(field: tuple[bytes, bytes]) -> bool:
    """Check a header field of the application; ``False`` for one that is left out."""
    try:
        name, value = field
        valid_name, forbidden = TOKEN.fullmatch(name), FORBIDDEN_IN_VALUE.search(value)
    except (TypeError, ValueError) as error:
        raise ApplicationError(f"Headers must be pairs of byte strings: {error}.") from None
    if valid_name is None:
        raise ApplicationError(f"{name!r} is not a header name (RFC 9110 §5.1).")
    if forbidden:
        raise ApplicationError(
            f"The value of the header {name.decode()} has a control character (RFC 9110 §5.5)."
        )
    lower = name.lower()
    if lower == b"sec-websocket-protocol":
        raise ApplicationError(
            "websocket.accept must not have the header sec-websocket-protocol: its key"
            " 'subprotocol' says the same (ASGI, Accept - send event)."
        )
    if lower.startswith(b"sec-websocket-"):
        raise ApplicationError(f"The header {name.decode()} is the server's to send (RFC 6455 §4).")
    return lower not in _NOT_THEIRS


class _SilentLogger:
    """What the protocol is given to log to: events and errors are told by return values."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        return False

    def debug(self, *args: object, **kwargs: object) -> None:
        """Say nothing."""

    info = error = debug


_SILENT = _SilentLogger()
