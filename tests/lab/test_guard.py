"""Programs that go wrong in every way a learner's program can, and what is told of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.http import eventually

from twogate.lab.guard import MEBIBYTE, Limits, run

#: Small, so that a test is quick; the time is long, so that a busy machine makes no difference.
LIMITS = Limits(
    seconds=60, cpu=0.3, memory=128 * MEBIBYTE, processes=8, output=1000,
    file_size=MEBIBYTE, folder_size=2 * MEBIBYTE, files=50, open_files=32,
)  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each program's home is in this folder: it is gone afterwards, and who lived there."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    eventually(lambda: not _living(tmp_path) and not list(tmp_path.glob("twogate-lab-*")))


def _living(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"HOME={folder}".encode() in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:
            pass
    return found


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("x = 1\nwhile True: x += 1",
         "It was stopped after 0.3 seconds of computing: a loop without end?"
         " It was in line 2 of program.py: while True: x += 1"),
        ("import threading\ndef f():\n    while True: pass\nthreading.Thread(target=f).start()",
         "It was stopped after 0.3 seconds of computing: a loop without end?"
         " It was in line 3 of program.py: while True: pass"),
        ("import os\nwhile True: os.fork()",
         "It was stopped because it had more than 8 processes at one time."
         " It was in line 2 of program.py: while True: os.fork()"),
        ("while True: print('x' * 100)",
         "It was stopped because it printed more than 1000 bytes."
         " It was in line 1 of program.py: while True: print('x' * 100)"),
        ("import sys\nwhile True: print('x' * 100, file=sys.stderr)",
         "It was stopped because it printed more than 1000 bytes."
         " It was in line 2 of program.py: while True: print('x' * 100, file=sys.stderr)"),
        ("all = []\nwhile True:\n    all.append(bytes(10**7))",
         "It asked for more memory than the 128 MB that it may use."
         " It was in line 3 of program.py: all.append(bytes(10**7))"),
        ("with open('f', 'wb') as file:\n    while True: file.write(bytes(10**5))",
         "It wrote a file of more than 1 MB."
         " It was in line 2 of program.py: while True: file.write(bytes(10**5))"),
        ("import os\nwhile True: open(f'f{os.urandom(9).hex()}', 'w').close()",
         "It was stopped because it wrote too many files: more than 2 MB or 50 files."
         " It was in line 2 of program.py:"
         " while True: open(f'f{os.urandom(9).hex()}', 'w').close()"),
        ("all = []\nwhile True: all.append(open('/dev/null'))",
         "It had more than 32 files and connections open at one time."
         " It was in line 2 of program.py: while True: all.append(open('/dev/null'))"),
        ("a = 1\ndef", "SyntaxError: invalid syntax. It was in line 2 of program.py: def"),
        ("def f():\n    return y\nf()",
         "NameError: name 'y' is not defined. It was in line 2 of program.py: return y"),
        ("import sys\nsys.exit(3)",
         "It ended itself with sys.exit(3). It was in line 2 of program.py: sys.exit(3)"),
        ("import os\nos._exit(4)", "It ended itself with the exit status 4."),
        ("import os\nos.close(1)\nprint(1)",
         "It closed its output before it had printed everything."),
        ("import os\nos.kill(os.getpid(), 9)", "It was ended by the signal SIGKILL (9)."),
        ("import os\nos.kill(0, 9)", "It was ended by the signal SIGKILL (9)."),
        ("import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(60)",
         "It ended the process that watches over it, so nothing more is known of it."),
    ],
)  # fmt: skip
def test_a_sentence_tells_the_limit_and_the_line(program: str, sentence: str) -> None:
    done = run(program, limits=LIMITS)
    assert done.told == sentence
    assert not done.fine
    assert len(done.output) <= 1000 and len(done.errors) <= 1000


def test_who_waits_without_end_is_stopped() -> None:
    limits = Limits(seconds=3)
    done = run("import time, os\nos.close(1)\nos.close(2)\ntime.sleep(60)", limits=limits)
    assert done.told == (
        "It was stopped because it was not done after 3 seconds."
        " It was in line 4 of program.py: time.sleep(60)"
    )


def test_all_its_processes_share_the_memory() -> None:
    program = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        mine = bytes(50_000_000).replace(bytes(1), b"x")
        time.sleep(60)
time.sleep(60)
"""
    limits = Limits(seconds=60, cpu=60, memory=160 * MEBIBYTE)
    assert "used more than 160 MB of memory" in run(program, limits=limits).told


def test_when_it_has_ended_so_has_what_it_started() -> None:
    program = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(60)
    os._exit(0)
while not os.wait(): pass
"""
    done = run(program)
    assert done.fine, done.told
    assert not Path(f"/proc/{done.output.strip() or 'none'}").exists()


def test_the_line_is_looked_for_in_the_learners_own_files() -> None:
    files = {"pages/views.py": "def view():\n    raise ValueError('no')\n", "pages/urls.py": ""}
    program = "from pages import views\nviews.view()"
    assert str(run(program, files).place) == "line 2 of pages/views.py: raise ValueError('no')"
    outer = run(program, files, own=["program.py"])
    assert str(outer.place) == "line 2 of program.py: views.view()"
    assert run(program, files, own=["pages/urls.py"]).place is None


def test_files_are_kept_when_asked_for() -> None:
    done = run("open('a', 'w').write('1')", keep=["a", "b"])
    assert done.kept == {"a": "1"}


def test_it_gets_no_secrets_and_nothing_that_steers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MY_SECRET", "DJANGO_SETTINGS_MODULE", "TWOGATE_BIND", "PYTHONWARNINGS"):
        monkeypatch.setenv(name, "error")
    done = run("import os\nprint('error' in os.environ.values(), os.getcwd(), os.environ['HOME'])")
    leaked, folder, home = done.output.split()
    assert (leaked, folder) == ("False", home)


def test_when_the_lab_is_killed_so_is_the_program(tmp_path: Path) -> None:
    program = f"import time\nopen({str(tmp_path / 'runs')!r}, 'w').close()\ntime.sleep(60)"
    lab = subprocess.Popen(
        [sys.executable, "-c", f"from twogate.lab.guard import run; run({program!r})"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    eventually((tmp_path / "runs").exists)
    assert _living(tmp_path)
    lab.send_signal(signal.SIGKILL)
    lab.wait()
    eventually(lambda: not _living(tmp_path) and not list(tmp_path.glob("twogate-lab-*")))
