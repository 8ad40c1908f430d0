"""The rules of the house that a test can keep."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "twogate"
MODULES = sorted(file.relative_to(PACKAGE) for file in PACKAGE.rglob("*.py"))
#: Configuration of the lab's Django project, which every test of a page runs; and the project that
#: the lab shows.
WITHOUT_TESTS = tuple(
    PACKAGE / "lab" / name
    for name in (
        *(f"web/{module}.py" for module in ("settings", "urls", "wsgi", "asgi", "apps", "models")),
        "web/migrations",
        "scenes",
    )
)


def test_the_import_contracts_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [*command, "--no-cache", "--config", str(ROOT / "pyproject.toml")],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_tests_mirror_the_source() -> None:
    missing = {
        str(module)
        for module in MODULES
        if module.name not in {"__init__.py", "__main__.py"}
        and not any((PACKAGE / module).is_relative_to(place) for place in WITHOUT_TESTS)
        and not (ROOT / "tests" / module.parent / f"test_{module.name}").is_file()
    }
    assert missing == set()


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_says_what_it_is(module: Path) -> None:
    source = (PACKAGE / module).read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source))
