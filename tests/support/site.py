"""Small projects with a mistake in them, for the audit.

A comment ``# !W202`` marks the line where a finding of that kind must be; there must be no other.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeAlias

from tests.support.shell import Shell

__all__ = ["GOOD", "NO_FILE", "Marks", "Site", "marks", "settings"]

#: (code, file, line) of each finding.
Marks: TypeAlias = set[tuple[str, str, int]]

_ENTRY = """\
import os
from django.core.{kind} import get_{kind}_application
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')
application = get_{kind}_application()
"""

#: In place of a file's text: there is no such file.
NO_FILE = "-"

#: A project with nothing to mend.
GOOD = {
    "manage.py": "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n",
    "mysite/__init__.py": "",
    "mysite/settings.py": (
        "SECRET_KEY = 'y4&lkq#v0f2h!zp9)x7w@c5m1r8s3d6g'\nDEBUG = True\n"
        "ROOT_URLCONF = 'mysite.urls'\n"
        "INSTALLED_APPS = []\nMIDDLEWARE = []\n"
        "WSGI_APPLICATION = 'mysite.wsgi.application'\n"
        "ASGI_APPLICATION = 'mysite.asgi.application'\n"
    ),
    "mysite/urls.py": (
        "from django.urls import path\nfrom mysite import views\n"
        "urlpatterns = [path('', views.page), path('live/', views.live)]\n"
    ),
    "mysite/views.py": (
        "from django.http import HttpResponse\n"
        "def page(request): return HttpResponse('page')\n"
        "async def live(request): return HttpResponse('live')\n"
    ),
    "mysite/wsgi.py": _ENTRY.format(kind="wsgi"),
    "mysite/asgi.py": _ENTRY.format(kind="asgi"),
}


def marks(files: dict[str, str]) -> Marks:
    """What is marked in these files."""
    return {
        (code, name, number)
        for name, text in files.items()
        for number, line in enumerate(text.splitlines(), 1)
        for code in re.findall(r"# !([EWI]\d{3})", line)
    }


class Site:
    """A project on disk that is audited by the command, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.shell = Shell(folder)
        self.files = dict(GOOD)

    def __call__(self, files: dict[str, str], *arguments: str) -> dict[str, Any]:
        """The JSON report on the good project with these files in place of its own."""
        self.files.update(files)
        for name in [name for name, text in self.files.items() if text == NO_FILE]:
            del self.files[name]
            (self.shell.folder / name).unlink(missing_ok=True)
        self.shell.write(self.files)
        done = self.shell("check", "--format", "json", *arguments)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode in (0, 1), done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def finds(self, files: dict[str, str], *arguments: str) -> list[dict[str, Any]]:
        """The same, and the findings must be where the marks are, and nowhere else."""
        findings: list[dict[str, Any]] = self(files, *arguments)["findings"]
        found = {(f["id"].removeprefix("twogate."), f["file"], f["line"]) for f in findings}
        assert found == marks(self.files), findings
        assert all(f["why"] and f["mend"] and f["message"] for f in findings)
        return findings


def settings(*lines: str) -> dict[str, str]:
    """The good project's settings with more lines."""
    return {"mysite/settings.py": GOOD["mysite/settings.py"] + "\n".join(lines) + "\n"}
