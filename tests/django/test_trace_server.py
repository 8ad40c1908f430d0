"""The process that serves and records: what it refuses, and that it cleans up."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.support.traced import write

from twogate.cli.trace import SERVER
from twogate.errors import ProjectError
from twogate.trace.client import Request, ask
from twogate.trace.driver import Host


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(write(tmp_path))
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    return tmp_path


def host(**flags: Any) -> Host:
    return Host(SERVER, {"access_logfile": "off", "log_level": "critical", **flags})


def sessions(project: Path) -> int:
    with sqlite3.connect(project / "db.sqlite3") as database:
        count = database.execute("SELECT count(*) FROM django_session").fetchone()[0]
    database.close()
    return int(count)


def test_it_serves_by_one_gateway_after_the_other(project: Path) -> None:
    server = host()
    try:
        assert server.facts["host"] == "localhost"
        assert set(server.facts["versions"]) == {"twogate", "python", "django", "asgiref"}
        for gateway in ("wsgi", "asgi", "wsgi"):
            port = server.tell("start", gateway=gateway)["port"]
            assert ask(port, Request("GET", "/door/"))["response"]["status"] == 200
            (recorded,) = server.tell("take", count=1)["recordings"]
            assert recorded["facts"]["gateway"] == gateway
    finally:
        server.close()


def test_what_twogate_would_choose(project: Path) -> None:
    server = host()
    try:
        chosen = server.tell("choose", method="GET", path="/live/?x=1")
    finally:
        server.close()
    assert chosen == {"gateway": "asgi", "reason": "async view site1.views.live"}


def test_a_session_lasts_as_long_as_the_process(project: Path) -> None:
    server = host()
    try:
        assert server.tell("login", user="anna")["cookie"][0] == "sessionid"
        assert sessions(project) == 1
    finally:
        server.close()
    assert sessions(project) == 0


def test_a_user_that_is_unknown(project: Path) -> None:
    server = host()
    try:
        with pytest.raises(ProjectError, match="there is no user 'bert'"):
            server.tell("login", user="bert")
    finally:
        server.close()
    assert sessions(project) == 0


def test_a_database_that_is_not_there(project: Path) -> None:
    (project / "db.sqlite3").unlink()
    (project / "db.sqlite3").mkdir()
    server = host()
    try:
        with pytest.raises(ProjectError, match=r"cannot be made: OperationalError") as caught:
            server.tell("login", user="anna")
    finally:
        server.close()
    assert "Is the database up" in caught.value.mend


def test_a_project_without_users(project: Path) -> None:
    settings = project / "site1" / "settings.py"
    settings.write_text(settings.read_text() + "\nINSTALLED_APPS = []\nMIDDLEWARE = []\n")
    urls = project / "site1" / "urls.py"
    urls.write_text("from django.urls import path\nurlpatterns = []\n")
    server = host()
    try:
        with pytest.raises(ProjectError, match=r"--user needs django\.contrib\.auth"):
            server.tell("login", user="anna")
    finally:
        server.close()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("site1/settings.py", "raise ValueError('no secrets')", "no secrets"),
        ("site1/urls.py", "import nothing_there", "nothing_there"),
        ("site1/asgi.py", "application = get_wsgi_application()", "get_wsgi_application"),
        ("site1/views.py", "def page(:", "syntax"),
    ],
)
def test_a_project_that_is_broken(project: Path, name: str, content: str, said: str) -> None:
    (project / name).write_text(content)
    with pytest.raises(ProjectError, match=f"(?i){said}"):
        host()


def test_what_the_project_prints_is_no_answer(project: Path) -> None:
    settings = project / "site1" / "settings.py"
    settings.write_text(settings.read_text() + "\nprint('hello', flush=True)\n")
    server = host()
    server.close()
    assert server.facts["debug"] is True
