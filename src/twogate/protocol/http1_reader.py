"""HTTP/1.1 requests, bytes to events (RFC 9112). Knows nothing of sockets, time or responses.

httptools (llhttp) splits the bytes; it is strict about line ends, header tokens, lengths and
chunks, and has no limits. The limits, the target forms, ``Host`` and what an upgrade may carry are
decided here. Ambiguous framing is refused, never guessed.

==================  =======  ===================================================================
limit               default  precedents
==================  =======  ===================================================================
request line        4094     gunicorn 4094, nginx 8 KiB per buffer, Apache 8190
header fields       100      gunicorn and Apache 100, Tomcat 100, Node none
one field           8190     gunicorn and Apache 8190, nginx 8 KiB
whole head          64 KiB   Node 16 KiB, hypercorn 16 KiB, Tomcat 8 KiB, waitress 256 KiB
==================  =======  ===================================================================
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from http import HTTPStatus
from typing import NoReturn

import httptools

from twogate.errors import PeerError
from twogate.protocol.events import END, Event, RequestHead, Upgraded
from twogate.protocol.headers import BoundedMemo, is_valid_host

__all__ = ["Http1Reader", "Limits"]


@dataclass(slots=True)
class Limits:
    """What one request may cost. Sizes are in bytes; 0 switches a limit off.

    :ivar request_line: method, target and version with their spaces (→ 414).
    :ivar fields: number of header fields, trailers included (→ 431).
    :ivar field_size: name and value of one field (→ 431).
    :ivar head: all fields together (→ 431).
    :ivar body: the body after chunks are decoded (→ 413).
    """

    request_line: int = 4094
    fields: int = 100
    field_size: int = 8190
    head: int = 65536
    body: int = 0

    @property
    def smallest(self) -> int:
        """A whole head of this size passes none of the limits on sizes."""
        return min(
            (size for size in (self.request_line, self.field_size, self.head) if size),
            default=sys.maxsize,
        )


# RFC 9110 §9 and the registry; WebDAV and PATCH included. llhttp also knows RTSP's methods.
_METHODS = {
    name.encode(): name
    for names in (
        "GET HEAD POST PUT DELETE OPTIONS TRACE PATCH QUERY LINK UNLINK PURGE SEARCH REPORT MERGE",
        "COPY LOCK MKCOL MOVE PROPFIND PROPPATCH UNLOCK BIND REBIND UNBIND ACL MKACTIVITY CHECKOUT",
        "MKCALENDAR",
    )
    for name in names.split()
}

# Only what changes the meaning of the message is looked at.
_HOST = b"host"
_LENGTH = b"content-length"
_CODING = b"transfer-encoding"
_EXPECT = b"expect"
_UPGRADE = b"upgrade"
_SINGLE = frozenset((_HOST, _LENGTH, _CODING))
_SPECIAL = frozenset((*_SINGLE, _EXPECT, _UPGRADE))

#: Bytes that may come without completing anything, on top of the size of a field: its separators
#: and the white space around it.
_SLACK = 256

#: The shortest method, two spaces and the version.
_AROUND_TARGET = len("GET  HTTP/1.1")

# What llhttp says of a version that it does not know, and of the preface of HTTP/2.
_OTHER_VERSIONS = frozenset(("Invalid HTTP version", "Pause on PRI/Upgrade"))

_lower: BoundedMemo[bytes, bytes] = BoundedMemo(bytes.lower)


class Http1Reader:
    """Reads the requests of one connection.

    :param limits: see :class:`Limits`.
    """

    __slots__ = (
        "_begun",
        "_body_size",
        "_coming",
        "_error",
        "_events",
        "_fields",
        "_in_body",
        "_keep_alive",
        "_limits",
        "_parser",
        "_quiet",
        "_small",
        "_stopped",
        "_target",
        "_upgrading",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._events: list[Event] = []
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._body_size = 0
        self._begun = False
        self._in_body = False
        self._keep_alive = True
        self._upgrading = False
        self._stopped = False
        self._error: PeerError | None = None
        # Bytes read since the last event. The limits are checked once a head is complete; one that
        # never is, or a chunk extension, is held by the parser out of sight of them.
        self._quiet = 0
        # Bytes of the read that is parsed now; and a size that no limit forbids, whatever the head.
        self._coming = 0
        self._small = limits.smallest

    @property
    def mid_head(self) -> bool:
        """Whether a request has begun and its head is not complete yet."""
        return self._begun

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from the peer and return what they complete, in order.

        A broken rule ends the list with a :class:`PeerError`; the reader then ignores all that
        follows, and so it does after a request that said ``Connection: close``.
        """
        if self._stopped:
            return []
        events = self._events = []
        self._coming = len(data)
        rest: bytes | memoryview = data
        while True:
            try:
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = memoryview(rest)[upgrade.args[0] :]
                if self._leaves_http(rest):
                    continue
            except httptools.HttpParserError as error:
                self._stop(error)
            if events:
                self._quiet = 0
            else:
                self._count_quiet(len(data))
            return events

    def close(self) -> None:
        """Read no more; the parser, which refers back to its reader, is let go."""
        self._stopped = True
        self._parser = None

    def _leaves_http(self, rest: memoryview) -> bool:
        """After a request to upgrade: whether ``rest`` is still HTTP and has to be parsed."""
        if self._upgrading:
            self._stopped = True
            self._events.append(Upgraded(bytes(rest)))
            return False
        # An upgrade we do not speak is ignored (RFC 9110 §7.8): the connection stays HTTP. llhttp
        # has left HTTP for good, so a new one takes over.
        self._parser = httptools.HttpRequestParser(self)
        return len(rest) > 0

    def _stop(self, error: httptools.HttpParserError) -> None:
        self._stopped = True
        if self._error is not None:
            # Without its traceback, whose frames hold this reader and the error itself.
            self._events.append(self._error.with_traceback(None))
            self._error = None
        elif self._keep_alive or "Data after `Connection: close`" not in str(error):
            self._events.append(_explain(error))

    def _count_quiet(self, size: int) -> None:
        """After a read that completed nothing: is what we wait for still within the limits?"""
        self._quiet += size
        error = self._too_long()
        if error is not None:
            self._stopped = True
            self._events.append(error)

    def _too_long(self) -> PeerError | None:
        # What the parser holds back: all that came, less what it has handed over.
        held = self._quiet - len(self._target) - sum(len(n) + len(v) + 4 for n, v in self._fields)
        if 0 < self._limits.field_size < held - _SLACK:
            if self._in_body:
                return PeerError(
                    HTTPStatus.BAD_REQUEST, "A chunk extension or trailer is too long."
                )
            return self._field_too_long() if self._target else self._line_too_long()
        return self._line_too_long() if self._line_is_long() else self._check_fields()

    # What follows is called by httptools while it parses. An exception raised here comes back
    # wrapped; self._error keeps the one that matters.

    def on_message_begin(self) -> None:  # noqa: D102
        self._begun = True

    def on_url(self, url: bytes) -> None:  # noqa: D102
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: D102
        self._fields.append((_lower[name], value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:  # noqa: D102
        head = self._make_head()
        self._begun = False
        self._in_body = True
        self._body_size = 0
        self._target = b""
        self._fields = []  # trailers are counted anew
        self._events.append(head)

    def on_body(self, data: bytes) -> None:  # noqa: D102
        limit = self._limits.body
        if limit:
            self._body_size += len(data)
            if self._body_size > limit:
                self._refuse(self._body_too_large())
        self._events.append(data)

    def on_message_complete(self) -> None:  # noqa: D102
        if self._fields:
            self._check_trailers()
        self._in_body = False
        self._events.append(END)

    def _check_trailers(self) -> None:
        error = self._check_fields()
        self._fields = []
        if error is not None:
            self._refuse(error)

    def _refuse(self, error: PeerError) -> NoReturn:
        self._error = error
        raise error

    def _line_is_long(self) -> bool:
        return 0 < self._limits.request_line < len(self._target) + _AROUND_TARGET

    def _check_fields(self) -> PeerError | None:
        """Hold the fields gathered so far to the limits on their number and sizes."""
        limits, fields = self._limits, self._fields
        if 0 < limits.fields < len(fields):
            return PeerError(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"There are more than {limits.fields} header fields (--limit-request-fields).",
            )
        sizes = [len(name) + len(value) for name, value in fields]
        if sizes and 0 < limits.field_size < max(sizes):
            return self._field_too_long()
        if 0 < limits.head < sum(sizes):
            return self._head_too_large()
        return None

    def _head_too_large(self) -> PeerError:
        return PeerError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"The header is larger than {self._limits.head} bytes (--limit-request-head).",
        )

    def _line_too_long(self) -> PeerError:
        return PeerError(
            HTTPStatus.REQUEST_URI_TOO_LONG,
            f"The request line is longer than {self._limits.request_line} bytes"
            " (--limit-request-line).",
        )

    def _field_too_long(self) -> PeerError:
        return PeerError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"A header field is longer than {self._limits.field_size} bytes"
            " (--limit-request-field-size).",
        )

    def _body_too_large(self) -> PeerError:
        return PeerError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body is larger than {self._limits.body} bytes (--limit-request-body).",
        )

    def _make_head(self) -> RequestHead:
        """Turn what the parser has gathered into a checked head."""
        fields = self._fields
        if self._quiet + self._coming > self._small or len(fields) > self._limits.fields > 0:
            self._check_limits()
        parser = self._parser
        method = _METHODS.get(parser.get_method())
        if method is None:
            self._refuse(PeerError(HTTPStatus.NOT_IMPLEMENTED, "The method is not supported."))
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._refuse(_wrong_version())
        keep_alive = self._keep_alive = parser.should_keep_alive()
        target = self._target
        special = [field for field in fields if field[0] in _SPECIAL]
        if (
            len(special) == 1
            and special[0][0] == _HOST
            and _valid_hosts[special[0][1]]
            and target.startswith(b"/")
            and b"#" not in target
        ):
            # Nearly every request: a path, a good host, no body and nothing unusual.
            path, _, query = target.partition(b"?")
            return RequestHead(method, path, query, version, fields, keep_alive)
        head = RequestHead(method, target, b"", version, fields, keep_alive)
        seen = self._by_name(special)
        self._check_host(head, seen.get(_HOST))
        self._split_target(head)
        self._read_framing(head, seen)
        return head

    def _by_name(self, fields: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
        seen: dict[bytes, bytes] = {}
        for name, value in fields:
            if name in _SINGLE and name in seen:
                self._bad(f"The {name.decode()} header is repeated (RFC 9112 §3.2, §6.3).")
            seen[name] = value
        return seen

    def _check_limits(self) -> None:
        """The head is large enough to pass a limit: does it?"""
        error = self._line_too_long() if self._line_is_long() else self._check_fields()
        if error is not None:
            self._refuse(error)

    def _bad(self, message: str) -> NoReturn:
        self._refuse(PeerError(HTTPStatus.BAD_REQUEST, message))

    def _check_host(self, head: RequestHead, host: bytes | None) -> None:
        if host is None:
            if head.http_version == "1.1":
                self._bad("The Host header is missing (RFC 9112 §3.2).")
        elif not _valid_hosts[host]:
            self._bad("The Host header is not a valid host (RFC 9110 §7.2).")

    def _split_target(self, head: RequestHead) -> None:
        """Take the four forms of a request target apart (RFC 9112 §3.2)."""
        target = head.raw_path
        if b"#" in target:
            self._bad("The request target has a fragment (RFC 9112 §3.2).")
        if not target.startswith(b"/"):
            if target == b"*" and head.method == "OPTIONS":
                return
            target = self._absolute_form(head, target)
        head.raw_path, _, head.query_string = target.partition(b"?")

    def _absolute_form(self, head: RequestHead, target: bytes) -> bytes:
        scheme, separator, rest = target.partition(b"://")
        if not separator or scheme.lower() not in (b"http", b"https"):
            self._bad("The request target is not a path or an http URL (RFC 9112 §3.2).")
        end = min((i for i in (rest.find(b"/"), rest.find(b"?")) if i >= 0), default=len(rest))
        authority, path = rest[:end], rest[end:]
        if not authority or not is_valid_host(authority):
            self._bad("The request target names no valid host (RFC 9112 §3.2.2).")
        # RFC 9112 §3.2.2: the target's authority replaces the Host header.
        head.headers = [(n, v) for n, v in head.headers if n != _HOST]
        head.headers.insert(0, (_HOST, authority))
        return path if path.startswith(b"/") else b"/" + path

    def _read_framing(self, head: RequestHead, seen: dict[bytes, bytes]) -> None:
        """Decide how the body ends (RFC 9112 §6.3) and what the client expects."""
        coding, length = seen.get(_CODING), seen.get(_LENGTH)
        if coding is not None:
            self._check_coding(head, coding, length)
            head.content_length = None
        elif length is not None:
            head.content_length = int(length)
            if 0 < self._limits.body < head.content_length:
                self._refuse(self._body_too_large())
        if _EXPECT in seen and head.http_version == "1.1":
            if seen[_EXPECT].lower() != b"100-continue":
                self._refuse(
                    PeerError(HTTPStatus.EXPECTATION_FAILED, "Only 100-continue can be expected.")
                )
            head.expects_continue = head.content_length != 0
        if _UPGRADE in seen and self._parser.should_upgrade():
            self._check_upgrade(head, seen[_UPGRADE])

    def _check_coding(self, head: RequestHead, coding: bytes, length: bytes | None) -> None:
        if length is not None:
            self._bad("Both Content-Length and Transfer-Encoding are given (RFC 9112 §6.3).")
        if head.http_version == "1.0":
            self._bad("HTTP/1.0 has no Transfer-Encoding (RFC 9112 §6.1).")
        if coding.lower() != b"chunked":
            self._refuse(
                PeerError(
                    HTTPStatus.NOT_IMPLEMENTED,
                    "The only transfer coding understood is chunked (RFC 9112 §6.1).",
                )
            )

    def _check_upgrade(self, head: RequestHead, protocol: bytes) -> None:
        if head.content_length != 0:
            # llhttp does not read the body of an upgrade: what follows would be taken for the
            # next request.
            self._bad("A request to upgrade has a body.")
        offers = [offer.strip(b" \t") for offer in protocol.lower().split(b",")]
        if b"websocket" in offers and head.http_version == "1.1":
            head.is_websocket = self._upgrading = True


_valid_hosts: BoundedMemo[bytes, bool] = BoundedMemo(is_valid_host)


def _wrong_version() -> PeerError:
    return PeerError(
        HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "Only HTTP/1.1 and HTTP/1.0 are spoken."
    )


def _explain(error: httptools.HttpParserError) -> PeerError:
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return PeerError(HTTPStatus.BAD_REQUEST, "This is not an HTTP request.")
    reason = str(error).rstrip(".")
    if reason in _OTHER_VERSIONS:
        return _wrong_version()
    return PeerError(HTTPStatus.BAD_REQUEST, f"The request is malformed: {reason}.")
