"""``twogate trace`` as people run it."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.http import eventually
from tests.support.shell import Shell, says
from tests.support.traced import write

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write(tmp_path)


def test_three_ways_and_what_they_come_to(shell: Shell) -> None:
    shell.environment["COLUMNS"] = "80"
    done = shell("trace", "/live/")
    says(done, 0)
    for part in (
        "HTTP through WSGI", "HTTP through ASGI, Django's handler", "15 crossings",
        "⇄ loop: site1.views.live", "0 crossings", "what differs",
        "twogate serve sends this through ASGI (async view site1.views.live): no\n  crossing.",
    ):  # fmt: skip
        assert part in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_files(shell: Shell, tmp_path: Path) -> None:
    done = shell("trace", "/", "--json", "trace.json", "--chrome", "chrome.json", "--repeat", "3")
    says(done, 0)
    document = json.loads((tmp_path / "trace.json").read_text())
    assert document["format"] == "twogate-trace/1"
    assert [run["id"] for run in document["runs"]] == ["wsgi", "asgi-stock", "asgi"]
    assert document["runs"][0]["repeat"]["times"] == 3
    assert document["project"]["chosen"]["gateway"] == "wsgi"
    assert json.loads((tmp_path / "chrome.json").read_text())["traceEvents"]


def test_json_alone_on_the_output(shell: Shell) -> None:
    done = shell("trace", "/users/?a=1", "--user", "anna", "--json", "-")
    says(done, 0)
    document = json.loads(done.stdout)
    assert document["request"]["user"] == "anna"
    assert document["runs"][2]["counts"]["queries"] > 6


@pytest.mark.parametrize(("path", "status"), [("/users/", 0), ("/nowhere/", 0), ("/door/", 1)])
def test_diff_fails_where_the_gateways_answer_differently(
    shell: Shell, path: str, status: int
) -> None:
    done = shell("trace", path, "--diff")
    says(done, status)
    assert ("answer differently: body" in done.stdout) == bool(status)
    assert ("answer differently: header x-door" in done.stdout) == bool(status)


def test_a_websocket(shell: Shell) -> None:
    done = shell("trace", "/ws/", "--ws", "hello")
    says(done, 0)
    assert "client hears: you said hello" in done.stdout
    assert "refused: 501 Not Implemented" in done.stdout


def test_a_view_that_raises(shell: Shell) -> None:
    done = shell("trace", "/wrong/")
    assert done.returncode == 0
    assert "✗ LookupError: not here" in done.stdout
    flat = " ".join(done.stdout.split())
    assert "site1.views.wrong raises LookupError: not here (" in flat
    assert done.stderr == ""
    assert "LookupError" in shell("trace", "/wrong/", "--traceback", "--diff").stderr


def test_a_method_that_writes_is_warned_of(shell: Shell) -> None:
    done = shell("trace", "/door/", "--data", "a=b")
    says(done, 0, "POST /door/ is really sent, 3 times: what the view writes is written.")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("about/",), ("PATH", "It should begin with a slash")),
        (("/ä/",), ("PATH", "percent-encoded")),
        (("/", "--header", "nonsense"), ("--header", 'It should be "Name: value"')),
        (("/", "--data", "@nowhere"), ("--data", "No such file")),
        (("/", "--repeat", "0"), ("--repeat", "a whole number from 1 to 1000")),
        (("/", "--ws", "a", "--data", "b"), ("--ws", "has no --method and no --data")),
        (("/", "--method", "G T"), ("--method", "the name of a method")),
    ],
)
def test_wrong_use(shell: Shell, arguments: tuple[str, ...], parts: tuple[str, ...]) -> None:
    says(shell("trace", *arguments), 2, *parts)


def test_a_user_that_is_unknown(shell: Shell) -> None:
    says(shell("trace", "/", "--user", "bert"), 1, "there is no user 'bert'", "createsuperuser")


def test_a_project_that_is_broken(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "site1" / "views.py").write_text("import nowhere_to_be_found\n")
    says(shell("trace", "/"), 1, "nowhere_to_be_found", "views.py")


def test_no_project(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "manage.py").unlink()
    says(shell("trace", "/"), 1, "mend:")


def test_a_file_that_cannot_be_written(shell: Shell) -> None:
    says(shell("trace", "/", "--json", "no/where.json"), 2, "--json", "cannot be written")


def test_an_interrupt_ends_all_and_leaves_nothing(shell: Shell, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "twogate", "trace", "/slow/", "--user", "anna"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=shell.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # As from a terminal, also where the tests run in the background of a shell.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        eventually((tmp_path / "slow.txt").exists)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert "Traceback" not in "".join(said)
    with sqlite3.connect(tmp_path / "db.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM django_session").fetchone() == (0,)
    database.close()
    assert not [path for path in Path("/proc").glob("[0-9]*/cwd") if _leads_to(path, tmp_path)]


def _leads_to(path: Path, folder: Path) -> bool:
    try:
        return path.readlink() == folder
    except OSError:  # gone, or another's
        return False
