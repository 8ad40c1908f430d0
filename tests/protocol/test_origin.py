"""Origins, bytes to values: what browsers send, and whatever else strangers make up."""

from __future__ import annotations

import string
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twogate.config import Config, origins
from twogate.protocol.origin import MALFORMED, Origin, origin_of, parse_origin

LETTERS = string.ascii_letters + string.digits
SCHEMES = st.sampled_from(["http", "https", "chrome-extension", "WSS", "a+b.c"])
NAMES = st.lists(st.text(LETTERS + "-_", min_size=1, max_size=8), min_size=1, max_size=4).map(
    ".".join
)
ADDRESSES = st.ip_addresses().map(lambda ip: f"[{ip}]" if ip.version == 6 else str(ip))
HOSTS = NAMES | ADDRESSES
PORTS = st.integers(0, 65535).map(str) | st.just("")


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://example.com", Origin("https", "example.com")),
        ("https://example.com:443", Origin("https", "example.com")),
        ("http://example.com:443", Origin("http", "example.com", "443")),
        ("HTTP://Example.COM:8000", Origin("http", "example.com", "8000")),
        ("http://[::1]:80", Origin("http", "[::1]")),
        ("chrome-extension://abcdef", Origin("chrome-extension", "abcdef")),
    ],
)
def test_what_browsers_send(text: str, origin: Origin) -> None:
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "example.com",
        "https://",
        "https://a b",
        "https://example.com/",
        "https://example.com?",
        "https://user@example.com",
        "https://example.com:",
        "https://example.com:port",
        "https://example.com:123456",
        "https://a.example https://b.example",
        "https://evil.example\\@good.example",
        "https://good.example#evil.example",
        "https://[::1",
        "file://",
        " https://example.com",
        "https://ex\u00e4mple.com",
    ],
)
def test_what_is_no_origin(text: str) -> None:
    assert parse_origin(text) is MALFORMED


@given(SCHEMES, HOSTS, PORTS)
def test_an_origin_reads_as_a_url_does(scheme: str, host: str, port: str) -> None:
    text = f"{scheme}://{host}{port and ':' + port}"
    found, url = parse_origin(text), urlsplit(text)
    assert found.scheme == url.scheme
    assert found.host.strip("[]") == url.hostname
    assert int(found.port or url.port or 0) == (url.port or 0)
    assert parse_origin(str(found)) == found


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode()))
def test_anything_is_read_and_what_is_taken_is_all_of_it(value: bytes) -> None:
    found = origin_of([(b"origin", value)])
    assert found is not None
    if found is not MALFORMED:
        # Nothing was cut off that a browser would have read otherwise.
        assert not set(str(found).partition("://")[2]) & set("/?#@\\ \t\r\n")
        assert parse_origin(value.decode("latin-1")) == found


@given(SCHEMES, HOSTS, PORTS)
def test_every_origin_the_option_takes_is_one(scheme: str, host: str, port: str) -> None:
    text = f"{scheme}://{host}{port and ':' + port}"
    try:
        listed = origins(text)
    except ValueError:
        return
    assert parse_origin(listed[0]) is not MALFORMED


def test_the_words_of_the_option_are_no_origins() -> None:
    assert parse_origin("any") is parse_origin(Config().websocket_origins[0]) is MALFORMED


def test_no_header_is_no_origin_and_two_are_none_that_can_be_trusted() -> None:
    good = (b"origin", b"https://good.example")
    assert origin_of([(b"host", b"good.example")]) is None
    assert origin_of([good]) == Origin("https", "good.example")
    assert origin_of([good, good]) is MALFORMED
