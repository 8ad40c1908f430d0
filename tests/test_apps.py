from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.shell import PROJECT, Shell


def test_the_app_passes_djangos_checks(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.write(PROJECT)
    code = (
        "from django.conf import settings; settings.configure(INSTALLED_APPS=['twogate']);"
        "import django; django.setup();"
        "from django.core.management import call_command, get_commands;"
        "call_command('check');"
        "print(get_commands()['runserver'], get_commands()['twogate'])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=shell.environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("twogate twogate\n")


def test_the_audit_is_loaded_when_it_is_asked_for(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    code = (
        "from django.conf import settings; settings.configure(INSTALLED_APPS=['twogate']);"
        "import django, sys; django.setup(); print('twogate.django.audit' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=shell.environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "False\n", done.stderr


def test_staticfiles_find_and_collect_the_client(tmp_path: Path) -> None:
    script = f"""
import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    INSTALLED_APPS=["twogate", "django.contrib.staticfiles"],
    STATIC_URL="/static/", STATIC_ROOT={str(tmp_path / "static")!r},
    STORAGES={{"staticfiles": {{
        "BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
    }}}},
)
django.setup()
call_command("check")
call_command("collectstatic", "--no-input")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], env=Shell(tmp_path).environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    client = tmp_path / "static" / "twogate" / "live.js"
    assert "export function connect(" in client.read_text(encoding="utf-8")
