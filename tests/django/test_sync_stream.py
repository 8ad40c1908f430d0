"""A sync stream that is read on a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from twogate.django.sync_stream import from_thread


def test_pieces_come_in_order_from_a_thread() -> None:
    threads = set()

    def pieces() -> Iterator[bytes]:
        for number in range(100):
            threads.add(threading.current_thread())
            yield b"%d" % number

    async def main() -> list[bytes]:
        return [piece async for piece in from_thread(pieces())]

    assert asyncio.run(main()) == [b"%d" % number for number in range(100)]
    assert threading.main_thread() not in threads


def test_a_piece_is_there_before_the_next_is_made() -> None:
    seen = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield b"first"
        assert seen.wait(10)
        yield b"second"

    async def main() -> list[bytes]:
        got = []
        async for piece in from_thread(pieces()):
            got.append(piece)
            seen.set()
        return got

    assert asyncio.run(main()) == [b"first", b"second"]


def test_what_making_them_raises_comes_through_behind_them() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"first"
        raise ValueError("wrong")

    async def main() -> None:
        stream = from_thread(pieces())
        assert await anext(stream) == b"first"
        with pytest.raises(ValueError, match="wrong"):
            await anext(stream)

    asyncio.run(main())
