"""A connection that threads share, and that a child of a fork does not."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from twogate.realtime.handle import Handle

#: Threads that open the same file at the same moment.
PARTIES = 8


def make(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS number (value INTEGER)")


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[Handle]:
    handle = Handle(tmp_path / "file", make)
    yield handle
    handle.close()


def add(handle: Handle) -> None:
    with handle as connection:
        connection.execute("INSERT INTO number VALUES (1)")


def count(handle: Handle) -> int:
    with handle as connection:
        return int(connection.execute("SELECT count(*) FROM number").fetchone()[0])


def test_all_threads_have_the_same_one(handle: Handle) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: add(handle), range(200)))
    assert count(handle) == 200


def test_it_is_opened_again_when_it_is_needed(handle: Handle) -> None:
    add(handle)
    handle.close()
    handle.close()
    assert count(handle) == 1


def test_one_that_cannot_be_prepared_holds_nobody_up(tmp_path: Path) -> None:
    handle = Handle(tmp_path / "no-such-folder" / "file", make)
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError):
            add(handle)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_has_a_connection_of_its_own(handle: Handle) -> None:
    with handle:  # as if another thread were at it
        child = os.fork()
        if child == 0:
            try:
                add(handle)
                os._exit(0)
            finally:
                os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert count(handle) == 1


def test_many_may_be_the_first_at_once(tmp_path: Path) -> None:
    """SQLite refuses the second of two that switch a new file to write-ahead logging, at once."""

    def connect(number: int) -> None:
        barrier.wait(15)
        handle = Handle(tmp_path / f"{number // PARTIES}.sqlite3", lambda connection: None)
        with handle as connection:
            connection.execute("SELECT 1")
        handle.close()

    barrier = threading.Barrier(PARTIES)
    with ThreadPoolExecutor(PARTIES) as pool:
        list(pool.map(connect, range(PARTIES * 100)))
