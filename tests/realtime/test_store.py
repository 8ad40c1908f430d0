"""The store keeps messages for channels without a home, whatever happens to who uses it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from twogate.realtime.store import Busy, Store

from .conftest import ROOT, Clock, descriptors, wait_until


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Store:
    return Store(tmp_path / "store", 100.0, clock)


def test_messages_come_out_in_order_and_once(store: Store) -> None:
    assert store.take("a") == (None, 0)
    for body in (b"1", b"2"):
        assert store.put("a", 60, body, 5)
    assert store.put("b", 60, b"3", 5)
    assert [store.take("a")[0] for _ in range(3)] == [b"1", b"2", None]
    assert store.take("b") == (b"3", 0)


def test_a_full_channel_takes_no_more_until_one_expires(store: Store, clock: Clock) -> None:
    assert store.put("a", 10, b"1", 2)
    assert store.put("a", 60, b"2", 2)
    assert not store.put("a", 60, b"3", 2)
    assert store.put("b", 60, b"4", 2)
    clock.now += 11
    assert store.put("a", 60, b"5", 2)
    assert store.take("a") == (b"2", 1)


def test_groups_have_members_until_they_leave_or_expire(store: Store, clock: Clock) -> None:
    store.leave("g", "a")
    assert not store.has_members
    assert store.members("g") == []
    store.join("g", "a")
    store.join("g", "b")
    store.join("h", "c")
    assert store.has_members
    assert sorted(store.members("g")) == ["a", "b"]
    store.leave("g", "a")
    assert store.members("g") == ["b"]
    clock.now += 60
    store.join("g", "a")
    clock.now += 60
    assert store.members("g") == ["a"]


def test_clear_forgets_everything(store: Store) -> None:
    store.clear()
    assert not store.exists
    store.put("a", 60, b"1", 5)
    store.join("g", "a")
    store.clear()
    assert store.take("a") == (None, 0)
    assert store.members("g") == []


def test_nothing_stays_open_between_calls(store: Store) -> None:
    before = descriptors()
    for _ in range(5):
        store.put("a", 60, b"1", 10)
        store.take("a")
    assert descriptors() == before


def test_a_held_store_is_busy_and_nothing_waits(store: Store, tmp_path: Path) -> None:
    store.put("a", 60, b"1", 5)
    holder = sqlite3.connect(tmp_path / "store", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy):
        store.put("a", 60, b"2", 5)
    with pytest.raises(Busy):
        store.take("a")
    holder.close()
    assert store.take("a") == (b"1", 0)


def test_a_spoilt_file_is_begun_anew(store: Store, tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"spoilt" * 1000)
    with pytest.raises(Busy):
        store.put("a", 60, b"1", 5)
    assert store.put("a", 60, b"1", 5)
    assert store.take("a") == (b"1", 0)


def test_other_errors_are_told(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        Store(tmp_path / "missing" / "store", 100.0).put("a", 60, b"1", 5)


def changed_since(path: Path, before: int) -> bool:
    return path.stat().st_mtime_ns != before


HAMMER = """
import sys
from functools import partial
from pathlib import Path
from twogate.realtime.store import Busy, Store
store = Store(Path(sys.argv[1]), 100.0)
while True:
    try:
        store.put("a", 60, b"x" * 3000, 50)
        store.take("a")
    except Busy:
        pass
"""


def test_killed_at_any_moment_it_serves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = Store(path, 100.0)
    for delay in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", HAMMER, str(path)],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        ) as process:
            wait_until(lambda: store.exists)
            for _ in range(delay):  # a different number of its rounds each time
                before = path.stat().st_mtime_ns
                wait_until(partial(changed_since, path, before))
            process.send_signal(signal.SIGKILL)
        while store.take("a")[0] is not None:
            pass
        assert store.put("a", 60, b"still here", 50)
        assert store.take("a") == (b"still here", 0)
