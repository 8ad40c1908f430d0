"""``twogate lab`` says what is wrong before it starts; the rest is in tests/lab/web."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from twogate.cli import lab
from twogate.cli.parser import make_parser

TOKEN = "a-token-for-a-test"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bind", "0.0.0.0:0"], ["--bind", "runs code", "--allow-others"]),
        (["--bind", "0.0.0.0:0", "--allow-others", "--token", "short"], ["--token", "16"]),
        (["--token", TOKEN], ["--token", "Leave --token out"]),
        (["--allow-others"], ["Leave --allow-others out"]),
    ],
)
def test_what_is_not_safe_is_not_started(
    arguments: list[str], words: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "twogate", "lab", "--no-browser", "--data", str(tmp_path)]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )  # fmt: skip
    assert done.returncode == 2
    assert all(word in done.stderr for word in words), done.stderr


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = str(tmp_path / "file")
    done = subprocess.run(
        [sys.executable, "-m", "twogate", "lab", "--no-browser", "--data", folder],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )  # fmt: skip
    assert done.returncode == 1
    assert f"The lab cannot start: File exists: {folder}" in done.stderr
    assert "--data" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_documentation_has_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser([lab]).parse_args(["lab", "--help"])
    options = capsys.readouterr().out.partition("examples:")[0]
    told = (Path(__file__).parents[2] / "docs" / "lab.md").read_text()
    table = told.partition("## Options")[2].partition("## ")[0]
    assert set(re.findall("--[a-z][a-z-]*", options)) - {"--help"} == set(
        re.findall("--[a-z][a-z-]*", table)
    )
