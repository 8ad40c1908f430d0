"""``twogate check``: audits a project without serving it. What is found and how it is shown is
:mod:`twogate.django.audit`'s.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from twogate.cli.configure import add_option, add_project, configure
from twogate.cli.parser import FAILED, FINE
from twogate.config import OPTIONS
from twogate.errors import ConfigError, ProjectError

if TYPE_CHECKING:
    from twogate.django.audit import Audit

__all__ = ["add", "run"]

_EXAMPLES = """\
examples:
  twogate check                         the Django project in this folder
  twogate check path/to/project         the one in another folder
  twogate check --workers 4             as it would be served by four workers
  twogate check --fail-level warning    for CI: fail at warnings, too
  twogate check --format sarif --output twogate.sarif
  twogate check --ignore W402,I010

A line with the comment "# twogate: ignore[W202]" has no finding of that kind, and
TWOGATE_CHECK_IGNORE = ["twogate.W402"] in the settings leaves one out everywhere.
"""
#: What of ``serve`` changes what is found.
_OPTIONS = ("settings", "chdir", "gateway", "bind", "workers", "websocket_origins", "traceback")


def add(commands: Any) -> argparse.ArgumentParser:
    """Describe the command."""
    check: argparse.ArgumentParser = commands.add_parser(
        "check",
        help="audit a project without serving it",
        description="Look for what breaks or slows a project that mixes sync and async: in its"
        " entry points, views, middleware, WebSockets, databases and settings. Requests are sent"
        " through the project's middleware to a view that does nothing, to count how often they"
        " cross between event loop and threads.",
        epilog=_EXAMPLES,
        usage="twogate check [PROJECT] [option ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_project(check)
    report = check.add_argument_group("the report")
    report.add_argument("--format", choices=("text", "json", "sarif"), default="text")
    report.add_argument("--output", metavar="FILE", help="write it there; - is standard output")
    report.add_argument("--all", action="store_true", help="show every URL pattern")
    report.add_argument(
        "--ignore", action="append", default=[], metavar="ID",
        help="leave out this kind of finding, for example twogate.W202; may be repeated",
    )  # fmt: skip
    report.add_argument(
        "--fail-level",
        choices=("error", "warning", "info", "never"),
        default="error",
        help="end with status 1 at findings of this level and worse (default: error)",
    )
    report.add_argument(
        "--no-probe", action="store_true",
        help="send no request through the middleware and connect to no database",
    )  # fmt: skip
    serving = check.add_argument_group("as it would be served")
    for option in OPTIONS:
        if option.name in _OPTIONS:
            add_option(serving, option)
    return check


def run(known: argparse.Namespace) -> int:
    """Audit, report, and judge."""
    output = Path(known.output).absolute() if known.output not in (None, "-") else None
    config = configure(known)
    try:
        from twogate.django.audit import audit, parse_ignored
        from twogate.django.audit.reports import text  # noqa: F401 - is Rich there?
    except ModuleNotFoundError as error:
        raise ProjectError(
            f"twogate check needs {error.name}, which is not installed for this Python.",
            f"Install it: {sys.executable} -m pip install 'twogate[django]'",
        ) from error
    try:
        ignored = parse_ignored(known.ignore)
    except ValueError as error:
        given = ",".join(known.ignore)
        raise ConfigError("--ignore", given, "command line", str(error)) from error
    result = audit(config, ignored, probing=not known.no_probe)
    with _opened(output) as stream:
        _report(known, result, stream)
    return _leave(_judge(known.fail_level, result))


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    try:
        with output.open("w", encoding="utf-8") as file:
            yield file
    except OSError as error:
        message = f"This file cannot be written: {error.strerror}."
        raise ConfigError("--output", str(output), "command line", message) from error


def _report(known: argparse.Namespace, result: Audit, stream: TextIO) -> None:
    if known.format == "text":
        from twogate.django.audit.reports.text import write_text

        write_text(result, stream, known.all)
    elif known.format == "json":
        from twogate.django.audit.reports.document import as_json

        stream.write(as_json(result) + "\n")
    else:
        from twogate.django.audit.reports.sarif import as_sarif

        stream.write(as_sarif(result) + "\n")


def _leave(status: int) -> int:
    """The exit status; at once if there are threads left that Python would wait for."""
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _judge(level: str, result: Audit) -> int:
    from twogate.django.audit.finding import Level

    worst = result.worst()
    if level == "never" or worst is None:
        return FINE
    return FAILED if worst >= Level[level.upper()] else FINE
