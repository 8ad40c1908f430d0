"""``twogate new``: makes a project with both doors, or adds the ones that a project lacks."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from pathlib import Path
from typing import Any

from twogate.cli.parser import FAILED, FINE
from twogate.config import resolve
from twogate.errors import ConfigError, ProjectError
from twogate.observe.startup import Style

__all__ = ["add", "run"]

_FEATURES = {
    "chat": "a chat built with Channels, for all who open its page",
    "postgres": "PostgreSQL with a pool of connections in place of SQLite",
    "redis": "real time over Redis or Valkey, for several machines",
}
_EXAMPLES = """\
examples:
  twogate new shop                      a project in the new folder shop
  twogate new shop --with chat,postgres
  twogate new shop sites/shop           in another folder
  twogate new --here                    show what the project in this folder lacks,
                                        then ask whether to add it
  twogate new --here --yes              add it at once
"""


def add(commands: Any) -> argparse.ArgumentParser:
    """Describe the command."""
    new: argparse.ArgumentParser = commands.add_parser(
        "new",
        help="make a project with both doors, or add what one lacks",
        description="Make a Django project with wsgi.py and asgi.py, an example of each kind of"
        " view, a WebSocket and tests. With --here, add only what the project in this folder"
        " lacks of the two doors.",
        epilog=_epilog(),
        usage="twogate new NAME [FOLDER] [--with chat,postgres,redis]\n"
        "       twogate new --here [--yes]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    new.add_argument("name", nargs="?", metavar="NAME", help="of the project and its package")
    new.add_argument("folder", nargs="?", metavar="FOLDER", help="where; by default NAME")
    new.add_argument(
        "--with", dest="features", action="append", metavar="FEATURES", help="separated by commas"
    )
    new.add_argument(
        "--here", action="store_true", help="add what is missing to the project in this folder"
    )
    new.add_argument("--yes", "-y", action="store_true", help="with --here, do not ask")
    new.set_defaults(wrong=new.error)
    return new


def _epilog() -> str:
    rows = "".join(f"  {name:<10}{what}\n" for name, what in _FEATURES.items())
    return f"what --with may name:\n{rows}\n{_EXAMPLES}"


def run(known: argparse.Namespace) -> int:
    """Make a project, or complete one."""
    _check(known)
    try:
        import django  # noqa: F401
    except ModuleNotFoundError as error:
        raise ProjectError("Django is not installed.", "pip install 'twogate[django]'") from error
    return _complete(known.yes) if known.here else _make(known)


def _check(known: argparse.Namespace) -> None:
    if known.here and known.name is not None:
        known.wrong(f"--here is about the project in this folder: leave {known.name} out.")
    if known.here and known.features:
        known.wrong("--with goes with a new project, not with --here.")
    if not known.here and known.name is None:
        known.wrong("name the project: twogate new shop; or give --here.")
    if not known.here and known.yes:
        known.wrong("--yes goes with --here: a new project is made without asking.")


def _features(given: list[str] | None) -> set[str]:
    names = {name.strip() for part in given or () for name in part.split(",") if name.strip()}
    for name in sorted(names.difference(_FEATURES)):
        close = difflib.get_close_matches(name, _FEATURES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(_FEATURES)}."
        raise ConfigError("--with", name, "command line", f"There is no such feature; {hint}")
    return names


def _make(known: argparse.Namespace) -> int:
    features = _features(known.features)
    from twogate.django.new import project_files, write_project

    files = project_files(known.name, features)
    folder = Path(known.folder or known.name)
    write_project(folder, files)
    style = Style(sys.stdout)
    print(f"Made {style.bold(known.name)} in {folder}: {len(files)} files.\n")
    print("Next:")
    for command, what in _next_steps(folder, known.name, features):
        print(f"  {style.bold(f'{command:<28}')}  {what}")
    return FINE


def _next_steps(folder: Path, name: str, features: set[str]) -> list[tuple[str, str]]:
    steps = [(f"cd {folder}", "")]
    if "postgres" in features:
        steps.append((f"createdb {name}", "the database; pip install 'psycopg[binary,pool]'"))
    return [
        *steps,
        ("twogate serve --reload", "http://127.0.0.1:8000"),
        ("python manage.py migrate", "tables, for the admin and its logins"),
        ("python manage.py test", "the project's tests"),
    ]


def _complete(sure: bool) -> int:
    from twogate.django.discovery import find_project
    from twogate.django.new import add as write
    from twogate.django.new import diff, missing

    here = Path.cwd()
    additions = missing(find_project(resolve({}, os.environ, None, None), here))
    style = Style(sys.stdout)
    if not additions:
        print("Nothing is missing: both doors and the settings that name them are there.")
        return FINE
    for line in diff(additions, here).splitlines():
        added = line.startswith("+") and not line.startswith("+++")
        print(style.green(line) if added else line)
    if not (sure or _agreed()):
        print("Nothing was changed; twogate new --here --yes adds it.", file=sys.stderr)
        return FAILED
    write(additions)
    print(f"Added {len(additions)} pieces; nothing that was there is changed.")
    return FINE


def _agreed() -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        return input("Add this? [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        return False
