"""What commands share: which project they are about, and the options that say how it is served."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from twogate.config import OPTIONS, Config, Option, find_file, read_file, resolve
from twogate.errors import ConfigError

__all__ = ["add_option", "add_project", "configure", "spell"]


def add_project(parser: argparse.ArgumentParser) -> None:
    """Let the command line name the project."""
    parser.add_argument(
        "project",
        nargs="?",
        metavar="PROJECT",
        help="a folder with manage.py in it, or a settings module; else the project in this folder",
    )


def add_option(group: Any, option: Option) -> None:
    """Let the command line set an option."""
    described = f"{option.help} (default: {spell(option.default)})".replace("%", "%%")
    flags = (*option.aliases, option.flag)
    kind: dict[str, Any] = {"action": "append"} if option.many else {"action": "store"}
    if option.is_switch:
        kind = {"action": argparse.BooleanOptionalAction}
    else:
        kind["metavar"] = option.metavar
    if option.alone is not None:
        kind.update(nargs="?", const=option.alone)
    group.add_argument(*flags, dest=option.name, default=None, help=described, **kind)


def spell(value: object) -> str:
    """A value as people write it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value) or "off"


def configure(known: argparse.Namespace) -> Config:
    """Put the options together, those a command does not have included, and go to the project's
    folder.

    :raises ConfigError: names the option, its value and where that came from.
    """
    flags = {option.name: getattr(known, option.name, None) for option in OPTIONS}
    _place_project(known.project, flags)
    start = Path(flags["chdir"] or os.environ.get("TWOGATE_CHDIR") or ".")
    path = find_file(start)
    config = resolve(flags, os.environ, read_file(path) if path is not None else None, path)
    if config.chdir is not None:
        base = path.parent if path is not None and config.source("chdir") == str(path) else Path()
        _change_to(base / config.chdir, config)
    return config


def _place_project(project: str | None, flags: dict[str, Any]) -> None:
    """The argument is a folder (or the manage.py in it) or else a settings module."""
    if project is None:
        return
    path = Path(project)
    name = "chdir" if path.exists() or os.sep in project else "settings"
    if flags[name] is not None:
        flag = f"--{name}"
        message = f"It says the same as {flag}; give one of the two."
        raise ConfigError("PROJECT", project, "command line", message)
    if ":" in project:
        message = f"For an application, write --wsgi {project} or --asgi {project}."
        raise ConfigError("PROJECT", project, "command line", message)
    flags[name] = str(path.parent) if path.is_file() else project


def _change_to(folder: Path, config: Config) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        message = f"Twogate cannot change to this folder: {error.strerror}."
        raise ConfigError("--chdir", str(folder), config.source("chdir"), message) from error
