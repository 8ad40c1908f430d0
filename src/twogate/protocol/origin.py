"""The Origin of a handshake, bytes to a value (RFC 6454 §6.1 and §7, RFC 6455 §10.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["MALFORMED", "Origin", "origin_of", "parse_origin"]

_ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://"
    r"(\[[0-9a-f:.]+\]|[a-z0-9_~!$&'()*+,;=%.-]+)"
    r"(?::([0-9]{1,5}))?"
)
_DEFAULT_PORTS = {"http": "80", "ws": "80", "https": "443", "wss": "443"}


@dataclass(slots=True, frozen=True)
class Origin:
    """Where a page came from.

    :ivar scheme: lower case, for example ``"https"``; empty for an origin that cannot be read.
    :ivar host: lower case, an IPv6 address in brackets; empty for an opaque origin.
    :ivar port: ``""`` for the scheme's own.
    """

    scheme: str
    host: str
    port: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}{self.port and ':' + self.port}"


#: What stands for ``null``, for what is no origin and for more than one: none of them is allowed.
MALFORMED = Origin("", "")


def parse_origin(text: str) -> Origin:
    """An origin as browsers and people write it; :data:`MALFORMED` for what is none."""
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        return MALFORMED
    scheme, host, port = match.groups(default="")
    port = port.lstrip("0") or port
    return Origin(scheme, host, "" if port == _DEFAULT_PORTS.get(scheme) else port)


def origin_of(headers: Iterable[tuple[bytes, bytes]]) -> Origin | None:
    """The origin of a request.

    :param headers: (lower-case name, value).
    :return: ``None`` without the header: every browser sends it, so this is none.
    """
    found = [value for name, value in headers if name == b"origin"]
    if not found:
        return None
    return parse_origin(found[0].decode("latin-1")) if len(found) == 1 else MALFORMED
