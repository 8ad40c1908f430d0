"""The parser of the command line, which suggests what was probably meant. Runs nothing."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterable
from typing import Any, NoReturn, Protocol

from twogate import __version__
from twogate.observe.startup import Style

__all__ = ["FAILED", "FINE", "WRONG_USE", "Command", "make_parser"]

#: Exit statuses: all is well; the project or a worker failed; the command was used wrongly.
FINE, FAILED, WRONG_USE = 0, 1, 2


class Command(Protocol):
    """A module of this room: one command."""

    def add(self, commands: Any) -> argparse.ArgumentParser:
        """Describe the command: its name, arguments and help.

        :param commands: what ``add_subparsers`` returned.
        """

    def run(self, known: argparse.Namespace) -> int:
        """Do it.

        :return: the exit status.
        :raises TwogateError: it cannot be done; the message says why, and what to do.
        """


def make_parser(commands: Iterable[Command]) -> argparse.ArgumentParser:
    """The parser of all commands; what it returns has their ``run`` as attribute ``run``."""
    parser = _Parser(
        prog="twogate",
        description="The server for Django that opens both of its doors, WSGI and ASGI, on one"
        " port.",
        epilog="twogate COMMAND --help tells more.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"twogate {__version__}")
    parser.set_defaults(traceback=False)
    group = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in commands:
        command.add(group).set_defaults(run=command.run)
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        unknown = re.search(r"unrecognized arguments: (--?[^\s=]+)", message)
        command = re.search(r"invalid choice: '([^']*)' \(choose from ([^)]*)\)", message)
        if unknown is not None:
            message = f"there is no option {unknown[1]}{_suggestion(unknown[1], self._flags())}"
        elif command is not None and "COMMAND" in message:
            names = re.findall(r"[\w-]+", command[2])
            message = f"there is no command {command[1]!r}{_suggestion(command[1], names)}"
        style = Style(sys.stderr)
        mend = f"{self.prog} --help lists what there is."
        self.exit(WRONG_USE, f"{style.red('error:')} {message}\n{style.bold('mend:')}  {mend}\n")

    def _flags(self) -> list[str]:
        """All flags, also those of the commands: it is the outer parser that meets an unknown
        one."""
        found: list[str] = []
        for action in self._actions:
            found.extend(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    found.extend(parser._flags())
        return found


def _suggestion(given: str, known: list[str]) -> str:
    close = difflib.get_close_matches(given, known, n=1)
    return f"; did you mean {close[0]}?" if close else "."
