"""The starter of PostgreSQL starts a real one, and leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest

from tests.support.postgres import PostgresError, postgres, programs


def test_a_query_is_answered_and_nothing_is_left() -> None:
    with postgres(max_connections=23) as server:
        with psycopg.connect(**server.parameters) as connection:
            assert connection.execute("SELECT 6 * 7").fetchone() == (42,)
            assert connection.execute("SHOW max_connections").fetchone() == ("23",)
        pid = int(Path(server.host, "data", "postmaster.pid").read_text().split("\n")[0])
        os.kill(pid, 0)

    assert not Path(server.host).exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_servers_run_side_by_side() -> None:
    with postgres() as one, postgres() as other:
        with psycopg.connect(**one.parameters) as connection:
            connection.execute("CREATE TABLE word (text varchar)")
        with psycopg.connect(**other.parameters) as connection:
            found = connection.execute("SELECT to_regclass('word')").fetchone()

    assert found == (None,)


def test_a_connection_left_open_does_not_hold_the_end_up() -> None:
    with postgres() as server:
        connection = psycopg.connect(**server.parameters)
    with connection, pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")


def test_without_postgresql_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(PostgresError, match="apt-get install postgresql"):
        programs(debian=tmp_path)


def test_the_newest_version_is_taken(tmp_path: Path) -> None:
    for version in ("9.6", "13", "15"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch()

    assert programs(debian=tmp_path) == tmp_path / "15" / "bin"
