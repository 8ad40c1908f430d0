"""What was published lately, so that who was away for a moment misses nothing.

One SQLite file for all processes of a project. SQLite gives each message its number inside a write
transaction, so the numbers are in the order in which messages become visible, to every process the
same: a reader that asks for "after 41" and later for "after 57" gets each message once. Any thread;
knows no sockets and no Django.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from twogate.realtime.handle import Handle

__all__ = ["Entry", "News", "Replay", "TopicLog"]

#: Each so many messages, those that are too many or too old are removed.
_PRUNE_EVERY = 64

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


@dataclass(slots=True)
class Entry:
    """One published message.

    :ivar id: its number; later ones have greater numbers, over all topics.
    :ivar data: JSON.
    """

    id: int
    topic: str
    data: str
    _text: str = field(default="", compare=False, repr=False)

    @property
    def text(self) -> str:
        """The message as browsers get it, in JSON; made once for all who share the entry."""
        if not self._text:
            topic = json.dumps(self.topic)
            self._text = f'{{"type":"message","id":{self.id},"topic":{topic},"data":{self.data}}}'
        return self._text


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
        self._writer = Handle(file, _prepare)
        self._reader = Handle(file, _prepare)
        self._written = 0

    def append(self, topic: str, data: str) -> int:
        """Add a message and return its number.

        :raises sqlite3.OperationalError: the file cannot be written, for example on a full disk.
        """
        with self._writer as connection:
            # RETURNING would be a second step, and each lets another thread have the interpreter.
            number = connection.execute(
                "INSERT INTO entry (topic, data, at) VALUES (?, ?, ?)",
                (topic, data, time.time()),
            ).lastrowid
            self._written += 1
            if self._written % _PRUNE_EVERY == 1:
                # The message is there, whatever becomes of the old ones: on a full disk even
                # removing them needs space.
                with contextlib.suppress(sqlite3.Error):
                    self._prune(connection, topic)
        assert number is not None
        return number

    async def prepare(self, topics: Collection[str]) -> None:
        """Nothing to do: the file is at hand."""

    def newest(self) -> int:
        """The number of the newest message ever; before the first one, one less than its own."""
        with self._reader as connection:
            return _newest(connection)

    def position(self) -> int:
        """:meth:`newest`: the file is at hand."""
        return self.newest()

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
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        self._writer.close()
        self._reader.close()


def _prepare(connection: sqlite3.Connection) -> None:
    # Asked first, because making tables waits for who is writing.
    if not _has_tables(connection):
        _make_tables(connection)


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
