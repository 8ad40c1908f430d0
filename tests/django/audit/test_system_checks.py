from __future__ import annotations

import subprocess
import sys

from tests.support.site import Site, settings

MANAGE = (
    "import os, sys\n"
    "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n"
    "from django.core.management import execute_from_command_line\n"
    "execute_from_command_line(sys.argv)\n"
)
APPS = "INSTALLED_APPS = ['twogate']"


def check(site: Site, files: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    site.shell.write(site.files | files | {"manage.py": MANAGE})
    return subprocess.run(
        [sys.executable, "-W", "error", "manage.py", "check", *arguments],
        cwd=site.shell.folder, env=site.shell.environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_good_project_passes(site: Site) -> None:
    done = check(site, settings(APPS))
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_findings_are_told_with_their_place_and_mend(site: Site) -> None:
    files = settings(APPS) | {
        "mysite/live.py": "import time\nasync def live(request):\n    time.sleep(1)\n"
    }
    done = check(site, files, "--tag", "twogate", "--fail-level", "WARNING")
    assert done.returncode == 1
    assert "(twogate.W202) mysite/live.py:3: live calls time.sleep()" in done.stderr
    assert "HINT: Await asyncio.sleep" in done.stderr


def test_django_and_twogate_can_both_silence_one(site: Site) -> None:
    text = {"mysite/live.py": "import time\nasync def live(request):\n    time.sleep(1)\n"}
    for setting in ("SILENCED_SYSTEM_CHECKS", "TWOGATE_CHECK_IGNORE"):
        done = check(site, settings(APPS, f"{setting} = ['twogate.W202']") | text)
        assert done.returncode == 0, done.stderr
        assert "W202" not in done.stderr


def test_infos_are_left_to_the_command(site: Site) -> None:
    files = settings(APPS)
    files["mysite/settings.py"] = files["mysite/settings.py"].replace("ASGI_APPLICATION", "OTHER")
    assert "no issues" in check(site, files).stdout


def test_nothing_is_imported_or_connected_for_them(site: Site) -> None:
    files = settings(APPS) | {"mysite/asgi.py": "raise RuntimeError('imported')\n"}
    done = check(site, files)
    assert "imported" not in done.stderr
    assert "twogate.E005" in done.stderr  # it has no application


def test_settings_without_a_module_are_passed_over(site: Site) -> None:
    code = (
        "from django.conf import settings; settings.configure(INSTALLED_APPS=['twogate']);"
        "import django; django.setup();"
        "from twogate.django.audit.system_checks import check_project;"
        "print(check_project())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=site.shell.environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "[]\n", done.stderr
