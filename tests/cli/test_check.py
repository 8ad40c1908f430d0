from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.shell import SOURCE, Shell, says
from tests.support.site import GOOD, settings

EXAMPLE = SOURCE.parent / "examples" / "gates"
SLEEPS = {"mysite/more.py": "import time\nasync def view(request):\n    time.sleep(1)\n"}
QUERIES = {"mysite/more.py": "async def view(request):\n    Shop.objects.get()\n"}


@pytest.fixture
def site(shell: Shell) -> Shell:
    shell.write(GOOD)
    return shell


def test_a_good_project_has_nothing_to_mend(site: Shell) -> None:
    done = site("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing to mend in mysite.settings" in done.stdout


def test_a_new_project_has_nothing_to_mend(shell: Shell) -> None:
    assert shell("new", "shop", "--with", "chat").returncode == 0
    done = Shell(shell.folder / "shop")("check", "--fail-level", "info")
    assert done.returncode == 0, done.stdout
    assert "Nothing to mend in shop.settings" in done.stdout
    assert not (shell.folder / "shop" / "shop.sqlite3").exists()


def test_the_example_project_has_nothing_to_mend(shell: Shell) -> None:
    done = shell("check", str(EXAMPLE), "--fail-level", "info")
    assert done.returncode == 0, done.stdout
    assert "Nothing to mend in gates.settings" in done.stdout


@pytest.mark.parametrize(
    ("files", "level", "status"),
    [
        (QUERIES, None, 1),
        (SLEEPS, None, 0),
        (SLEEPS, "warning", 1),
        (SLEEPS, "info", 1),
        (QUERIES, "never", 0),
        ({}, "info", 0),
    ],
)
def test_the_exit_status_is_for_ci(
    site: Shell, files: dict[str, str], level: str | None, status: int
) -> None:
    site.write(files)
    assert site("check", *(("--fail-level", level) if level else ())).returncode == status


def test_findings_can_be_left_out(site: Shell) -> None:
    site.write(SLEEPS)
    for ignore in (["--ignore", "twogate.W202"], ["--ignore", "I009,W202"]):
        done = site("check", "--fail-level", "info", *ignore)
        assert done.returncode == 0
        assert "1 ignored" in done.stdout
    site.write({"mysite/more.py": SLEEPS["mysite/more.py"].strip() + "  # twogate: ignore[W202]\n"})
    assert site("check", "--fail-level", "info").returncode == 0
    site.write(SLEEPS | settings("TWOGATE_CHECK_IGNORE = ['twogate.W202']"))
    assert site("check", "--fail-level", "info").returncode == 0


def test_a_report_can_go_to_a_file(site: Shell) -> None:
    site.write(SLEEPS)
    done = site("check", "--format", "sarif", "--output", "found.sarif")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    log = json.loads((site.folder / "found.sarif").read_text(encoding="utf-8"))
    assert log["runs"][0]["results"][0]["ruleId"] == "twogate.W202"


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (["--ignore", "W20"], 2, "did you mean"),
        (["--ignore", "nothing"], 2, "no check 'nothing'"),
        (["--output", "no/such/folder"], 2, "cannot be written"),
        (["--format", "xml"], 2, "invalid choice"),
        (["nowhere"], 1, "nowhere"),
    ],
)
def test_wrong_use(site: Shell, arguments: list[str], status: int, part: str) -> None:
    done = site("check", *arguments)
    if status == 2:
        says(done, status, part)
    else:
        assert done.returncode == status
        assert "Traceback" not in done.stderr


def test_without_a_project_there_is_nothing_to_check(shell: Shell) -> None:
    says(shell("check"), 1, "No Django project")


def test_what_is_missing_is_named(site: Shell, tmp_path: Path) -> None:
    blocked = "import sys; sys.modules['rich'] = None; sys.argv = ['twogate', 'check'];"
    done = subprocess.run(
        [sys.executable, "-c", blocked + "from twogate.cli import main; sys.exit(main())"],
        cwd=site.folder, env=site.environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    says(done, 1, "rich", "twogate[django]")


def test_a_thread_that_a_project_leaves_does_not_hold_it_up(site: Shell) -> None:
    site.write(
        settings(
            "import threading",
            "threading.Thread(target=threading.Event().wait).start()",
        )
    )
    assert site("check").returncode == 0  # within the shell's deadline


def test_a_middleware_that_never_answers_does_not_hold_it_up(site: Shell) -> None:
    site.write(
        settings("MIDDLEWARE = ['mysite.stuck.stuck']")
        | {
            "mysite/stuck.py": (
                "import threading\ndef stuck(get_response):\n"
                "    return lambda request: threading.Event().wait()\n"
            )
        }
    )
    done = site("check")
    assert done.returncode == 0, done.stderr
    assert "twogate.W104" in done.stdout
    assert "no answer within 5 s" in done.stdout
