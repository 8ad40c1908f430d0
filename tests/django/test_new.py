from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twogate.django.discovery import Project
from twogate.django.new import Addition, add, diff, missing, project_files, write_project
from twogate.errors import ProjectError

FEATURES = [(), ("chat",), ("postgres",), ("redis",), ("chat", "postgres", "redis")]


@pytest.mark.parametrize("features", FEATURES, ids=lambda names: "+".join(names) or "plain")
def test_what_is_written_is_sound(features: tuple[str, ...]) -> None:
    files = project_files("shop", features)
    assert {Path("manage.py"), Path("shop/wsgi.py"), Path("shop/asgi.py")} <= set(files)
    assert (Path("chat/views.py") in files) == ("chat" in features)
    for path, text in files.items():
        if path.suffix == ".py":
            ast.parse(text)
        if path.suffix not in {".html"}:
            assert "{%" not in text and "{{" not in text, path
        assert text == "" or text.endswith("\n"), path
    settings = files[Path("shop/settings.py")]
    assert 'WSGI_APPLICATION = "shop.wsgi.application"\n' in settings
    assert 'ASGI_APPLICATION = "shop.asgi.application"\n' in settings
    assert ("postgresql" in settings) == ("postgres" in features)


def test_each_project_has_a_key_of_its_own() -> None:
    settings = Path("shop/settings.py")
    assert project_files("shop", ())[settings] != project_files("shop", ())[settings]


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("my-shop", "for example my_shop"),
        ("", "Use letters"),
        ("class", "Use letters"),
        ("1st", "Use letters"),
        ("caf\u00e9", "for example caf"),
        ("../up", "for example up"),
        ("pages", "Choose another"),
        ("chat", "Choose another"),
        ("json", "Choose another"),
    ],
)
def test_names_that_no_project_can_have(name: str, mend: str) -> None:
    with pytest.raises(ProjectError) as caught:
        project_files(name, ())
    assert mend in caught.value.mend


@given(st.text(max_size=20))
def test_a_name_is_taken_or_refused(name: str) -> None:
    try:
        files = project_files(name, ())
    except ProjectError as error:
        assert error.mend
    else:
        assert Path(name, "settings.py") in files


def test_all_or_nothing_is_written(tmp_path: Path) -> None:
    target = tmp_path / "shop"
    files = {Path("a/b.py"): "1\n", Path("a"): "a file cannot be where a folder is\n"}
    with pytest.raises(ProjectError):
        write_project(target, files)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/mine.txt").write_text("mine")
    with pytest.raises(ProjectError, match="there already"):
        write_project(tmp_path / "shop", {Path("manage.py"): ""})
    assert [file.name for file in (tmp_path / "shop").iterdir()] == ["mine.txt"]


def test_manage_py_can_be_run(tmp_path: Path) -> None:
    write_project(tmp_path / "shop", project_files("shop", ()))
    assert os.access(tmp_path / "shop/manage.py", os.X_OK)
    assert (tmp_path / "shop").stat().st_mode & 0o777 == 0o777 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Adding to a project that is there.


def _project(root: Path, files: dict[str, str], settings: str = "site.settings") -> Project:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Project(settings, root, "manage.py")


def test_what_is_missing_is_added_and_the_rest_stays(tmp_path: Path) -> None:
    project = _project(
        tmp_path,
        {
            "mysite/settings.py": 'DEBUG = True\nWSGI_APPLICATION = "mysite.wsgi.application"',
            "mysite/wsgi.py": "application = None\n",
        },
        "mysite.settings",
    )
    additions = missing(project)
    assert [addition.path.name for addition in additions] == ["asgi.py", "settings.py"]
    shown = diff(additions, tmp_path)
    assert "--- /dev/null\n+++ b/mysite/asgi.py\n" in shown
    assert '+ASGI_APPLICATION = "mysite.asgi.application"\n' in shown
    assert not any(line.startswith("-") and "---" not in line for line in shown.splitlines())
    add(additions)
    assert (tmp_path / "mysite/wsgi.py").read_text() == "application = None\n"
    settings = (tmp_path / "mysite/settings.py").read_text()
    assert settings.startswith('DEBUG = True\nWSGI_APPLICATION = "mysite.wsgi.application"\n')
    assert missing(project) == []


def test_settings_in_several_files(tmp_path: Path) -> None:
    project = _project(
        tmp_path,
        {
            "mysite/settings/base.py": 'WSGI_APPLICATION = "mysite.wsgi.application"\n',
            "mysite/settings/dev.py": "from .base import *\nfrom mysite.settings.other import *\n",
            "mysite/settings/other.py": 'if True:\n    ASGI_APPLICATION: str = "x.y"\n',
        },
        "mysite.settings.dev",
    )
    paths = [addition.path.relative_to(tmp_path) for addition in missing(project)]
    assert paths == [Path("mysite/wsgi.py"), Path("mysite/asgi.py")]


def test_settings_that_import_each_other_in_a_circle(tmp_path: Path) -> None:
    files = {
        "mysite/settings.py": "from .other import *\n",
        "mysite/other.py": "from .settings import *\n",
    }
    assert len(missing(_project(tmp_path, files, "mysite.settings"))) == 3


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "is not in"),
        ({"mysite/settings.py": "def"}, "line 1: SyntaxError"),
        ({"mysite/settings.py": "from .base import *", "mysite/base.py": "("}, "base.py, line 1"),
    ],
)
def test_settings_that_cannot_be_read(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(ProjectError, match=message):
        missing(_project(tmp_path, files, "mysite.settings"))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "asgi.py"
    addition = Addition(file, None, "new\n")
    file.write_text("written meanwhile\n")
    with pytest.raises(ProjectError):
        add([addition])
    with pytest.raises(ProjectError, match="meanwhile"):
        add([Addition(file, "as it was", "new\n")])
    assert file.read_text() == "written meanwhile\n"
    assert [each.name for each in tmp_path.iterdir()] == ["asgi.py"]
