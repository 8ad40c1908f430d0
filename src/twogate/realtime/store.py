"""Where messages wait for channels that belong to no process, in a SQLite file.

Whichever process receives from such a channel first takes the message. Each call opens the file and
closes it: between calls there is nothing to leak, to carry over a fork, or to lock others out. Any
thread.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["Busy", "Store"]

#: Both are of use only to processes of one machine and of today: nothing is synced to the disk.
#: The journal is what a process that is killed half-way is mended by.
_PRAGMAS = "PRAGMA synchronous = OFF; PRAGMA journal_mode = PERSIST;"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    deadline REAL NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS message_by_channel ON message (channel, id);
CREATE TABLE IF NOT EXISTS member (
    "group" TEXT NOT NULL,
    channel TEXT NOT NULL,
    since REAL NOT NULL,
    PRIMARY KEY ("group", channel)
) WITHOUT ROWID;
"""

_HELD = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_SPOILT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Busy(Exception):
    """Another process is writing: try again."""


class Store:
    """Messages of channels without a home, and the groups that such channels are members of.

    Methods never wait: they raise :class:`Busy` when another process holds the file, and
    :class:`sqlite3.OperationalError` when the disk is full or broken.

    :param path: the file; it is made when something is written.
    :param group_expiry: seconds after which a membership ends that nobody renewed.
    :param clock: seconds; not :func:`time.monotonic`, because the file may survive a restart of the
        machine.
    """

    def __init__(
        self, path: Path, group_expiry: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._marker = path.with_name(f"{path.name}-members")
        self._group_expiry = group_expiry
        self._clock = clock

    @property
    def exists(self) -> bool:
        """Whether anything was ever written."""
        return self._path.exists()

    def put(self, channel: str, expiry: float, body: bytes, capacity: int) -> bool:
        """Add a message that expires in so many seconds; ``False`` when the channel is full."""
        with self._writing() as database:
            now = self._clock()
            waiting = "SELECT count(*) FROM message WHERE channel = ? AND deadline >= ?"
            if database.execute(waiting, (channel, now)).fetchone()[0] >= capacity:
                return False
            database.execute(
                "INSERT INTO message (channel, deadline, body) VALUES (?, ?, ?)",
                (channel, now + expiry, body),
            )
        return True

    def take(self, channel: str) -> tuple[bytes | None, int]:
        """Take the first message that has not expired.

        :return: the message, ``None`` if there is none; and how many expired ones were removed.
        """
        if not self.exists:
            return None, 0
        with self._writing() as database:
            expired = database.execute(
                "DELETE FROM message WHERE deadline < ?", (self._clock(),)
            ).rowcount
            first = "SELECT id, body FROM message WHERE channel = ? ORDER BY id LIMIT 1"
            found = database.execute(first, (channel,)).fetchone()
            if found is None:
                return None, expired
            database.execute("DELETE FROM message WHERE id = ?", found[:1])
        return found[1], expired

    @property
    def has_members(self) -> bool:
        """Whether any channel without a home ever entered a group; costs next to nothing."""
        return self._marker.exists()

    def join(self, group: str, channel: str) -> None:
        """Make a channel a member of a group, or renew its membership."""
        self._marker.touch(mode=0o600)
        with self._writing() as database:
            database.execute(
                "INSERT OR REPLACE INTO member VALUES (?, ?, ?)", (group, channel, self._clock())
            )

    def leave(self, group: str, channel: str) -> None:
        """End a membership, if there is one."""
        if self.exists:
            with self._writing() as database:
                database.execute(
                    'DELETE FROM member WHERE "group" = ? AND channel = ?', (group, channel)
                )

    def members(self, group: str) -> list[str]:
        """The channels of a group that have no home."""
        if not self.has_members:
            return []
        with self._open() as database:
            oldest = self._clock() - self._group_expiry
            found = database.execute(
                'SELECT channel FROM member WHERE "group" = ? AND since >= ?', (group, oldest)
            )
            return [channel for (channel,) in found]

    def clear(self) -> None:
        """Forget all messages and memberships."""
        if self.exists:
            with self._writing() as database:
                database.execute("DELETE FROM message")
                database.execute("DELETE FROM member")

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(
            sqlite3.connect(self._path, timeout=0, isolation_level=None)
        ) as database:
            try:
                database.executescript(_PRAGMAS + _SCHEMA)
                yield database
            except sqlite3.DatabaseError as error:
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                if code in _SPOILT:
                    self._begin_anew()
                if code in _SPOILT or code in _HELD:
                    raise Busy from error
                raise

    def _begin_anew(self) -> None:
        """What a power failure has spoilt was of yesterday."""
        for suffix in ("", "-journal"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the file from its beginning."""
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            yield database
            # An exception closes the connection, which rolls back.
            database.execute("COMMIT")
