"""A connection to a SQLite file that threads share and that knows of forks.

For files in the runtime folder, which all processes of a project write to. Knows no tables. Any
thread.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

__all__ = ["Handle"]

#: Seconds to wait for another process that is writing.
_PATIENCE = 5.0


class Handle:
    """A connection for one thread at a time: ``with handle as connection:``.

    One for all threads, since a call takes some microseconds, and thread-locals are what leased
    threads are emptied of. It is opened when it is needed, in autocommit mode.

    :param prepare: is given each new connection, to make the tables if need be.
    """

    __slots__ = ("__weakref__", "_connection", "_file", "_inherited", "_lock", "_prepare")

    def __init__(self, file: Path, prepare: Callable[[sqlite3.Connection], None]) -> None:
        self._file = file
        self._prepare = prepare
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inherited: list[sqlite3.Connection] = []
        _handles.add(self)

    def __enter__(self) -> sqlite3.Connection:
        self._lock.acquire()
        try:
            if self._connection is None:
                self._connection = self._connect()
            return self._connection
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._file, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            _write_ahead(connection)
            # What a crash of the machine loses would be too old to be wanted when it is up again.
            connection.execute("PRAGMA synchronous = OFF")
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close it, if it is open."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _leave_to_parent(self) -> None:
        """After a fork, in the child. A connection of the parent may not even be closed here
        (SQLite, "How To Corrupt", 2.6), so it is kept."""
        self._lock = threading.Lock()
        connection, self._connection = self._connection, None
        if connection is not None:
            self._inherited.append(connection)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging.

    While another one does so on a new file, SQLite says "locked" at once, without any timeout.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.001)


_handles: weakref.WeakSet[Handle] = weakref.WeakSet()


def _after_fork() -> None:
    for handle in list(_handles):
        handle._leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)
