from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator

import pytest
from tests.support.postgres import postgres
from tests.support.site import NO_FILE, Site, settings

SQLITE = "'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'shop.sqlite3'"
LIVE = ("DEBUG = False", "ALLOWED_HOSTS = ['shop.example']")


def database(more: str, mark: str = "") -> tuple[str, str]:
    return f"DATABASES = {{'default': {{  {mark}", f"    {more}}}}}"


def test_sqlite_without_a_write_ahead_log(site: Site) -> None:
    site.finds(settings(*LIVE, *database(SQLITE, "# !W402")))


@pytest.mark.parametrize(
    "lines",
    [
        database(SQLITE),  # DEBUG is on
        (*LIVE, *database("'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'")),
        (*LIVE, *database(SQLITE + ", 'OPTIONS': {'init_command': 'PRAGMA journal_mode=WAL'}")),
    ],
)
def test_sqlite_that_is_fine(site: Site, lines: tuple[str, ...]) -> None:
    site.finds(settings(*lines))
    assert not (site.shell.folder / "shop.sqlite3").exists()  # looking does not make it


def test_a_file_that_has_its_log_already(site: Site) -> None:
    connection = sqlite3.connect(site.shell.folder / "shop.sqlite3")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    site.finds(settings(*LIVE, *database(SQLITE)))


def test_connections_that_other_servers_leave_behind(site: Site) -> None:
    site.finds(settings(*database(SQLITE + ", 'CONN_MAX_AGE': 60", "# !I403")))
    wsgi_only = settings(*database(SQLITE + ", 'CONN_MAX_AGE': 60"))
    text = wsgi_only["mysite/settings.py"].replace("ASGI_APPLICATION", "NOTHING")
    ids = {
        f["id"] for f in site({"mysite/settings.py": text, "mysite/asgi.py": NO_FILE})["findings"]
    }
    assert ids <= {"twogate.I010"}


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port where nobody listens, which nobody else gets meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def _postgres(host: str, port: int, mark: str = "") -> dict[str, str]:
    return settings(
        *database(
            f"'ENGINE': 'django.db.backends.postgresql', 'NAME': 'postgres', 'USER': 'postgres',"
            f" 'HOST': {host!r}, 'PORT': {port}",
            mark,
        )
    )


def test_a_database_that_is_down(site: Site, closed_port: int) -> None:
    (finding,) = site.finds(_postgres("127.0.0.1", closed_port, "# !W401"))
    assert "OperationalError" in finding["message"]
    site.files["mysite/settings.py"] = _postgres("127.0.0.1", closed_port)["mysite/settings.py"]
    site.finds({}, "--no-probe")


def test_a_database_that_does_not_answer(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (finding,) = site.finds(_postgres("127.0.0.1", silent.getsockname()[1], "# !W401"))
    assert "no answer within 3 s" in finding["message"]


def test_a_database_that_answers(site: Site) -> None:
    with postgres() as server:
        site.finds(settings(f"DATABASES = {{'default': {server.django}}}"))
