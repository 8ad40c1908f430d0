"""What was published lately, so that who was away for a moment misses nothing.

One SQLite file for all processes of a project. SQLite gives each message its number inside a write
transaction, so the numbers are in the order in which messages become visible, to every process the
same: a reader that asks for "after 41" and later for "after 57" gets each message once. Any thread;
knows no sockets and no Django.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Entry", "Replay", "TopicLog"]

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
class Replay:
    """What came after a point in time.

    :ivar entries: in order.
    :ivar complete: false when some of what came has been removed already.
    """

    entries: list[Entry]
    complete: bool


class TopicLog:
    """The messages of all topics, as many and as old as are kept.

    :param file: its folder must exist and be the user's own.
    :param keep: messages per topic.
    :param seconds: how long each is kept at most.
    """

    def __init__(self, file: Path, keep: int = 1000, seconds: float = 600.0) -> None:
        self._file = file
        self._keep = keep
        self._seconds = seconds
        # One connection for all threads: a call takes some microseconds, and thread-locals are what
        # leased threads are emptied of.
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._process = 0
        self._written = 0

    def append(self, topic: str, data: str) -> int:
        """Add a message and return its number.

        :raises sqlite3.OperationalError: the file cannot be written, for example on a full disk.
        """
        with self._lock:
            connection = self._open()
            row = connection.execute(
                "INSERT INTO entry (topic, data, at) VALUES (?, ?, ?) RETURNING id",
                (topic, data, time.time()),
            ).fetchone()
            self._written += 1
            if self._written % _PRUNE_EVERY == 1:
                # The message is there, whatever becomes of the old ones: on a full disk even
                # removing them needs space.
                with contextlib.suppress(sqlite3.Error):
                    self._prune(connection, topic)
        return int(row[0])

    def newest(self) -> int:
        """The number of the newest message ever; 0 when there was none."""
        with self._lock:
            row = (
                self._open()
                .execute("SELECT seq FROM sqlite_sequence WHERE name = 'entry'")
                .fetchone()
            )
        return int(row[0]) if row else 0

    def after(self, number: int, most: int = 1000) -> list[Entry]:
        """The messages of all topics after a number, oldest first, ``most`` at a time."""
        statement = "SELECT id, topic, data FROM entry WHERE id > ? ORDER BY id LIMIT ?"
        with self._lock:
            rows = self._open().execute(statement, (number, most)).fetchall()
        return [Entry(*row) for row in rows]

    def forgotten_after(self, number: int) -> list[str]:
        """The topics of which a message after a number has been removed."""
        statement = "SELECT topic FROM forgotten WHERE id > ?"
        with self._lock:
            rows = self._open().execute(statement, (number,)).fetchall()
        return [row[0] for row in rows]

    def replay(self, topics: Collection[str], number: int) -> Replay:
        """What came to some topics after a number, as far as it is kept."""
        marks = ",".join("?" * len(topics))
        with self._lock:
            connection = self._open()
            # One look for both questions: a message must not be removed between them.
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
            finally:
                connection.execute("COMMIT")
        return Replay([Entry(*row) for row in rows], lost is None)

    def _prune(self, connection: sqlite3.Connection, topic: str) -> None:
        """Remove what is too much in one topic and too old in all, and note how far that goes."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            row = connection.execute(
                "SELECT id FROM entry WHERE topic = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
                (topic, self._keep),
            ).fetchone()
            if row is not None:
                self._forget(connection, "topic = ? AND id <= ?", (topic, row[0]))
            self._forget(connection, "at < ?", (time.time() - self._seconds,))
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _forget(
        self, connection: sqlite3.Connection, which: str, values: tuple[object, ...]
    ) -> None:
        connection.execute(
            "INSERT INTO forgotten (topic, id)"  # noqa: S608 - the conditions are ours
            f" SELECT topic, max(id) FROM entry WHERE {which} GROUP BY topic"
            " ON CONFLICT (topic) DO UPDATE SET id = max(id, excluded.id)",
            values,
        )
        connection.execute(f"DELETE FROM entry WHERE {which}", values)  # noqa: S608

    def _open(self) -> sqlite3.Connection:
        """The connection of this process; one from before a fork must not be used."""
        if self._connection is None or self._process != os.getpid():
            self._connection, self._process = self._connect(), os.getpid()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._file,
            timeout=_PATIENCE / 1000,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute(f"PRAGMA busy_timeout = {_PATIENCE}")
            connection.execute("PRAGMA journal_mode = WAL")
            # What a crash of the machine loses would be too old to be wanted when it is up again.
            connection.execute("PRAGMA synchronous = OFF")
            connection.executescript(_TABLES)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None
