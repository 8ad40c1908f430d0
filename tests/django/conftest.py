"""Django in the test process, configured once, and small projects on disk for other processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.support.postgres import Postgres, postgres
from tests.support.settings import configure

SOURCE = Path(__file__).parent.parent.parent / "src"


@pytest.fixture
def urlconf() -> Iterator[Callable[..., None]]:
    """Sets the URL patterns of this process's Django, and any other settings."""
    from django.test import override_settings
    from django.urls import clear_url_caches

    configure()
    overriding: list[Any] = []

    def set_patterns(*patterns: Any, **others: Any) -> None:
        module = types.ModuleType("urls_of_a_test")
        module.urlpatterns = list(patterns)  # type: ignore[attr-defined]
        overriding.append(override_settings(ROOT_URLCONF=module, **others))
        overriding[-1].enable()
        clear_url_caches()

    yield set_patterns
    for override in reversed(overriding):
        override.disable()
    clear_url_caches()


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python in ``tmp_path``, where this Twogate can be imported."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("TWOGATE", "DJANGO"))}
        clean.update({"PYTHONPATH": str(SOURCE), "PYTHONWARNINGS": "ignore", **environment})
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=clean,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a file below ``tmp_path``."""

    def write_file(name: str, content: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return path

    return write_file


#: What the connections of the test's own Django call themselves.
APPLICATION = "tests of twogate"
_COUNT = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"


@dataclass(frozen=True, slots=True)
class Database:
    """A PostgreSQL database that Django uses, with a table ``line`` of one ``text`` column.

    :ivar own: a connection beside Django's, in autocommit mode.
    """

    own: psycopg.Connection[Any]

    def connections(self) -> int:
        """Connections that Django has open now."""
        return int(self.value(_COUNT, APPLICATION))

    def has_at_most(self, number: int) -> bool:
        """Whether so few are open now, or soon: one that was closed is gone a moment later."""
        deadline = time.monotonic() + 10
        while (found := self.connections()) > number and time.monotonic() < deadline:
            time.sleep(0.01)
        return found <= number

    def lines(self) -> list[str]:
        """What is committed."""
        return [line for (line,) in self.own.execute("SELECT text FROM line ORDER BY text")]

    def value(self, statement: str, *parameters: Any) -> Any:
        """The first column of the first row."""
        row = self.own.execute(statement.encode(), parameters).fetchone()
        return None if row is None else row[0]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One server for all tests of a process."""
    with postgres() as server:
        yield server


@pytest.fixture
def database(postgres_server: Postgres, urlconf: Callable[..., None]) -> Iterator[Database]:
    """PostgreSQL as Django's default database, for threads that have not connected before."""
    from django.db import connections

    urlconf()
    entry = {**postgres_server.django, "OPTIONS": {"application_name": APPLICATION}}
    before = connections.settings["default"]
    connections.settings["default"] = connections.configure_settings({"default": entry})["default"]
    try:
        with psycopg.connect(**postgres_server.parameters, autocommit=True) as own:
            own.execute("DROP TABLE IF EXISTS line")
            own.execute("CREATE TABLE line (text text)")
            yield Database(own)
    finally:
        connections.settings["default"] = before
