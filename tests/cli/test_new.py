from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.shell import Shell, says


@pytest.mark.parametrize("features", ["", "chat"])
def test_a_new_project_passes_its_tests_and_is_served(tmp_path: Path, features: str) -> None:
    outside = Shell(tmp_path)
    done = outside("new", "shop", *(["--with", features] if features else []))
    assert done.returncode == 0, done.stderr
    assert "twogate serve" in done.stdout
    shell = Shell(tmp_path / "shop")
    tested = subprocess.run(
        [sys.executable, "-W", "error", "manage.py", "test"], cwd=shell.folder,
        env=shell.environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stderr
    assert "no issues (0 silenced)" in tested.stdout + tested.stderr
    with shell.serving() as served:
        assert "through WSGI" in served.get("/")[1].replace("<strong>", "")
        assert "through ASGI" in served.get("/clock/")[1].replace("<strong>", "")
        assert served.get("/count/")[1].split() == [str(n) for n in range(1, 11)]
        assert served.get("/static/pages/echo.js")[0] == 200


def test_a_project_with_one_door_gets_the_other(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    done = shell("new", "shop")
    inside = Shell(tmp_path / "shop")
    asgi = inside.folder / "shop/asgi.py"
    asgi.unlink()
    done = inside("new", "--here")
    assert done.returncode == 1  # nobody was there to be asked
    assert "+application = get_asgi_application()" in done.stdout
    assert not asgi.exists()
    done = inside("new", "--here", "--yes")
    assert done.returncode == 0, done.stderr
    assert "get_asgi_application" in asgi.read_text()
    assert "Nothing is missing" in inside("new", "--here").stdout


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        ([], 2, "name the project"),
        (["shop", "--with", "chatt"], 2, "did you mean chat?"),
        (["shop", "--with", "nothing"], 2, "there are chat, postgres, redis"),
        (["shop", "--here"], 2, "leave shop out"),
        (["--here", "--with", "chat"], 2, "new project"),
        (["shop", "--yes"], 2, "--here"),
        (["my-shop"], 1, "my_shop"),
        (["--here"], 1, "No Django project"),
    ],
)
def test_wrong_use(tmp_path: Path, arguments: list[str], status: int, part: str) -> None:
    says(Shell(tmp_path)("new", *arguments), status, "error:", part)
    assert list(tmp_path.iterdir()) == []
