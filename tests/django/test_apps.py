"""The browser client is a static file of a project that names the application."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path


def test_staticfiles_find_and_collect_the_client(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    script = f"""
import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    INSTALLED_APPS=["django.contrib.staticfiles", "twogate.django"],
    STATIC_URL="/static/", STATIC_ROOT={str(tmp_path / "static")!r},
    STORAGES={{"staticfiles": {{
        "BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
    }}}},
)
django.setup()
call_command("check")
call_command("collectstatic", "--no-input")
"""
    done = run_python("-W", "error", "-c", script)
    assert done.returncode == 0, done.stderr
    client = tmp_path / "static" / "twogate" / "live.js"
    assert "export function connect(" in client.read_text(encoding="utf-8")
