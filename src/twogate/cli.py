"""The command ``twogate``: reads the command line, says clearly what is wrong, starts the server.

It is the top: it may import every room and no room imports it. It runs in the process that the
user started; the applications are loaded by the workers.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from twogate import __version__
from twogate.config import GROUPS, OPTIONS, Config, Option, find_file, read_file, resolve
from twogate.errors import ConfigError, ProjectError, TwogateError
from twogate.observe.startup import Style, announce, describe, warn

__all__ = ["main"]

#: What a worker imports to get its :class:`~twogate.dispatch.Applications`.
LOADER = "twogate.django.project:load"

FINE, FAILED, WRONG_USE = 0, 1, 2

_EXAMPLES = """\
examples:
  twogate serve                             the Django project in this folder
  twogate serve path/to/project             the one in another folder
  twogate serve mysite.settings.production  with these settings
  twogate serve -b 0.0.0.0:80 -w 4          on every interface, with four workers
  twogate serve -b unix:/run/site.sock      on a UNIX socket, behind a proxy
  twogate serve --reload                    start anew when code changes
  twogate serve --wsgi shop:app --asgi chat:app
                                            any two applications on one port
  twogate serve --print-config              each option and where its value came from

Each option can also be set in the environment (--graceful-timeout is
TWOGATE_GRACEFUL_TIMEOUT) and in pyproject.toml, found in the project's folder or
above it:

  [tool.twogate]
  bind = ["127.0.0.1:8000"]
  graceful-timeout = 10

The command line wins over the environment, the environment over the file.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: the command line without the program's name; ``sys.argv`` by default.
    :return: the exit status: 0 fine, 1 the project or a worker failed, 2 wrong use.
    """
    parser = _parser()
    known = parser.parse_args(arguments)
    if known.command is None:
        parser.print_help(sys.stderr)
        return WRONG_USE
    try:
        return _serve(known)
    except TwogateError as error:
        if known.traceback:
            traceback.print_exc()
        _complain(error)
        return WRONG_USE if isinstance(error, ConfigError) else FAILED
    except KeyboardInterrupt:
        return FINE


# The command line.


class _Parser(argparse.ArgumentParser):
    """Suggests the option that was probably meant."""

    def error(self, message: str) -> NoReturn:
        unknown = re.search(r"unrecognized arguments: (--?[^\s=]+)", message)
        command = re.search(r"invalid choice: '([^']*)'", message)
        if unknown is not None:
            message = f"there is no option {unknown[1]}{_suggestion(unknown[1], _all_flags())}"
        elif command is not None:
            message = f"there is no command {command[1]!r}{_suggestion(command[1], ['serve'])}"
        style = Style(sys.stderr)
        mend = f"{self.prog} --help lists what there is."
        self.exit(WRONG_USE, f"{style.red('error:')} {message}\n{style.bold('mend:')}  {mend}\n")


def _suggestion(given: str, known: list[str]) -> str:
    close = difflib.get_close_matches(given, known, n=1)
    return f"; did you mean {close[0]}?" if close else "."


def _all_flags() -> list[str]:
    return ["--print-config", "--check-config", *(option.flag for option in OPTIONS)]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="twogate",
        description="The server for Django that opens both of its doors, WSGI and ASGI, on one"
        " port.",
        epilog="twogate serve --help tells more.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"twogate {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_serve(commands)
    return parser


def _add_serve(commands: Any) -> None:
    serve = commands.add_parser(
        "serve",
        help="serve a Django project, or any WSGI and ASGI applications",
        description="Serve a Django project over HTTP and WebSocket on one port. Sync views go"
        " through the WSGI gateway, async views and WebSockets through the ASGI gateway.",
        epilog=_EXAMPLES,
        usage="twogate serve [PROJECT] [option ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    serve.add_argument(
        "project",
        nargs="?",
        metavar="PROJECT",
        help="a folder with manage.py in it, or a settings module; else the project in this folder",
    )
    only = serve.add_argument_group("looking without serving")
    only.add_argument(
        "--print-config", action="store_true", help="print each option and where it came from"
    )
    only.add_argument(
        "--check-config", action="store_true", help="check the options, load the project and stop"
    )
    for name, description in GROUPS.items():
        group = serve.add_argument_group(name, description)
        for option in OPTIONS:
            if option.group == name:
                _add_option(group, option)


def _add_option(group: Any, option: Option) -> None:
    described = f"{option.help} (default: {_spell(option.default)})".replace("%", "%%")
    flags = (*option.aliases, option.flag)
    kind: dict[str, Any] = {"action": "append"} if option.many else {"action": "store"}
    if option.is_switch:
        kind = {"action": argparse.BooleanOptionalAction}
    else:
        kind["metavar"] = option.metavar
    group.add_argument(*flags, dest=option.name, default=None, help=described, **kind)


def _spell(value: object) -> str:
    """A value as people write it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value) or "off"


# Configuration.


def _configure(known: argparse.Namespace) -> Config:
    """Put the options together and go to the project's folder."""
    flags = {option.name: getattr(known, option.name) for option in OPTIONS}
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


# What is done.


def _serve(known: argparse.Namespace) -> int:
    config = _configure(known)
    if known.print_config:
        return _print_config(config)
    if known.check_config:
        return _check_config(config)
    return _start(config)


def _print_config(config: Config) -> int:
    rows = [
        (option.key, _spell(value), config.source(option.name)) for option, value in config.items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, value, source in rows:
        print(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {source}")
    _warn(config)
    return FINE


def _warn(config: Config) -> None:
    for line in warn([], config.warnings, Style(sys.stderr)):
        print(line, file=sys.stderr)


def _check_config(config: Config) -> int:
    from twogate.django.project import load

    notes = load(config).notes
    for line in (*describe(notes), *warn(notes, config.warnings, Style(sys.stdout))):
        print(line)
    print("The configuration is fine and the project loads.")
    return FINE


def _start(config: Config) -> int:
    from twogate.django.discovery import find_project
    from twogate.observe import logs
    from twogate.process import supervisor

    if config.wsgi is None and config.asgi is None:
        find_project(config)  # here, where its absence can be told plainly
    logs.configure(config)
    return supervisor.serve(config, load=LOADER, observer=logs.make_observer, announce=announce)


def _complain(error: TwogateError) -> None:
    style = Style(sys.stderr)
    for label, text in _explanation(error):
        colour = style.red if label == "error:" else style.bold
        print(f"{colour(label):<6} {text}", file=sys.stderr)


def _explanation(error: TwogateError) -> Iterator[tuple[str, str]]:
    if isinstance(error, ProjectError):
        yield "error:", error.message
        if error.mend:
            yield "mend:", error.mend
    else:
        yield "error:", str(error)
