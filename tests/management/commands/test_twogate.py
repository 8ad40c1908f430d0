from __future__ import annotations

import subprocess
import sys

from tests.support.shell import Shell

from twogate import __version__


def _manage(site: Shell, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "twogate", *arguments], cwd=site.folder,
        env=site.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_arguments_are_those_of_the_command(site: Shell) -> None:
    assert _manage(site, "--version").stdout == f"twogate {__version__}\n"
    assert "twogate serve" in _manage(site, "serve", "--help").stdout
    done = _manage(site, "serve", "--check-config")
    assert done.returncode == 0, done.stderr
    assert "mysite.settings (named by DJANGO_SETTINGS_MODULE)" in done.stdout


def test_its_exit_status_is_that_of_the_command(site: Shell) -> None:
    assert _manage(site, "srve").returncode == 2
