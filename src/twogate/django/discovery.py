"""Finds the project: which settings module, and which folder its code is imported from.

Reads ``manage.py`` without running it and imports nothing of Django, so the command line can say
that there is no project before a worker is started.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from twogate.config import Config
from twogate.errors import ProjectError

__all__ = ["Project", "find_project"]

_VARIABLE = "DJANGO_SETTINGS_MODULE"


@dataclass(slots=True, frozen=True)
class Project:
    """A Django project that was found.

    :ivar settings: the dotted name of its settings module.
    :ivar root: the folder that its packages are imported from, as ``manage.py`` would.
    :ivar found_by: what named the settings module, in words.
    """

    settings: str
    root: Path
    found_by: str


def find_project(config: Config, start: Path | None = None) -> Project:
    """Find the project from the option, else the environment, else ``manage.py``.

    :param start: the folder to look in, and above; the working directory by default.
    :raises ProjectError: there is none.
    """
    start = (start or Path.cwd()).resolve()
    manage = _find_manage(start)
    root = manage.parent if manage is not None else start
    if config.settings is not None:
        return Project(config.settings, root, _source_of(config))
    if os.environ.get(_VARIABLE):
        return Project(os.environ[_VARIABLE], root, _VARIABLE)
    if manage is None:
        raise _no_project(start)
    return Project(_settings_in(manage), root, "manage.py")


def _source_of(config: Config) -> str:
    return config.source("settings")


def _find_manage(start: Path) -> Path | None:
    folders = (start, *start.parents)
    return next((file for d in folders if (file := d / "manage.py").is_file()), None)


def _no_project(start: Path) -> ProjectError:
    below = sorted(file.parent.name for file in _manage_below(start))
    mend = (
        "Go to the folder with manage.py, or name it: twogate serve path/to/project, or"
        " twogate serve mysite.settings. Any other application: --wsgi module:name or"
        " --asgi module:name."
    )
    if below:
        mend = f"There is one in {below[0]}: twogate serve {below[0]}"
    message = f"No Django project: no manage.py in {start} or above it, and {_VARIABLE} is not set."
    return ProjectError(message, mend)


def _manage_below(start: Path) -> Iterator[Path]:
    try:
        yield from start.glob("*/manage.py")
    except OSError:
        return


def _settings_in(manage: Path) -> str:
    """What ``manage.py`` sets ``DJANGO_SETTINGS_MODULE`` to; the last word when there are more."""
    try:
        tree = ast.parse(manage.read_bytes())
    except SyntaxError as error:
        raise ProjectError(
            f"{manage}, line {error.lineno}: SyntaxError: {error.msg}",
            "Mend that line.",
            (manage, error.lineno or 1),
        ) from error
    named = [name for node in ast.walk(tree) for name in _settings_named_by(node)]
    if not named:
        raise ProjectError(
            f"{manage} names no settings module that can be read without running it.",
            f"Set {_VARIABLE}, or name it: twogate serve mysite.settings",
        )
    return max(named)[1]


def _settings_named_by(node: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) for ``….setdefault("DJANGO_SETTINGS_MODULE", "name")`` and for
    ``…["DJANGO_SETTINGS_MODULE"] = "name"``."""
    match node:
        case ast.Call(
            func=ast.Attribute(attr="setdefault"),
            args=[ast.Constant(value=variable), ast.Constant(value=str(name))],
        ) if variable == _VARIABLE:
            yield node.lineno, name
        case ast.Assign(
            targets=[ast.Subscript(slice=ast.Constant(value=variable))],
            value=ast.Constant(value=str(name)),
        ) if variable == _VARIABLE:
            yield node.lineno, name
