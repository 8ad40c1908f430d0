"""The request head: one path, as each gateway wants it."""

from __future__ import annotations

import pytest

from twogate.protocol.events import RequestHead


@pytest.mark.parametrize(
    ("raw", "decoded", "text"),
    [
        (b"/plain", b"/plain", "/plain"),
        (b"/a%20b%2Fc", b"/a b/c", "/a b/c"),
        (b"/caf%C3%A9", "/café".encode(), "/café"),
        (b"/caf%E9", b"/caf\xe9", "/caf%E9"),
        (b"/%zz%", b"/%zz%", "/%zz%"),
        (b"/%00", b"/\0", "/\0"),
    ],
)
def test_paths(raw: bytes, decoded: bytes, text: str) -> None:
    head = RequestHead("GET", raw, b"", "1.1", [])
    assert (head.path_bytes, head.path) == (decoded, text)


def test_headers_are_found_by_name() -> None:
    head = RequestHead("GET", b"/", b"", "1.1", [(b"a", b"1"), (b"a", b"2")], content_length=None)
    assert head.header(b"a") == b"1"
    assert head.header(b"b") is None
    assert head.chunked
