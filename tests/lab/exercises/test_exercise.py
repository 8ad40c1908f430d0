"""Checks go wrong in the guard's ways, too; and the project runs where nobody checks it."""

from __future__ import annotations

import io
import urllib.request
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.system.conftest import serving
from websockets.sync.client import connect

from twogate.lab.exercises import exercise as exercises
from twogate.lab.exercises.course import EXERCISES
from twogate.lab.exercises.exercise import MOST_CODE, archive, check, given


def test_the_guards_limits_end_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exercises, "LIMITS", replace(exercises.LIMITS, cpu=1))
    verdict = check(EXERCISES[0], "print('begun', flush=True)\nwhile True:\n    pass")
    assert not verdict.passed and verdict.line in (2, 3)
    assert verdict.sentence.startswith("It was stopped after 1 second of computing")
    assert verdict.printed == "begun"


def test_a_check_says_what_was_asked_and_answered() -> None:
    verdict = check(EXERCISES[-1], "print('mine')\n" + EXERCISES[-1].whole_solution)
    assert verdict.passed, verdict
    assert [row.through for row in verdict.talk] == ["WSGI", "ASGI", "ASGI", "ASGI"]
    assert verdict.printed.startswith("mine")


def test_code_that_ends_the_process_is_told() -> None:
    verdict = check(EXERCISES[0], "import os\nos._exit(0)")
    assert verdict.sentence == "Your code ended the program before the check was done."


def test_what_is_too_long_is_not_run() -> None:
    verdict = check(EXERCISES[0], "#" * (MOST_CODE + 1))
    assert verdict.sentence == "This is more than 20000 characters, more than one needs."


def test_the_project_is_served_by_twogate_alone(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(archive(given()))) as zipped:
        zipped.extractall(tmp_path)
    folder = tmp_path / "myproject"
    assert "twogate serve" in (folder / "README.md").read_text()
    with serving(tmp_path / "log", folder, "-w", "1") as site:
        for path, request in (("/", "WSGIRequest"), ("/wait/", "ASGIRequest")):
            with urllib.request.urlopen(f"{site.url}{path}", timeout=20) as response:
                assert f"The request's class is {request}" in response.read().decode()
        with connect(f"ws://{site.host}:{site.port}/ws/chat/", proxy=None) as socket:
            socket.send("hello")
            assert socket.recv(20) == "hello"
