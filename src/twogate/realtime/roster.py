"""Who is where, on one machine: a table in the runtime folder that outlives every process.

Each process holds a lock on a file of its own, so whoever looks sees which rows belong to nobody
any more, after SIGKILL too. Who leaves stays on the roster for a short grace, in which a browser
may come back, to this process or to another. Any thread; knows no sockets, topics or Django.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sqlite3
import time
import weakref
from collections.abc import Iterable
from pathlib import Path

from twogate.realtime.handle import Handle

__all__ = ["Roster"]

_SUFFIX = ".alive"

# ``gone``: the time after which somebody who has left is no longer here; null while they are.
_TABLES = """
CREATE TABLE IF NOT EXISTS presence (
    id INTEGER PRIMARY KEY,
    ticket TEXT NOT NULL UNIQUE,
    place TEXT NOT NULL,
    member TEXT NOT NULL,
    process TEXT NOT NULL,
    data TEXT NOT NULL,
    gone REAL
);
CREATE INDEX IF NOT EXISTS presence_place ON presence (place, id);
CREATE INDEX IF NOT EXISTS presence_process ON presence (process);
CREATE INDEX IF NOT EXISTS presence_gone ON presence (gone) WHERE gone IS NOT NULL;
"""


class Roster:
    """The roster of one project. Every method takes some dozen microseconds.

    :param file: its folder must exist and be the user's own; locks are held beside it.
    :param grace: seconds for which somebody who left without saying so still counts as here.
    :raises sqlite3.Error: by every method, when the file cannot be read or written.
    """

    def __init__(self, file: Path, grace: float = 3.0) -> None:
        self._file = file
        self._grace = grace
        self._handle = Handle(file, self._prepare)
        self._process = ""
        self._alive = -1
        _rosters.add(self)

    def enter(self, place: str, member: str, data: str) -> str:
        """Somebody is here; returns a ticket to leave with.

        Each tab of a browser has a ticket of its own; all of one member count as one.

        :param member: who it is.
        :param data: what others see of them, JSON.
        """
        ticket = secrets.token_hex(8)
        with self._handle as connection:
            connection.execute(
                "INSERT INTO presence (ticket, place, member, process, data)"
                " VALUES (?, ?, ?, ?, ?)",
                (ticket, place, member, self._join_the_living(), data),
            )
        return ticket

    def leave(self, tickets: Iterable[str], *, at_once: bool = False) -> None:
        """They have left; tickets nobody holds are ignored.

        :param at_once: they said so, and are not expected back within the grace.
        """
        rows = [(ticket,) for ticket in tickets]
        if not rows:
            return
        with self._handle as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany(
                    "UPDATE presence SET gone = ? WHERE ticket = ? AND gone IS NULL",
                    [(0.0 if at_once else time.time() + self._grace, *row) for row in rows],
                )
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:  # a full disk, for example
                    connection.execute("ROLLBACK")

    def here(self, place: str) -> dict[str, str]:
        """Who is here: the data of each member, by member, in the order in which they came."""
        with self._handle as connection:
            rows = connection.execute(
                "SELECT member, data FROM presence"
                " WHERE place = ? AND (gone IS NULL OR gone > ?) ORDER BY id",
                (place, time.time()),
            )
            return dict(rows.fetchall())

    def sweep(self) -> set[str]:
        """Remove who is no longer here, and whose process is gone once the grace is over.

        :return: the places they were in; whoever removes them has to tell the others.
        """
        now = time.time()
        with self._handle as connection:
            for process in self._dead(connection):
                connection.execute(
                    "UPDATE presence SET gone = ? WHERE process = ? AND gone IS NULL",
                    (now + self._grace, process),
                )
                self._lock_file(process).unlink(missing_ok=True)
            # Looked at first, because most of the time there is nothing to write.
            over = "FROM presence WHERE gone <= ?"
            if connection.execute(f"SELECT 1 {over} LIMIT 1", (now,)).fetchone() is None:
                return set()
            rows = connection.execute(f"DELETE {over} RETURNING place", (now,)).fetchall()
        return {place for (place,) in rows}

    def close(self) -> None:
        """Leave everywhere, with grace. The roster is opened again when it is needed."""
        self._handle.close()
        if self._alive >= 0:
            with contextlib.suppress(FileNotFoundError):
                self._lock_file(self._process).unlink()
            os.close(self._alive)
        self._alive, self._process = -1, ""

    # Who lives. While the handle is held.

    def _lock_file(self, process: str) -> Path:
        return self._file.with_name(process + _SUFFIX)

    def _join_the_living(self) -> str:
        """The name of this process, whose lock is held as long as it lives."""
        if not self._process:
            process = f"{os.getpid()}-{secrets.token_hex(4)}"
            path = self._lock_file(process)
            # It gets its name once it is locked, so a young one is never taken for a dead one.
            young = path.with_suffix(".young")
            self._alive = os.open(young, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._alive, fcntl.LOCK_EX)
            young.rename(path)
            self._process = process
        return self._process

    def _dead(self, connection: sqlite3.Connection) -> list[str]:
        """Processes that are on the roster and do not live."""
        rows = connection.execute("SELECT DISTINCT process FROM presence WHERE gone IS NULL")
        return [
            process
            for (process,) in rows.fetchall()
            if process != self._process and not _is_locked(self._lock_file(process))
        ]

    def _prepare(self, connection: sqlite3.Connection) -> None:
        for path in self._file.parent.glob(f"*{_SUFFIX}"):
            if path != self._lock_file(self._process) and not _is_locked(path):
                path.unlink(missing_ok=True)
        connection.executescript(_TABLES)

    def _leave_to_parent(self) -> None:
        """After a fork, in the child: who is on the roster is the parent's."""
        if self._alive >= 0:
            os.close(self._alive)  # the lock is the parent's as long as it has it open
        self._alive, self._process = -1, ""


def _is_locked(path: Path) -> bool:
    """Whether the process of a lock file lives."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


_rosters: weakref.WeakSet[Roster] = weakref.WeakSet()


def _after_fork() -> None:
    for roster in list(_rosters):
        roster._leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)
