"""What was published lately, so that who was away for a moment misses nothing.

One SQLite file for all processes of a project. SQLite gives each message its number inside a write
transaction, so the numbers are in the order in which messages become visible, to every process the
same: a reader that asks for "after 41" and later for "after 57" gets each message once. Any thread;
knows no sockets and no Django.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Entry", "News", "Replay", "TopicLog"]

#: Each so many messages, those that are too many or too old are removed.
_PRUNE_EVERY = 64
#: Milliseconds to wait for another process that is writing.
_PATIENCE = 5000

_TABLES = """
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    data TEXT NOT NULL,
    at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS entry_topic ON entry (topic, id);
CREATE TABLE IF NOT EXISTS forgotten (topic TEXT PRIMARY KEY, id INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS seed (id INTEGER NOT NULL);
"""


@dataclass(slots=True, frozen=True)
class Entry:
    """One published message.

    :ivar id: its number; later ones have greater numbers, over all topics.
    :ivar data: JSON.
    """

    id: int
    topic: str
    data: str


@dataclass(slots=True, frozen=True)
class News:
    """What came to all topics after a message, at one moment.

    :ivar entries: in order.
    :ivar forgotten: topics of which messages have been removed, and the number of the last of them.
    """

    entries: list[Entry]
    forgotten: dict[str, int]


@dataclass(slots=True, frozen=True)
class Replay:
    """What came to some topics after a message, at one moment.

    :ivar entries: in order.
    :ivar complete: false when some of what came has been removed already, or cannot be known: the
        number is of another log, of before the machine was started again, for example.
    :ivar newest: as :meth:`TopicLog.newest` at that moment.
    """

    entries: list[Entry]
    complete: bool
    newest: int


class TopicLog:
    """The messages of all topics, as many and as old as are kept.

    :param file: its folder must exist and be the user's own.
    :param keep: messages per topic.
    :param seconds: how long each is kept at most.
    """

    def __init__(self, file: Path, keep: int = 1000, seconds: float = 600.0) -> None:
        self._keep = keep
        self._seconds = seconds
        # Who reads never waits for who writes, and that one may wait for another process.
        self._writer = _Handle(file)
        self._reader = _Handle(file)
        self._written = 0
        _logs.add(self)

    def append(self, topic: str, data: str) -> int:
        """Add a message and return its number.

        :raises sqlite3.OperationalError: the file cannot be written, for example on a full disk.
        """
        with self._writer as connection:
            row = connection.execute(
                "INSERT INTO entry (topic, data, at) VALUES (?, ?, ?) RETURNING id",
                (topic, data, time.time()),
            ).fetchone()
            self._written += 1
            if self._written % _PRUNE_EVERY == 1:
                self._prune(connection, topic)
        return int(row[0])

    def newest(self) -> int:
        """The number of the newest message ever; before the first one, one less than its own."""
        with self._reader as connection:
            return _newest(connection)

    def after(self, number: int, most: int = 1000) -> News:
        """What came to all topics after a number, oldest first, ``most`` at a time."""
        with self._reader as connection:
            connection.execute("BEGIN")
            try:
                rows = connection.execute(
                    "SELECT id, topic, data FROM entry WHERE id > ? ORDER BY id LIMIT ?",
                    (number, most),
                ).fetchall()
                forgotten = connection.execute(
                    "SELECT topic, id FROM forgotten WHERE id > ?", (number,)
                ).fetchall()
            finally:
                connection.execute("COMMIT")
        return News([Entry(*row) for row in rows], dict(forgotten))

    def replay(self, topics: Collection[str], number: int) -> Replay:
        """What came to some topics after a number, as far as it is kept; 0 asks for all of it."""
        marks = ",".join("?" * len(topics))
        with self._reader as connection:
            # One look for all questions: a message must not be removed between them.
            connection.execute("BEGIN")
            try:
                rows = connection.execute(
                    "SELECT id, topic, data FROM entry"  # noqa: S608 - question marks only
                    f" WHERE topic IN ({marks}) AND id > ? ORDER BY id",
                    (*topics, number),
                ).fetchall()
                lost = connection.execute(
                    f"SELECT 1 FROM forgotten WHERE topic IN ({marks}) AND id > ?",  # noqa: S608
                    (*topics, number),
                ).fetchone()
                (seed,) = connection.execute("SELECT id FROM seed").fetchone()
                newest = _newest(connection)
            finally:
                connection.execute("COMMIT")
        ours = number == 0 or seed <= number <= newest
        return Replay([Entry(*row) for row in rows], ours and lost is None, newest)

    def _prune(self, connection: sqlite3.Connection, topic: str) -> None:
        """Remove what is too much in one topic and too old in all, and note how far that goes."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            row = connection.execute(
                "SELECT id FROM entry WHERE topic = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
                (topic, self._keep),
            ).fetchone()
            if row is not None:
                _forget(connection, "topic = ? AND id <= ?", (topic, row[0]))
            _forget(connection, "at < ?", (time.time() - self._seconds,))
        finally:
            connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        self._writer.close()
        self._reader.close()

    def _leave_to_parent(self) -> None:
        """After a fork, in the child: it needs connections of its own."""
        self._writer.leave_to_parent()
        self._reader.leave_to_parent()


class _Handle:
    """A connection for one thread at a time: ``with handle as connection:``.

    One for all threads, since a call takes some microseconds, and thread-locals are what leased
    threads are emptied of.
    """

    __slots__ = ("_connection", "_file", "_inherited", "_lock")

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inherited: list[sqlite3.Connection] = []

    def __enter__(self) -> sqlite3.Connection:
        self._lock.acquire()
        try:
            if self._connection is None:
                self._connection = _connect(self._file)
            return self._connection
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def close(self) -> None:
        """Close it, if it is open."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def leave_to_parent(self) -> None:
        """After a fork, in the child. A connection of the parent may not even be closed here
        (SQLite, "How To Corrupt", 2.6), so it is kept."""
        self._lock = threading.Lock()
        connection, self._connection = self._connection, None
        if connection is not None:
            self._inherited.append(connection)


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        file, timeout=_PATIENCE / 1000, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # What a crash of the machine loses would be too old to be wanted when it is up again.
        connection.execute("PRAGMA synchronous = OFF")
        # Asked first, because making tables waits for who is writing.
        if not _has_tables(connection):
            _make_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _has_tables(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'seed'").fetchone()
    return found is not None


def _make_tables(connection: sqlite3.Connection) -> None:
    """Numbers begin with the time in microseconds: those of a log that was here before, which a
    browser may still hold, are smaller. JavaScript has such integers until the year 2255."""
    with connection:  # commits, or rolls back
        connection.execute("BEGIN IMMEDIATE")
        if _has_tables(connection):  # somebody was quicker
            return
        seed = time.time_ns() // 1000
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        connection.execute("INSERT INTO seed (id) VALUES (?)", (seed,))
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'entry'")
        connection.execute("INSERT INTO sqlite_sequence VALUES ('entry', ?)", (seed,))


def _newest(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entry'").fetchone()
    return int(row[0])


def _forget(connection: sqlite3.Connection, which: str, values: tuple[object, ...]) -> None:
    connection.execute(
        "INSERT INTO forgotten (topic, id)"  # noqa: S608 - the conditions are ours
        f" SELECT topic, max(id) FROM entry WHERE {which} GROUP BY topic"
        " ON CONFLICT (topic) DO UPDATE SET id = max(id, excluded.id)",
        values,
    )
    connection.execute(f"DELETE FROM entry WHERE {which}", values)  # noqa: S608


_logs: weakref.WeakSet[TopicLog] = weakref.WeakSet()


def _after_fork() -> None:
    for log in list(_logs):
        log._leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)
