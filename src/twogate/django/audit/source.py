"""The project's own code as text and syntax trees. Reads files and imports none of them."""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from twogate.django.audit.finding import Place
from twogate.django.discovery import Project
from twogate.django.new import files_of, settings_file

__all__ = ["Code", "Source", "dotted", "imports_of", "own_nodes"]

#: Folders with code that serves nobody, or that somebody else wrote.
_PASSED_OVER = {"node_modules", "site-packages", "dist-packages", "__pycache__", "migrations"}
_TESTS = re.compile(r"(^|/)(tests?/|tests?\.py$|test_[^/]*\.py$|[^/]*_tests?\.py$|conftest\.py$)")
#: Where reading a project stops: nobody has that much code of their own.
_MOST_FILES = 20_000
_IGNORE = re.compile(r"#\s*twogate:\s*ignore(?:\[([^\]]*)\])?")


@dataclass
class Code:
    """A file of Python code, parsed when somebody asks."""

    file: Path
    data: bytes

    @cached_property
    def text(self) -> str:
        """The text, with whatever is not UTF-8 replaced."""
        return self.data.decode("utf-8", "replace")

    @property
    def tree(self) -> ast.Module | None:
        """The syntax tree, or ``None`` when it cannot be parsed."""
        return self._parsed[0]

    @property
    def error(self) -> tuple[str, int] | None:
        """Why it cannot be parsed, and the line."""
        return self._parsed[1]

    @cached_property
    def _parsed(self) -> tuple[ast.Module | None, tuple[str, int] | None]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes are their own business
                return ast.parse(self.data, str(self.file)), None
        except SyntaxError as error:
            return None, (error.msg, error.lineno or 1)
        except (ValueError, RecursionError, MemoryError) as error:
            return None, (str(error), 1)

    def ignores(self, line: int, code: str) -> bool:
        """Whether a comment in that line says ``twogate: ignore``, of all rules or of this one."""
        lines = self.text.splitlines()
        found = _IGNORE.search(lines[line - 1]) if 0 < line <= len(lines) else None
        if found is None:
            return False
        named = {part.strip().removeprefix("twogate.") for part in (found[1] or code).split(",")}
        return code in named


@dataclass
class Source:
    """A project's files, each read and parsed once."""

    project: Project
    _codes: dict[Path, Code | None] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The folder that the project is imported from."""
        return self.project.root

    def read(self, file: Path) -> Code | None:
        """A file, or ``None`` if it cannot be read."""
        if file not in self._codes:
            self._codes[file] = _read(file)
        return self._codes[file]

    def is_own(self, file: Path) -> bool:
        """Whether a file is the project's and no package's that is installed below it."""
        try:
            parts = file.relative_to(self.root).parts
        except ValueError:
            return False
        hidden = any(part.startswith(".") for part in parts)
        return not hidden and not _PASSED_OVER & set(parts) and not self._in_environment(file)

    def _in_environment(self, file: Path) -> bool:
        return any(
            (self.root / parent / "pyvenv.cfg").exists()
            for parent in file.relative_to(self.root).parents
            if parent.parts
        )

    def serving_code(self) -> Iterator[Code]:
        """All files that may take part in an answer: no tests, commands or migrations."""
        for file in self._walk():
            path = file.relative_to(self.root).as_posix()
            if _TESTS.search(path) or "management/commands/" in path or path == "manage.py":
                continue
            code = self.read(file)
            if code is not None:
                yield code

    def _walk(self) -> Iterator[Path]:
        seen = 0
        for folder, folders, files in os.walk(self.root):
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".")
                and name not in _PASSED_OVER
                and not Path(folder, name, "pyvenv.cfg").exists()
            )
            for name in sorted(files):
                if name.endswith(".py"):
                    yield Path(folder, name)
                    seen += 1
            if seen > _MOST_FILES:
                return

    def module(self, name: str) -> Path | None:
        """The file of a module, if it is the project's."""
        place = self.root.joinpath(*name.split("."))
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file() and self.is_own(file):
                return file
        return None

    # Settings.

    @cached_property
    def settings_file(self) -> Path:
        """The settings module.

        :raises ProjectError: it is not in the project.
        """
        return settings_file(self.project)

    def setting(self, name: str) -> Place:
        """Where a setting gets its value, as far as the text tells; else the settings' first line.

        :raises ProjectError: see :attr:`settings_file`.
        """
        found = self._assigned(name)
        return found[:2] if found is not None else (self.settings_file, 1)

    def setting_text(self, name: str) -> str | None:
        """The value of a setting that is a plain string in the text."""
        found = self._assigned(name)
        value = found[2] if found is not None else None
        is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
        return value.value if is_text else None  # type: ignore[union-attr]

    def _assigned(self, name: str) -> tuple[Path, int, ast.expr | None] | None:
        return self._assigned_in(self.settings_file, name, frozenset())

    def _assigned_in(
        self, file: Path, name: str, seen: frozenset[Path]
    ) -> tuple[Path, int, ast.expr | None] | None:
        """The last word on a name, also through ``from .base import *``."""
        code = self.read(file) if file not in seen and file.is_file() else None
        if code is None or code.tree is None:
            return None
        last = None
        for node in own_nodes(code.tree):
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                    last = (file, node.lineno, node.value)
            elif isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                for other in files_of(node, file, self.root):
                    last = self._assigned_in(other, name, seen | {file}) or last
        return last


def _read(file: Path) -> Code | None:
    try:
        return Code(file, file.read_bytes())
    except OSError:
        return None


def own_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """What a module or a function runs itself: all nodes in order, but for the insides of functions
    and classes defined there, and of ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield from own_nodes(node)


def imports_of(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """What names stand for by the imports among these nodes: ``{"sleep": "time.sleep"}``.

    Relative imports keep their dots.
    """
    found = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    found[alias.asname] = alias.name
                else:
                    package = alias.name.partition(".")[0]
                    found[package] = package
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                joint = "" if base.endswith(".") or not base else "."
                found[alias.asname or alias.name] = f"{base}{joint}{alias.name}"
    return found


def dotted(node: ast.AST) -> str | None:
    """``a.b.c`` of names and attributes, or ``None`` for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base is not None else None
    return None
