from __future__ import annotations

import importlib.util
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from twogate.django.explain import explaining, missing_attribute
from twogate.errors import ProjectError

Write = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(f"explained_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def explained(path: Path) -> ProjectError:
    with pytest.raises(ProjectError) as caught, explaining("importing it"):
        load(path)
    assert caught.value.__cause__ is not None
    return caught.value


@pytest.mark.parametrize(
    ("source", "says", "mend"),
    [
        (
            "from django.core.asgi import get_asgi_application\n\n"
            "application = get_wsgi_application()\n",
            "asgi.py, line 3: NameError: name 'get_wsgi_application' is not defined",
            "The file imports get_asgi_application but calls get_wsgi_application: "
            "call get_asgi_application() there.",
        ),
        (
            "application = get_asgi_application()\n",
            "asgi.py, line 1: NameError",
            "Import it first: from django.core.asgi import get_asgi_application",
        ),
        ("import json\njsn.loads('1')\n", "asgi.py, line 2: NameError", "json; is that what"),
        ("nothing_like_it\n", "asgi.py, line 1: NameError", "Define or import nothing_like_it"),
        (
            "import not_installed_anywhere.views\n",
            "asgi.py, line 1: ModuleNotFoundError: No module named 'not_installed_anywhere'",
            "Install the package that provides 'not_installed_anywhere'",
        ),
        (
            "from json import lods\n",
            "asgi.py, line 1: ImportError",
            "Check the spelling of what is imported from json.",
        ),
        ("a = 1\nb = (\n", "asgi.py, line 2: SyntaxError: '(' was never closed", "Mend that line"),
        (
            "def deep():\n    return 1 / 0\n\ndeep()\n",
            "asgi.py, line 2: ZeroDivisionError: division by zero",
            "--traceback shows",
        ),
        ("import json\njson.loads('x')\n", "asgi.py, line 2: JSONDecodeError", "Mend that line"),
        ("import sys\nsys.exit(3)\n", "asgi.py, line 2: SystemExit", "--traceback"),
        (
            "from django.core.exceptions import ImproperlyConfigured\n"
            "raise ImproperlyConfigured('Set SECRET_KEY')\n",
            "asgi.py, line 2: ImproperlyConfigured: Set SECRET_KEY",
            "Mend it in the project's settings.",
        ),
    ],
)
def test_the_place_the_cause_and_the_mend(write: Write, source: str, says: str, mend: str) -> None:
    error = explained(write("asgi.py", source))
    assert error.message.startswith(says)
    assert mend in error.mend


def test_a_failure_outside_the_projects_code_says_what_was_done() -> None:
    with pytest.raises(ProjectError) as caught, explaining("setting up the apps"):
        importlib.import_module("not_installed_anywhere")
    # The test itself counts as the project's code here, as it would be: it did the import.
    assert "not_installed_anywhere" in caught.value.message
    assert "setting up the apps" in caught.value.message


def test_a_project_error_is_passed_on_as_it_is() -> None:
    error = ProjectError("cause", "mend")
    with pytest.raises(ProjectError) as caught, explaining("importing it"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("source", "setting", "mend"),
    [
        (
            "aplication = print\n",
            "ASGI_APPLICATION",
            "Did you mean aplication? Rename it to application, or say ASGI_APPLICATION = "
            '"explained_asgi.aplication" in the settings.',
        ),
        (
            "from os import path\ndef app(scope): ...\n",
            "--asgi",
            "Did you mean --asgi explained_asgi:app?",
        ),
        (
            "import os\nfrom json import loads\nVALUE = 3\n",
            "ASGI_APPLICATION",
            "Define application in it: the callable that a server calls.",
        ),
    ],
)
def test_a_missing_application(write: Write, source: str, setting: str, mend: str) -> None:
    module = load(write("asgi.py", source))
    error = missing_attribute(module, "application", setting)
    assert error.message == "asgi.py has no attribute 'application'."
    assert error.mend == mend
