from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.shell import PROJECT, Shell

_MANAGE = (
    "import os, sys\n"
    "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n"
    "from django.core.management import execute_from_command_line\n"
    "execute_from_command_line(sys.argv)\n"
)
_APPS = "INSTALLED_APPS = ['twogate', 'django.contrib.staticfiles']\nSTATIC_URL = 'static/'\n"


@pytest.fixture
def site(tmp_path: Path) -> Shell:
    """A project that has Twogate in ``INSTALLED_APPS``, and its ``manage.py``."""
    shell = Shell(tmp_path)
    settings = PROJECT["mysite/settings.py"] + _APPS + "STATICFILES_DIRS = ['assets']\n"
    shell.write(
        PROJECT
        | {"manage.py": _MANAGE, "mysite/settings.py": settings, "assets/note.txt": "static"}
    )
    return shell
