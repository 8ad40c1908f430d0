"""Programs in processes of their own, which end in every way a program can."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from tests.support.http import eventually

from twogate.lab.runner import FINISHED, TOO_LONG, TOO_MUCH, run


def test_a_program_is_run() -> None:
    done = run("import sys\nprint('hello')\nprint('oh', file=sys.stderr)")
    assert (done.end, done.status, done.output, done.errors) == (FINISHED, 0, "hello\n", "oh\n")
    assert done.fine
    assert done.seconds > 0


def test_it_finds_its_files_and_leaves_nothing() -> None:
    done = run(
        "import os, other\nprint(other.name)\nprint(os.getcwd())", {"other.py": "name = 'other'"}
    )
    name, folder = done.output.split()
    assert name == "other"
    assert not Path(folder).exists()


def test_an_error_is_shown_without_the_folder() -> None:
    done = run("1 / 0")
    assert (done.end, done.status) == (FINISHED, 1)
    assert not done.fine
    assert 'File "program.py", line 1' in done.errors
    assert "ZeroDivisionError" in done.errors


def test_a_syntax_error_is_shown() -> None:
    done = run("def")
    assert "SyntaxError" in done.errors
    assert done.status == 1


def test_an_endless_loop_is_stopped() -> None:
    done = run("print('begun', flush=True)\nwhile True: pass", timeout=1.0)
    assert (done.end, done.output) == (TOO_LONG, "begun\n")
    assert not done.fine


def test_so_is_a_program_that_closes_its_output_first() -> None:
    done = run("import os, time\nos.close(1)\nos.close(2)\ntime.sleep(60)", timeout=1.0)
    assert done.end == TOO_LONG


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_an_endless_print_is_stopped(stream: str) -> None:
    program = f"import sys\nwhile True: print('x' * 100, file=sys.{stream})"
    done = run(program, timeout=30, most_output=1000)
    assert done.end == TOO_MUCH
    assert len(done.output + done.errors) == 1000


def test_what_it_started_is_stopped_as_well() -> None:
    program = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
"""
    begun = time.monotonic()
    done = run(program, timeout=2.0)
    assert done.end == TOO_LONG  # the child holds the output open
    assert time.monotonic() - begun < 15
    pid = int(done.output)
    eventually(lambda: not _lives(pid))


def _lives(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_nothing_steers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "elsewhere")
    monkeypatch.setenv("TWOGATE_BIND", "0.0.0.0:80")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    program = (
        "import os\nprint(sorted(k for k in os.environ if k[:6] in ('DJANGO', 'TWOGAT', 'PYTHON')))"
    )
    assert run(program).output == "['PYTHONPATH']\n"


def test_it_knows_this_twogate_and_no_standard_input() -> None:
    done = run("import sys, twogate\nprint(twogate.__file__)\nprint(repr(sys.stdin.read()))")
    source, stdin = done.output.splitlines()
    assert Path(source).exists()
    assert stdin == "''"


def test_any_bytes_are_told() -> None:
    done = run(r"import os; os.write(1, b'\xff\xe2\x82\xac')")
    assert done.output == "�€"
    assert os.linesep not in done.output
