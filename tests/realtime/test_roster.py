"""Who is here: one machine, several processes, and some of them killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.http import eventually

from twogate.realtime.roster import Roster

SOURCE = Path(__file__).parents[2] / "src"
GUEST = """
import sys, time
from pathlib import Path
from twogate.realtime.roster import Roster
roster = Roster(Path(sys.argv[1]), grace=float(sys.argv[2]))
roster.enter("hall", "guest", '"Guest"')
print("here", flush=True)
time.sleep(600)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "roster.sqlite3"


@pytest.fixture
def roster(file: Path) -> Iterator[Roster]:
    roster = Roster(file, grace=0)
    yield roster
    roster.close()


@pytest.fixture
def guest(file: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that is in the hall."""
    with subprocess.Popen(
        [sys.executable, "-c", GUEST, str(file), "0"],
        env={**os.environ, "PYTHONPATH": str(SOURCE)}, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        yield process
        process.kill()


def test_several_tabs_of_one_member_count_once(roster: Roster) -> None:
    first = roster.enter("hall", "ada", '{"name":"Ada"}')
    second = roster.enter("hall", "ada", '{"name":"Ada"}')
    roster.enter("hall", "bob", "1")
    roster.enter("garden", "eve", "2")
    assert roster.here("hall") == {"ada": '{"name":"Ada"}', "bob": "1"}
    roster.leave([first], at_once=True)
    assert roster.sweep() == {"hall"}
    assert set(roster.here("hall")) == {"ada", "bob"}
    roster.leave([second, "nobody's"])
    assert roster.sweep() == {"hall"}
    assert set(roster.here("hall")) == {"bob"}
    assert roster.sweep() == set()


def test_who_comes_back_within_the_grace_never_left(file: Path) -> None:
    here, there = Roster(file, grace=60), Roster(file, grace=60)
    try:
        ticket = here.enter("hall", "ada", "1")
        here.leave([ticket])
        assert here.sweep() == there.sweep() == set()
        assert there.here("hall") == {"ada": "1"}
        again = there.enter("hall", "ada", "1")
        there.leave([again], at_once=True)
        assert there.sweep() == {"hall"}
        assert there.here("hall") == {"ada": "1"}  # still of the first ticket
    finally:
        here.close()
        there.close()


def test_who_was_killed_is_noticed_by_whoever_looks(
    roster: Roster, guest: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert roster.sweep() == set()
    assert roster.here("hall") == {"guest": '"Guest"'}
    guest.send_signal(signal.SIGSTOP)  # slow is not dead
    assert roster.sweep() == set()
    guest.kill()
    guest.wait(15)
    eventually(lambda: roster.sweep() == {"hall"})
    assert roster.here("hall") == {}
    assert list(tmp_path.glob("*.alive")) == []


def test_who_was_killed_has_its_grace(file: Path, guest: subprocess.Popen[str]) -> None:
    roster = Roster(file, grace=60)
    guest.kill()
    guest.wait(15)
    assert roster.sweep() == set()
    assert roster.here("hall") == {"guest": '"Guest"'}
    roster.close()


def test_after_a_full_disk_it_goes_on(roster: Roster) -> None:
    ticket = roster.enter("hall", "ada", "1")
    with roster._handle as connection:
        connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        for number in range(1000):
            roster.enter("hall", f"{number}", f'"{"x" * 500}"')
    roster.leave([ticket], at_once=True)
    with roster._handle as connection:
        assert not connection.in_transaction
        connection.execute("PRAGMA max_page_count = 100000")
    assert roster.sweep() == {"hall"}
    roster.enter("hall", "bob", "2")
    here = roster.here("hall")
    assert "bob" in here
    assert "ada" not in here


def test_a_roster_that_closes_has_left(file: Path, roster: Roster) -> None:
    other = Roster(file)
    other.enter("hall", "ada", "1")
    other.close()
    assert roster.sweep() == {"hall"}
    assert roster.here("hall") == {}


def test_lock_files_of_the_dead_are_removed_by_the_next_to_come(
    file: Path, tmp_path: Path, guest: subprocess.Popen[str]
) -> None:
    (tmp_path / "1-dead.alive").touch()
    roster = Roster(file)
    roster.enter("hall", "ada", "1")
    assert not (tmp_path / "1-dead.alive").exists()
    assert len(list(tmp_path.glob("*.alive"))) == 2
    roster.close()


def _child(roster: Roster, ask: object) -> None:
    os._exit(0 if set(roster.here("hall")) == {"ada"} and roster.sweep() == set() else 1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_of_a_fork_is_nobody(roster: Roster) -> None:
    roster.enter("hall", "ada", "1")
    child = multiprocessing.get_context("fork").Process(target=_child, args=(roster, None))
    child.start()
    child.join(15)
    assert child.exitcode == 0
    assert roster.sweep() == set()
    assert roster.here("hall") == {"ada": "1"}
