"""Rules for header names and values that both the reader and the writer obey."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["FORBIDDEN_IN_VALUE", "TOKEN", "BoundedMemo", "is_valid_host"]

# RFC 9110 §5.6.2: token = 1*tchar
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

# RFC 9110 §5.5: a value holds visible characters, spaces, tabs and obs-text; CR, LF and NUL are
# the dangerous ones, and the other control characters are invalid too.
FORBIDDEN_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

# RFC 9110 §7.2: Host = uri-host [ ":" port ], RFC 3986 §3.2.2: reg-name, IPv4address, IP-literal.
_HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+\]|\[v[0-9A-Fa-f]+\.[!$&'()*+,;=\-._~:0-9A-Za-z]+\]"
    rb"|(?:[!$&'()*+,;=\-._~0-9A-Za-z]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?"
)


def is_valid_host(value: bytes) -> bool:
    """Whether ``value`` may stand in a ``Host`` header (RFC 9110 §7.2)."""
    return _HOST.fullmatch(value) is not None


_K = TypeVar("_K")
_V = TypeVar("_V")


class BoundedMemo(dict[_K, _V], Generic[_K, _V]):
    """A dictionary that computes missing values and stops remembering when it is full.

    Header names are few in practice and chosen by strangers in an attack: the first case wants a
    lookup, the second a bound.

    :param compute: the value of a key.
    :param limit: how many entries are kept.
    """

    def __init__(self, compute: Callable[[_K], _V], limit: int = 512) -> None:
        super().__init__()
        self._compute = compute
        self._limit = limit

    def __missing__(self, key: _K) -> _V:
        value = self._compute(key)
        if len(self) < self._limit:
            self[key] = value
        return value
