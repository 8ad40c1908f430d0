"""Proofs in processes of their own; how a program can end otherwise is tested with the guard."""

from __future__ import annotations

import time
from pathlib import Path

from twogate.lab.runner import run


def test_a_program_is_run() -> None:
    done = run("import sys\nprint('hello')\nprint('oh', file=sys.stderr)")
    assert (done.end, done.status, done.output, done.errors) == ("finished", 0, "hello\n", "oh\n")
    assert done.fine and done.told == ""
    assert done.seconds > 0


def test_it_finds_its_files_and_leaves_nothing() -> None:
    done = run(
        "import os, other\nprint(other.name)\nprint(os.getcwd())", {"other.py": "name = 'other'"}
    )
    name, folder = done.output.split()
    assert name == "other"
    assert not Path(folder).exists()


def test_an_error_is_shown_without_the_folder_and_without_the_guardian() -> None:
    done = run("1 / 0")
    assert (done.end, done.status) == ("finished", 1)
    assert 'File "program.py", line 1' in done.errors
    assert "ZeroDivisionError" in done.errors
    assert "guardian" not in done.errors


def test_one_that_does_not_end_is_stopped() -> None:
    begun = time.monotonic()
    done = run("print('begun', flush=True)\nimport time; time.sleep(60)", timeout=2.0)
    assert (done.end, done.output) == ("seconds", "begun\n")
    assert time.monotonic() - begun < 30


def test_it_knows_this_twogate_and_no_standard_input() -> None:
    done = run("import sys, twogate\nprint(twogate.__file__)\nprint(repr(sys.stdin.read()))")
    source, stdin = done.output.splitlines()
    assert Path(source).exists()
    assert stdin == "''"


def test_any_bytes_are_told() -> None:
    assert run(r"import os; os.write(1, b'\xff\xe2\x82\xac')").output == "�€"
