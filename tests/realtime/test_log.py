"""The log of topics: order, replay, and what is removed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twogate.realtime.log import Entry, News, Replay, TopicLog


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TopicLog]:
    log = TopicLog(tmp_path / "topics")
    yield log
    log.close()


def test_messages_come_back_in_order(log: TopicLog) -> None:
    numbers = [log.append("a", "1"), log.append("b", "2"), log.append("a", "3")]
    assert numbers == sorted(numbers)
    assert log.after(0).entries == [
        Entry(number, topic, data)
        for number, topic, data in zip(numbers, "aba", "123", strict=True)
    ]
    assert log.after(numbers[1]).entries == [Entry(numbers[2], "a", "3")]
    assert log.newest() == numbers[2]


def test_a_replay_has_its_topics_only(log: TopicLog) -> None:
    first, _, third = log.append("a", "1"), log.append("b", "2"), log.append("a", "3")
    assert log.replay(["a"], first) == Replay([Entry(third, "a", "3")], True, third)
    assert log.replay([], 0) == Replay([], True, third)


def test_an_empty_log(log: TopicLog) -> None:
    before = log.newest()
    assert log.after(0) == News([], {})
    assert log.replay(["a"], 0) == Replay([], True, before)
    assert log.append("a", "1") == before + 1


def test_what_was_removed_is_known_to_be_missing(tmp_path: Path) -> None:
    log = TopicLog(tmp_path / "topics", keep=10)
    first = log.append("a", "first")
    quiet = log.append("quiet", "kept")
    numbers = [log.append("a", str(number)) for number in range(200)]
    replay = log.replay(["a"], first)
    assert not replay.complete
    assert [entry.id for entry in replay.entries] == numbers[-len(replay.entries) :]
    assert 10 <= len(replay.entries) < 10 + 64
    assert log.replay(["a"], replay.entries[0].id).complete
    quiet_too = Replay([Entry(quiet, "quiet", "kept")], True, numbers[-1])
    assert log.replay(["quiet"], 0) == quiet_too
    log.close()


def test_numbers_go_on_when_everything_was_removed(tmp_path: Path) -> None:
    log = TopicLog(tmp_path / "topics", seconds=0)
    numbers = [log.append("a", "x") for _ in range(130)]
    assert numbers == sorted(set(numbers))
    log.close()
    again = TopicLog(tmp_path / "topics")
    assert again.append("a", "y") > numbers[-1]
    again.close()


FULL_DISK = """
import os, resource, sqlite3, sys
from pathlib import Path
from twogate.realtime.log import TopicLog

file = Path(sys.argv[1])
wal = file.with_name(file.name + "-wal")
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
log = TopicLog(file, seconds=0)
log.append("a", "first")
refused = 0
# The place where it is full falls everywhere, also between a message and the removal of old ones.
for extra in range(0, 80_000, 500):
    before, accepted = log.newest(), []
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size + extra, hard))
    for number in range(8):
        log._written = number % 2  # it removes old ones after every other message
        try:
            accepted.append(log.append("a", str(number) * 2000))
        except sqlite3.OperationalError:
            refused += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    reader = TopicLog(file)
    kept = [entry.id for entry in reader.after(before).entries]
    newest = reader.newest()
    reader.close()
    assert newest == max(accepted, default=before), (extra, newest, accepted)
    assert kept == accepted[len(accepted) - len(kept):], (extra, kept, accepted)
    assert log.append("a", "there is space again") > newest
print(refused)
"""


def test_on_a_full_disk_what_was_not_refused_is_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "topics")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_a_log_that_was_made_anew_begins_after_the_one_before(tmp_path: Path) -> None:
    """As after a restart of the machine, which empties /tmp: a browser still has its number."""
    before = TopicLog(tmp_path / "before")
    old = before.append("a", "old")
    before.close()
    log = TopicLog(tmp_path / "after")
    first = log.append("a", "new")
    assert old < first < 2**53  # what JavaScript can hold
    assert log.replay(["a"], old) == Replay([Entry(first, "a", "new")], False, first)
    assert log.replay(["a"], first + 1) == Replay([], False, first)
    assert log.replay(["a"], first) == Replay([], True, first)
    assert log.replay(["a"], 0) == Replay([Entry(first, "a", "new")], True, first)
    log.close()


def test_who_reads_does_not_wait_for_who_waits_to_write(log: TopicLog, tmp_path: Path) -> None:
    number = log.append("a", "1")
    other = sqlite3.connect(tmp_path / "topics", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # as another process would that is in the middle of a write
    writer = threading.Thread(target=log.append, args=("a", "2"))
    writer.start()
    while not log._writer._lock.locked():
        time.sleep(0.001)
    assert log.after(0).entries == [Entry(number, "a", "1")]
    assert log.replay(["a"], 0).entries == [Entry(number, "a", "1")]
    assert log.newest() == number
    assert writer.is_alive()
    other.execute("COMMIT")
    other.close()
    writer.join(15)
    assert [entry.data for entry in log.after(number).entries] == ["2"]


FORK = """
import os, sys
from pathlib import Path
from twogate.realtime.log import TopicLog
log = TopicLog(Path(sys.argv[1]))
log.append("a", "parent")
with log._writer, log._reader:  # as if other threads were at it
    child = os.fork()
    if child == 0:
        log.append("a", "child")
        assert len(log.after(0).entries) == 2
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
log.append("a", "parent")
"""


def test_a_fork_has_connections_of_its_own(log: TopicLog, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORK, str(tmp_path / "topics")]
    subprocess.run(command, check=True, timeout=15)
    assert [entry.data for entry in log.after(0).entries] == ["parent", "child", "parent"]


APPEND = """
import sys
from pathlib import Path
from twogate.realtime.log import TopicLog
log = TopicLog(Path(sys.argv[1]))
for number in range(100):
    log.append("a", f"{sys.argv[2]} {number}")
"""


def test_processes_and_threads_write_at_once(tmp_path: Path) -> None:
    file = tmp_path / "topics"
    log = TopicLog(file)

    def append(name: str) -> None:
        for number in range(100):
            log.append("a", f"{name} {number}")

    threads = [threading.Thread(target=append, args=(f"thread{n}",)) for n in range(2)]
    processes = [
        subprocess.Popen([sys.executable, "-c", APPEND, str(file), f"process{n}"]) for n in range(2)
    ]
    for thread in threads:
        thread.start()
    seen: list[Entry] = []
    while True:
        working = any(thread.is_alive() for thread in threads) or any(
            process.poll() is None for process in processes
        )
        new = log.after(seen[-1].id if seen else 0, most=7).entries
        seen += new
        if not working and not new:
            break
    log.close()
    assert [process.returncode for process in processes] == [0, 0]
    assert len(seen) == 400
    for name in ("process0", "process1", "thread0", "thread1"):
        mine = [entry.data for entry in seen if entry.data.startswith(name)]
        assert mine == [f"{name} {number}" for number in range(100)]


@settings(max_examples=30, deadline=None)
@given(topic=st.text(min_size=1), data=st.text())
def test_any_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory, topic: str, data: str
) -> None:
    log = TopicLog(tmp_path_factory.getbasetemp() / "any")
    if any(0xD800 <= ord(c) <= 0xDFFF for c in topic + data):
        with pytest.raises(UnicodeEncodeError):
            log.append(topic, data)
    else:
        number = log.append(topic, data)
        assert log.after(number - 1).entries[0] == Entry(number, topic, data)
    log.close()
