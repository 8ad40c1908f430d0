"""The driver, with processes that are no Django: what it asks of them, and what goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from twogate.errors import ProjectError
from twogate.trace.client import Request
from twogate.trace.driver import Host, trace

READY = (
    "import json, sys\n"
    "print(json.dumps({'ready': {'csrf_header': 'X-CSRFToken', 'csrf_cookie': 'c',"
    " 'host': 'localhost', 'versions': {}}}))\n"
)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "program.py"


def test_orders_and_answers(program: Path) -> None:
    program.write_text(
        READY + "for line in sys.stdin:\n"
        "    order = json.loads(line)\n"
        "    print(json.dumps({'was': order, 'flags': sys.argv[1]}))\n"
    )
    host = Host("program", {"threads": 3})
    try:
        assert host.facts["host"] == "localhost"
        answer = host.tell("start", gateway="wsgi")
    finally:
        host.close()
    assert answer["was"] == {"do": "start", "gateway": "wsgi"}
    assert answer["flags"] == '{"threads": 3}'


def test_an_error_comes_with_its_mend(program: Path) -> None:
    program.write_text('print(\'{"error": "It is broken.", "mend": "Mend it."}\')\n')
    with pytest.raises(ProjectError) as caught:
        Host("program", {})
    assert (caught.value.message, caught.value.mend) == ("It is broken.", "Mend it.")


def test_a_process_that_dies_is_told_of(program: Path) -> None:
    program.write_text("raise SystemExit('what it was')\n")
    with pytest.raises(ProjectError, match=r"status 1\)\.\nwhat it was"):
        Host("program", {})


def test_a_process_that_dies_later_is_told_of(program: Path) -> None:
    program.write_text(READY)
    with pytest.raises(ProjectError, match="status 0"):
        trace("program", {}, Request("GET", "/"))


def test_a_host_has_its_folder_and_environment_and_can_be_ended(program: Path) -> None:
    program.write_text(
        READY + "import os\n"
        "for line in sys.stdin:\n"
        "    print(json.dumps({'folder': os.getcwd(), 'word': os.environ.get('WORD')}))\n"
    )
    environment = {"PYTHONPATH": str(program.parent), "WORD": "here"}
    host = Host("program", {}, program.parent, environment)
    try:
        assert host.tell("say") == {"folder": str(program.parent.resolve()), "word": "here"}
        assert host.alive
        host.kill()
        with pytest.raises(ProjectError, match="status -9"):
            host.tell("say")
        assert not host.alive
    finally:
        host.close()
