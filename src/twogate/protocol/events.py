"""The vocabulary of the protocol room: what a reader says it has read.

A reader turns bytes into a list of these events: a :class:`RequestHead`, then any number of
``bytes`` (pieces of the body), then :data:`END`; an :class:`Upgraded` once the client has switched
protocols; and a :class:`~twogate.errors.PeerError` as the last event when a rule was broken.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeAlias
from urllib.parse import unquote_to_bytes

from twogate.errors import PeerError

__all__ = ["END", "EndOfBody", "Event", "RequestHead", "Upgraded"]


class EndOfBody(Enum):
    """The request is complete."""

    END = "end"


END: Literal[EndOfBody.END] = EndOfBody.END


def _percent_encode_invalid(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    invalid = error.object[error.start : error.end]
    return "".join(f"%{byte:02X}" for byte in invalid), error.end


# Bytes that are not UTF-8 stay percent-encoded in the decoded path, as Django's WSGI handler leaves
# them, so that a path reads the same through both gateways.
codecs.register_error("twogate.percent", _percent_encode_invalid)


@dataclass(slots=True)
class RequestHead:
    """The request line and headers of one request, checked.

    :ivar method: upper case, for example ``"GET"``.
    :ivar raw_path: the path of the target, percent-encoded as it was sent; ``b"*"`` for
        ``OPTIONS *``.
    :ivar query_string: what follows the ``?``, without it; ``b""`` when there is none.
    :ivar http_version: ``"1.0"`` or ``"1.1"``.
    :ivar headers: (lower-case name, value) in the order they came; repeated names stay apart.
    :ivar keep_alive: whether the connection may carry another request (RFC 9112 §9.3).
    :ivar content_length: length of the body in bytes; ``None`` when ``chunked``; 0 when there is no
        body.
    :ivar expects_continue: the client waits for ``100 Continue`` before it sends the body
        (RFC 9110 §10.1.1).
    :ivar is_websocket: the request asks to switch to WebSocket (RFC 6455 §4.2.1).
    """

    method: str
    raw_path: bytes
    query_string: bytes
    http_version: str
    headers: list[tuple[bytes, bytes]]
    keep_alive: bool = True
    content_length: int | None = 0
    expects_continue: bool = False
    is_websocket: bool = False

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks (RFC 9112 §7.1)."""
        return self.content_length is None

    @property
    def path_bytes(self) -> bytes:
        """The path, percent-decoded."""
        return unquote_to_bytes(self.raw_path) if b"%" in self.raw_path else self.raw_path

    @property
    def path(self) -> str:
        """The path, percent-decoded and decoded from UTF-8."""
        return self.path_bytes.decode("utf-8", "twogate.percent")

    def header(self, name: bytes) -> bytes | None:
        """The first value of the header ``name`` (lower case), or ``None``."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


@dataclass(slots=True)
class Upgraded:
    """The connection left HTTP after the last head; ``rest`` came after it in the same read."""

    rest: bytes


Event: TypeAlias = RequestHead | bytes | Literal[EndOfBody.END] | Upgraded | PeerError
