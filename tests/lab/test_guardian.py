"""The process between, asked directly: what it writes is what the guard reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from twogate.lab import guardian
from twogate.lab.guard import Limits


def guard(folder: Path) -> subprocess.Popen[bytes]:
    program = "open('kept', 'w').write('k')\n1 / 0\n"
    (folder / "program.py").write_text(program)
    output, errors = os.open(os.devnull, os.O_WRONLY), os.open(os.devnull, os.O_WRONLY)
    job = {"folder": str(folder), "program": "program.py", "keep": ["kept", "other"]}
    everything = asdict(Limits()) | job | {"output": output, "errors": errors}
    try:
        return subprocess.Popen(
            [sys.executable, "-P", guardian.__file__, json.dumps(everything)],
            pass_fds=(output, errors), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
    finally:
        os.close(output)
        os.close(errors)


def test_it_reports_the_end_the_notes_and_what_is_kept(tmp_path: Path) -> None:
    with guard(tmp_path) as process:
        assert process.stdout is not None
        report = json.loads(process.stdout.read())
    assert (report["end"], report["status"], report["kept"]) == ("finished", 1, {"kept": "k"})
    note = json.loads(report["notes"])
    assert (note["kind"], note["message"]) == ("ZeroDivisionError", "division by zero")
    assert note["places"] == [[str(tmp_path / "program.py"), 2]]


def test_without_a_lab_it_tells_nobody_and_tidies_up(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    process = guard(tmp_path / "folder")
    report, _ = process.communicate()  # which closes its input first
    assert report == b"" or json.loads(report)["end"] == "finished"  # it was quicker
    assert report or not (tmp_path / "folder").exists()
