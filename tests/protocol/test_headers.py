"""Rules for header names and values."""

from __future__ import annotations

import pytest

from twogate.protocol.headers import FORBIDDEN_IN_VALUE, TOKEN, BoundedMemo, is_valid_host


@pytest.mark.parametrize(
    "host",
    [b"", b"a", b"a.test:80", b"a.test:", b"127.0.0.1", b"[::1]", b"[::1]:80", b"a_b.test", b"%41"],
)
def test_valid_hosts(host: bytes) -> None:
    assert is_valid_host(host)


@pytest.mark.parametrize(
    "host",
    [b"a b", b"a/b", b"u@a", b"a:b", b"[::1", b"::1", b"%4", b"a\n", b"\xe9", b"a:1:2"],
)
def test_invalid_hosts(host: bytes) -> None:
    assert not is_valid_host(host)


def test_tokens_and_values() -> None:
    assert TOKEN.fullmatch(b"X-Some_Thing")
    assert not TOKEN.fullmatch(b"X:")
    assert [b for b in range(256) if FORBIDDEN_IN_VALUE.match(bytes([b]))] == [
        *range(9),
        *range(10, 32),
        127,
    ]


def test_a_memo_is_bounded() -> None:
    computed: list[int] = []

    def double(key: int) -> int:
        computed.append(key)
        return 2 * key

    memo = BoundedMemo(double, limit=2)
    assert [memo[key] for key in (1, 2, 3, 1, 2, 3)] == [2, 4, 6, 2, 4, 6]
    assert computed == [1, 2, 3, 3]
    assert len(memo) == 2
