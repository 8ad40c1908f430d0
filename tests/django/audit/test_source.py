from __future__ import annotations

import ast
from pathlib import Path

import pytest

from twogate.django.audit.source import Code, Source, dotted, imports_of, own_nodes
from twogate.django.discovery import Project
from twogate.errors import ProjectError


def source(folder: Path, files: dict[str, str], settings: str = "mysite.settings") -> Source:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Source(Project(settings, folder, "a test"))


def test_the_last_word_on_a_setting_counts(tmp_path: Path) -> None:
    files = {
        "mysite/settings/base.py": "A = 'base'\nB = 'base'\nC: str = 'c'\n",
        "mysite/settings/local.py": "A = 'local'\n",
        "mysite/settings/dev.py": (
            "from .base import *\nB = 'dev'\nif B:\n    B = 'later'\n"
            "from mysite.settings.local import *\n"
        ),
    }
    found = source(tmp_path, files, "mysite.settings.dev")
    folder = tmp_path / "mysite/settings"
    assert found.setting("A") == (folder / "local.py", 1)
    assert found.setting_text("A") == "local"
    assert found.setting("B") == (folder / "dev.py", 4)
    assert found.setting("C") == (folder / "base.py", 3)
    assert found.setting("D") == (folder / "dev.py", 1)
    assert found.setting_text("D") is None


def test_settings_that_import_each_other_have_an_end(tmp_path: Path) -> None:
    files = {"a.py": "from b import *\n", "b.py": "from a import *\nX = 1\n"}
    assert source(tmp_path, files, "a").setting("X") == (tmp_path / "b.py", 2)


def test_settings_may_be_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="not in"):
        source(tmp_path, {}).setting("A")


def test_a_file_that_is_no_python_says_where(tmp_path: Path) -> None:
    code = source(tmp_path, {"a.py": "x = 1\ndef f(:\n"}).read(tmp_path / "a.py")
    assert code is not None and code.error is not None
    assert code.error[1] == 2
    assert code.tree is None


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"x = '\x00'", b"# coding: nothing\n"])
def test_a_file_may_be_anything(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.py").write_bytes(data)
    code = source(tmp_path, {}).read(tmp_path / "a.py")
    assert code is not None and code.error is not None


@pytest.mark.parametrize(
    ("line", "ignored"),
    [
        ("x  # twogate: ignore[W202]", True),
        ("x  # twogate: ignore[E201, twogate.W202]", True),
        ("x  # noqa  # twogate: ignore", True),
        ("x  #twogate:ignore[W202]", True),
        ("x  # twogate: ignore[E201]", False),
        ("x", False),
    ],
)
def test_a_comment_in_the_line_leaves_a_finding_out(line: str, ignored: bool) -> None:
    code = Code(Path("/a.py"), f"first\n{line}\n".encode())
    assert code.ignores(2, "W202") is ignored
    assert not code.ignores(1, "W202")
    assert not code.ignores(9, "W202")


def test_what_is_installed_or_generated_is_not_the_projects(tmp_path: Path) -> None:
    files = {
        "shop/views.py": "", "shop/migrations/0001.py": "", "shop/tests/test_a.py": "",
        "shop/management/commands/run.py": "", "manage.py": "", ".cache/a.py": "",
        "env/pyvenv.cfg": "", "env/lib/a.py": "", "node_modules/a.py": "",
        "lib/site-packages/a.py": "", "shop/conftest.py": "", "shop/latest.py": "",
    }  # fmt: skip
    found = source(tmp_path, files)
    names = {code.file.relative_to(tmp_path).as_posix() for code in found.serving_code()}
    assert names == {"shop/views.py", "shop/latest.py"}
    assert found.is_own(tmp_path / "shop/views.py")
    assert not found.is_own(tmp_path / "env/lib/a.py")
    assert not found.is_own(Path("/usr/lib/a.py"))
    assert found.module("shop.views") == tmp_path / "shop/views.py"
    assert found.module("shop.nothing") is None


def test_names_stand_for_what_was_imported() -> None:
    tree = ast.parse("import a.b, c as d\nfrom e import f as g\nfrom . import h\nfrom .i import j")
    assert imports_of(ast.walk(tree)) == {
        "a": "a", "d": "c", "g": "e.f", "h": ".h", "j": ".i.j"
    }  # fmt: skip
    assert dotted(ast.parse("a.b.c", mode="eval").body) == "a.b.c"
    assert dotted(ast.parse("a().b", mode="eval").body) is None


def test_what_a_module_runs_itself() -> None:
    tree = ast.parse(
        "if x: a = 1\ndef f(): b = 1\nclass C: c = 1\n"
        "if TYPE_CHECKING: d = 1\ntry: e = 1\nexcept E: pass\n"
    )
    names = {n.id for n in own_nodes(tree) if isinstance(n, ast.Name)}
    assert names == {"x", "a", "e", "E"}
