"""Django in the test process, configured once, and small projects on disk for other processes."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parent.parent.parent / "src"


@pytest.fixture
def urlconf() -> Iterator[Callable[..., None]]:
    """Sets the URL patterns of this process's Django, and any other settings."""
    import django
    from django.conf import settings
    from django.test import override_settings
    from django.urls import clear_url_caches

    if not settings.configured:
        settings.configure(SECRET_KEY="x", USE_I18N=True, LANGUAGE_CODE="en")
    django.setup()
    overriding: list[Any] = []

    def set_patterns(*patterns: Any, **others: Any) -> None:
        module = types.ModuleType("urls_of_a_test")
        module.urlpatterns = list(patterns)  # type: ignore[attr-defined]
        overriding.append(override_settings(ROOT_URLCONF=module, **others))
        overriding[-1].enable()
        clear_url_caches()

    yield set_patterns
    for override in reversed(overriding):
        override.disable()
    clear_url_caches()


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python in ``tmp_path``, where this Twogate can be imported."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("TWOGATE", "DJANGO"))}
        clean.update({"PYTHONPATH": str(SOURCE), "PYTHONWARNINGS": "ignore", **environment})
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=clean,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a file below ``tmp_path``."""

    def write_file(name: str, content: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return path

    return write_file
