"""HTTP/1.1 responses, calls to bytes (RFC 9112). Knows nothing of sockets or time.

One :class:`ResponseEncoder` makes one response. It decides the framing (length, chunks or close),
keeps the application to it, and says afterwards whether the connection may be kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NoReturn, TypeAlias, TypeVar

from twogate.errors import ApplicationError
from twogate.protocol.events import RequestHead
from twogate.protocol.headers import FORBIDDEN_IN_VALUE, TOKEN, BoundedMemo

__all__ = [
    "CONTINUE",
    "Headers",
    "Line",
    "LineMemo",
    "Payload",
    "ResponseEncoder",
    "SpecialField",
    "make_line",
    "reason_phrase",
]

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

# What goes to the transport at once: bytes, or pieces too large to be worth copying together.
Payload: TypeAlias = bytes | list[bytes]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# Copying a body of this size next to its head costs less than a second system call.
_JOIN_LIMIT = 65536

_EVENT_STREAM = re.compile(rb"content-type:[ \t]*text/event-stream[ \t]*(;|$)", re.IGNORECASE)

#: A longer line is not remembered, and a cookie is not: they will hardly come again.
_MEMORABLE = 256


class _Role(Enum):
    """What a header field means to the encoder, where it means anything."""

    LENGTH = "length"
    CONNECTION = "connection"
    DEFAULT = "default"  # one that we send unless the application does
    HOP = "hop"


_ROLES = {
    b"content-length": _Role.LENGTH,
    b"connection": _Role.CONNECTION,
    b"date": _Role.DEFAULT,
    b"server": _Role.DEFAULT,
    # RFC 9110 §7.6.1: these belong to the connection, which is ours.
    b"keep-alive": _Role.HOP,
    b"proxy-connection": _Role.HOP,
    b"te": _Role.HOP,
    b"transfer-encoding": _Role.HOP,
    b"upgrade": _Role.HOP,
}


@dataclass(slots=True)
class SpecialField:
    """A field that the encoder must look at.

    :ivar name: lower case.
    :ivar length: the value of a ``Content-Length``.
    """

    role: _Role
    name: bytes
    value: bytes
    line: bytes
    length: int | None = None


#: A header field, checked: its line without the line end, where that is all there is to it.
Line: TypeAlias = bytes | SpecialField


def make_line(field: tuple[bytes, bytes]) -> Line:
    """Check a header field (name, value) and write its line.

    :raises ApplicationError: it breaks RFC 9110 §5.
    """
    name, value = field
    if TOKEN.fullmatch(name) is None:
        raise ApplicationError(f"{name!r} is not a header name (RFC 9110 §5.1).")
    if FORBIDDEN_IN_VALUE.search(value):
        raise ApplicationError(
            f"The value of the header {name.decode()} has a control character (RFC 9110 §5.5)."
        )
    line = b"%b: %b" % (name, value)
    role = _ROLES.get(name.lower())
    if role is None:
        return line
    length = _parse_length(value) if role is _Role.LENGTH else None
    return SpecialField(role, name.lower(), value, line, length)


def _parse_length(value: bytes) -> int:
    if not value.isdigit():
        raise ApplicationError(f"Content-Length {value!r} is not a number (RFC 9110 §8.6).")
    return int(value)


_T = TypeVar("_T", str, bytes)


class LineMemo(dict[tuple[_T, _T], Line]):
    """Lines of fields seen before: an application sends the same few over and over.

    :param make: makes the line of a field that was not seen.
    """

    def __init__(self, make: Callable[[Any], Line]) -> None:
        super().__init__()
        self._make: Callable[[Any], Line] = make

    def __missing__(self, field: tuple[_T, _T]) -> Line:
        line = self._make(field)
        size = len(line) if isinstance(line, bytes) else len(line.line)
        if size <= _MEMORABLE and len(field[0]) != len("Set-Cookie"):
            if len(self) >= 1024:
                self.clear()
            self[field] = line
        return line


_lines: LineMemo[bytes] = LineMemo(make_line)


def _phrase_of(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


_phrases: BoundedMemo[int, bytes] = BoundedMemo(_phrase_of)


def _make_status_line(status: tuple[int, bytes]) -> bytes:
    if FORBIDDEN_IN_VALUE.search(status[1]):
        raise ApplicationError("The reason phrase has a control character (RFC 9112 §4).")
    return b"HTTP/1.1 %d %b" % status


_status_lines: BoundedMemo[tuple[int, bytes], bytes] = BoundedMemo(_make_status_line)


@lru_cache(maxsize=8)  # they change once a second
def _default_lines(defaults: Headers) -> list[bytes]:
    lines = map(make_line, defaults)
    return [line if isinstance(line, bytes) else line.line for line in lines]


def reason_phrase(status: int) -> bytes:
    """The standard reason phrase of a status, or ``b""`` for one that has none."""
    return _phrases[status]


class ResponseEncoder:
    """Encodes the response to one request.

    :param head: the request that is answered.
    """

    __slots__ = (
        "_close_after",
        "_declared",
        "_framing",
        "_lines",
        "_own",
        "_remaining",
        "_request",
        "_status_line",
        "bytes_sent",
        "finished",
        "head_sent",
        "keep_alive",
        "status",
    )

    _NO_BODY, _BY_LENGTH, _CHUNKED, _UNTIL_CLOSE = range(4)

    def __init__(self, head: RequestHead) -> None:
        self._request = head
        self.keep_alive = head.keep_alive
        #: The status code; 0 until the response is started.
        self.status = 0
        #: Whether the head has been encoded, after which it cannot change.
        self.head_sent = False
        #: Whether the whole response has been encoded.
        self.finished = False
        #: Bytes of body encoded, without framing.
        self.bytes_sent = 0
        self._declared: int | None = None
        # The other slots are set by start() and by the head; most are read once.

    def start(self, status: int, reason: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Set status and headers; nothing is encoded before the first piece of the body.

        May be called again until then: the later call wins.

        :raises ApplicationError: when a header breaks the rules, or the head is already on its way.
        """
        try:
            lines = [
                _lines[field if type(field) is tuple else tuple(field)]  # type: ignore[index]
                for field in headers
            ]
        except (TypeError, ValueError) as error:
            raise ApplicationError(f"Headers must be pairs of byte strings: {error}.") from None
        self.start_lines(status, reason, lines)

    def start_lines(self, status: int, reason: bytes, lines: Iterable[Line]) -> None:
        """Like :meth:`start`, with what :func:`make_line` has made of the headers.

        :raises ApplicationError: the head is already on its way.
        """
        if self.head_sent:
            raise ApplicationError("The response has already been started.")
        if not 200 <= status <= 999:
            raise ApplicationError(f"{status!r} is not the status of a final response.")
        self._lines = [_status_lines[status, reason]]
        self._own: set[bytes] | None = None
        self._declared = None
        self._close_after = False
        add = self._lines.append
        for line in lines:
            if type(line) is bytes:
                add(line)
            elif line.length is not None:  # type: ignore[union-attr]
                self._declare(line.length)  # type: ignore[union-attr]
            else:
                self._heed(line)  # type: ignore[arg-type]
        self.status = status

    def _declare(self, length: int) -> None:
        if self._declared is not None and self._declared != length:
            raise ApplicationError("Content-Length is given twice, differently (RFC 9110 §8.6).")
        self._declared = length

    def _heed(self, field: SpecialField) -> None:
        """Take in a field that means something to us; most of these we write ourselves."""
        if field.role is _Role.DEFAULT:
            self._lines.append(field.line)
            self._own = {*(self._own or ()), field.name}
        elif field.role is _Role.CONNECTION and b"close" in field.value.lower():
            self._close_after = True

    def encode(self, data: bytes, end: bool, defaults: Headers) -> Payload:
        """Encode a piece of the body, with the head before the first one.

        :param data: the piece; may be empty.
        :param end: whether the response ends with it.
        :param defaults: ``Date`` and ``Server``, for responses that do not set their own.
        :raises ApplicationError: when the body is longer or shorter than its ``Content-Length``.
        """
        if not self.status:
            raise ApplicationError("The response must be started before its body is sent.")
        if self.finished:
            raise ApplicationError("The response has already ended.")
        size = len(data)
        if self.head_sent:
            head = b""
        elif end and self._is_plain() and size <= _JOIN_LIMIT and self._declared in (None, size):
            return self._encode_whole(data, size, defaults)
        else:
            head = self._encode_head(size, end, defaults)
        framing = self._framing
        if framing == self._BY_LENGTH:
            self._remaining -= size
            if self._remaining < 0 or (end and self._remaining):
                self._broken_length()
        # Only now: a head that goes down with a broken body has not been sent, and a 500 may be.
        self.head_sent = True
        self.finished = end
        if framing == self._NO_BODY:
            return head
        self.bytes_sent += size
        if framing == self._CHUNKED:
            return _join(head, _chunk(data, end))
        return _join(head, [data])

    def _is_plain(self) -> bool:
        """Nearly every response: it has a body and leaves the connection as it is."""
        request = self._request
        return (
            self.keep_alive
            and not self._close_after
            and request.http_version == "1.1"
            and request.method != "HEAD"
            and self.status != 204
            and self.status != 304
        )

    def _encode_whole(self, data: bytes, size: int, defaults: Headers) -> bytes:
        """A plain response in one piece, head and body."""
        lines = self._lines
        self._add_defaults(defaults)
        lines.append(b"Content-Length: %d\r\n" % size)
        lines.append(data)
        self.head_sent = self.finished = True
        self.bytes_sent = size
        self._framing, self._remaining = self._BY_LENGTH, 0
        return b"\r\n".join(lines)

    @property
    def length_left(self) -> int | None:
        """Bytes the body still owes to its ``Content-Length``; ``None`` without one."""
        if not self.head_sent:
            return self._declared
        return self._remaining if self._framing == self._BY_LENGTH else None

    @property
    def sends_body(self) -> bool:
        """Whether the body goes over the wire at all (not for HEAD, 204 and 304)."""
        return not (self._request.method == "HEAD" or self.status in (204, 304))

    @property
    def is_event_stream(self) -> bool:
        """Whether it is a stream of Server-Sent Events: a body of unknown length whose end is up to
        us, because its client comes back for more."""
        return (
            self.status != 0
            and self._declared is None
            and self.sends_body
            and any(map(_EVENT_STREAM.match, self._lines))
        )

    @property
    def last_bytes(self) -> bytes:
        """What completes a body of unknown length, of which each piece was encoded whole; nothing
        else may be encoded then."""
        return b"0\r\n\r\n" if self._framing == self._CHUNKED else b""

    def declare_length(self, length: int) -> None:
        """Set the length of the body when the application did not, before the head is encoded."""
        if self._declared is None and not self.head_sent:
            self._declared = length

    def sent_elsewhere(self, size: int) -> None:
        """Account for body bytes that reach the socket without passing through here (sendfile)."""
        self.bytes_sent += size
        if self._framing == self._BY_LENGTH:
            self._remaining -= size

    def _broken_length(self) -> NoReturn:
        self.keep_alive = False
        how = "longer" if self._remaining < 0 else "shorter"
        raise ApplicationError(
            f"The body is {how} than the Content-Length of {self._declared} bytes (RFC 9110 §8.6)."
        )

    def _encode_head(self, size: int, end: bool, defaults: Headers) -> bytes:
        self._add_defaults(defaults)
        return b"\r\n".join([*self._lines, *self._frame(size, end), b"\r\n"])

    def _add_defaults(self, defaults: Headers) -> None:
        own = self._own
        if own is None:
            self._lines += _default_lines(defaults)
        else:
            fields = tuple(field for field in defaults if field[0].lower() not in own)
            self._lines += _default_lines(fields)

    def _frame(self, size: int, end: bool) -> list[bytes]:
        """Choose the framing and return the header lines that announce it (RFC 9112 §6)."""
        status, request, declared = self.status, self._request, self._declared
        modern = request.http_version == "1.1"
        lines: list[bytes] = []
        if status == 204 or status == 304 or request.method == "HEAD":
            self._framing = self._NO_BODY
            if declared is None and end and status != 204 and status != 304 and size:
                declared = size
            if declared is not None and status != 204:
                lines.append(b"Content-Length: %d" % declared)
        elif declared is not None or end:
            self._framing = self._BY_LENGTH
            self._declared = self._remaining = size if declared is None else declared
            lines.append(b"Content-Length: %d" % self._remaining)
        elif modern:
            self._framing = self._CHUNKED
            lines.append(b"Transfer-Encoding: chunked")
        else:
            self._framing = self._UNTIL_CLOSE
            self.keep_alive = False
        if self._close_after:
            self.keep_alive = False
        if not self.keep_alive:
            lines.append(b"Connection: close")
        elif not modern:
            lines.append(b"Connection: keep-alive")
        return lines


def _chunk(data: bytes, end: bool) -> list[bytes]:
    """RFC 9112 §7.1; an empty piece makes no chunk, because that would end the body."""
    pieces = [b"%x\r\n" % len(data), data, b"\r\n"] if data else []
    if end:
        pieces.append(b"0\r\n\r\n")
    return pieces


def _join(head: bytes, pieces: list[bytes]) -> Payload:
    if head:
        pieces.insert(0, head)
    if len(pieces) == 1:
        return pieces[0]
    if sum(map(len, pieces)) > _JOIN_LIMIT:
        return pieces
    return b"".join(pieces)
