"""``twogate serve``: starts the server, or tells what it would do.

It runs in the process that the user started; the applications are loaded by the workers.
"""

from __future__ import annotations

import argparse
import atexit
import os
import shutil
import sys
import tempfile
from typing import Any

from twogate.cli.configure import add_option, add_project, configure, spell
from twogate.cli.parser import FINE
from twogate.config import GROUPS, OPTIONS, Config
from twogate.observe.startup import Style, announce, describe, warn

__all__ = ["add", "run"]

#: What a worker imports to get its :class:`~twogate.dispatch.Applications`.
LOADER = "twogate.django.project:load"

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


def add(commands: Any) -> argparse.ArgumentParser:
    """Describe the command."""
    serve: argparse.ArgumentParser = commands.add_parser(
        "serve",
        help="serve a Django project, or any WSGI and ASGI applications",
        description="Serve a Django project over HTTP and WebSocket on one port. Sync views go"
        " through the WSGI gateway, async views and WebSockets through the ASGI gateway.",
        epilog=_EXAMPLES,
        usage="twogate serve [PROJECT] [option ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_project(serve)
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
                add_option(group, option)
    return serve


# What is done.


def run(known: argparse.Namespace) -> int:
    """Serve, or only look."""
    config = configure(known)
    if known.print_config:
        return _print_config(config)
    if known.check_config:
        return _check_config(config)
    return _start(config)


def _print_config(config: Config) -> int:
    rows = [
        (option.key, spell(value), config.source(option.name)) for option, value in config.items()
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
    if config.trace:
        config.trace_folder = _make_folder()
    return supervisor.serve(config, load=LOADER, observer=logs.make_observer, announce=announce)


def _make_folder() -> str:
    """A folder of our own for the traces of all workers, until this process ends."""
    folder, owner = tempfile.mkdtemp(prefix="twogate-traces-"), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # the workers run exit functions, too
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder
