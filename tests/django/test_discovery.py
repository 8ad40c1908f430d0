from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from twogate.config import Config, resolve
from twogate.django.discovery import find_project
from twogate.errors import ProjectError

Write = Callable[[str, str], Path]

MANAGE = """
import os, sys
raise SystemExit("manage.py was run")
def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
"""


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)


def test_manage_py_is_read_and_not_run(tmp_path: Path, write: Write) -> None:
    write("manage.py", MANAGE)
    project = find_project(Config(), tmp_path)
    assert (project.settings, project.found_by) == ("mysite.settings", "manage.py")
    assert project.root == tmp_path.resolve()


def test_manage_py_is_found_upward(tmp_path: Path, write: Write) -> None:
    write("manage.py", MANAGE)
    below = write("mysite/polls/views.py", "").parent
    assert find_project(Config(), below).root == tmp_path.resolve()


@pytest.mark.parametrize(
    "line",
    [
        'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "a.settings")',
        'environ.setdefault("DJANGO_SETTINGS_MODULE", "a.settings")',
        'os.environ["DJANGO_SETTINGS_MODULE"] = "a.settings"',
        'if "test" in sys.argv:\n    os.environ["DJANGO_SETTINGS_MODULE"] = "a.test"\n'
        'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "a.settings")',
    ],
)
def test_the_ways_to_name_settings(tmp_path: Path, write: Write, line: str) -> None:
    write("manage.py", line)
    assert find_project(Config(), tmp_path).settings == "a.settings"


def test_the_option_wins_over_the_environment_over_manage_py(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("manage.py", MANAGE)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "from.environment")
    project = find_project(Config(), tmp_path)
    assert (project.settings, project.found_by) == ("from.environment", "DJANGO_SETTINGS_MODULE")
    config = resolve({"settings": "from.option"}, {})
    project = find_project(config, tmp_path)
    assert (project.settings, project.found_by) == ("from.option", "command line")
    assert project.root == tmp_path.resolve()


def test_no_project_says_where_it_looked_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        find_project(Config(), tmp_path)
    assert str(tmp_path) in caught.value.message
    assert "twogate serve path/to/project" in caught.value.mend


def test_a_project_one_folder_below_is_suggested(tmp_path: Path, write: Write) -> None:
    write("shop/manage.py", MANAGE)
    with pytest.raises(ProjectError) as caught:
        find_project(Config(), tmp_path)
    assert caught.value.mend == "There is one in shop: twogate serve shop"


@pytest.mark.parametrize(
    ("content", "says"),
    [("def main(:\n", "line 1: SyntaxError"), ("import os\n", "names no settings module")],
)
def test_a_manage_py_that_cannot_be_read_is_named(
    tmp_path: Path, write: Write, content: str, says: str
) -> None:
    path = write("manage.py", content)
    with pytest.raises(ProjectError, match=says) as caught:
        find_project(Config(), tmp_path)
    assert str(path.resolve()) in caught.value.message
