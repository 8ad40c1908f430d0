"""What of ``DATABASES`` goes badly with threads or event loops, and what cannot be reached."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections

from twogate.django.audit import catalogue
from twogate.django.audit.entry_points import entry_file
from twogate.django.audit.finding import Finding
from twogate.django.audit.source import Source

__all__ = ["check_databases", "check_reach"]

#: Seconds that a database has to answer.
_PATIENCE = 3.0
#: In a SQLite file's header: the version of what may write it; 2 is a write-ahead log.
_WRITE_VERSION = 18


def check_databases(source: Source) -> Iterator[Finding]:
    """What the settings say."""
    serves_async = entry_file(source, "asgi") is not None
    for alias in connections:
        database = connections.settings[alias]
        if database["ENGINE"].endswith(".sqlite3"):
            yield from _sqlite(source, alias, database)
        if database["CONN_MAX_AGE"] != 0 and serves_async and not _pooled(database):
            yield catalogue.CONN_MAX_AGE.at(
                source.setting("DATABASES"),
                f"The database {alias!r} has CONN_MAX_AGE = {database['CONN_MAX_AGE']}.",
                'For another ASGI server: CONN_MAX_AGE = 0, or OPTIONS = {"pool": True} with'
                " PostgreSQL.",
            )


def _pooled(database: dict[str, Any]) -> bool:
    return bool((database.get("OPTIONS") or {}).get("pool"))


def _sqlite(source: Source, alias: str, database: dict[str, Any]) -> Iterator[Finding]:
    # While somebody develops alone, nobody else writes.
    if settings.DEBUG or _is_in_memory(database) or _writes_ahead(database):
        return
    yield catalogue.SQLITE_WITHOUT_WAL.at(
        source.setting("DATABASES"),
        f"The database {alias!r} has SQLite's default journal.",
        'OPTIONS = {"init_command": "PRAGMA journal_mode = WAL", "transaction_mode": "IMMEDIATE"}',
    )


def _is_in_memory(database: dict[str, Any]) -> bool:
    name = str(database["NAME"])
    return name == ":memory:" or "mode=memory" in name


def _writes_ahead(database: dict[str, Any]) -> bool:
    if "wal" in str((database.get("OPTIONS") or {}).get("init_command", "")).lower():
        return True
    try:
        with Path(str(database["NAME"]).removeprefix("file:").partition("?")[0]).open("rb") as file:
            return file.read(_WRITE_VERSION + 1)[_WRITE_VERSION:] == b"\x02"
    except OSError:
        return False


def check_reach(source: Source) -> Iterator[Finding]:
    """Connect to each database; a SQLite file is only looked for, as connecting would make it."""
    for alias in connections:
        database = connections.settings[alias]
        if database["ENGINE"].endswith((".sqlite3", ".dummy")):
            continue
        reason = _reason(alias)
        if reason:
            yield catalogue.UNREACHABLE.at(
                source.setting("DATABASES"),
                f"The database {alias!r} ({database['HOST'] or 'on this machine'}) does not"
                f" answer: {reason}",
                "Start it, or correct HOST, PORT, NAME, USER and PASSWORD.",
            )


def _reason(alias: str) -> str:
    """Why a database cannot be reached, ``""`` if it can. On a thread that may be left behind."""
    said: list[str] = []

    def connect() -> None:
        connection = connections[alias]
        try:
            connection.ensure_connection()
            said.append("")
        except Exception as error:
            lines = str(error).strip().splitlines()
            said.append(f"{type(error).__name__}: {lines[0] if lines else 'no message'}")
        finally:
            connection.close()

    thread = threading.Thread(target=connect, name="twogate-check", daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return said[0] if said else f"no answer within {_PATIENCE:g} s"
