"""The folder and the database are made before the lab is served."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path


def prepare(folder: Path, first: str = "") -> subprocess.CompletedProcess[str]:
    source = f"{first}{os.pathsep}{Path(__file__).parents[3] / 'src'}"
    return subprocess.run(
        [sys.executable, "-m", "twogate.lab.web.prepare"],
        env={**os.environ, "PYTHONPATH": source, "TWOGATE_LAB_DATA": str(folder)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_twice_is_as_good_as_once(tmp_path: Path) -> None:
    for _ in range(2):
        done = prepare(tmp_path / "data")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with closing(sqlite3.connect(tmp_path / "data" / "lab.sqlite3")) as database:
        assert database.execute("SELECT count(*) FROM lab_progress").fetchone() == (0,)


def test_what_cannot_be_used_is_named_and_mended(tmp_path: Path) -> None:
    (tmp_path / "lab.sqlite3").write_text("this is no database, whatever its name may say")
    done = prepare(tmp_path)
    assert done.returncode == 1
    message, mend = done.stderr.splitlines()
    assert "lab.sqlite3" in message and "--data" in mend
    (tmp_path / "file").write_text("")
    done = prepare(tmp_path / "file")
    assert done.returncode == 1
    assert done.stderr.startswith(f"File exists: {tmp_path / 'file'}\n")


def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "fsrs.py").write_text("raise ModuleNotFoundError(name='fsrs')")
    done = prepare(tmp_path / "data", first=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "fsrs is not installed.\npip install 'twogate[lab]' brings it.\n"
