"""The command ``twogate``: reads the command line, does what it says, says clearly what is wrong.

It is the top: it may import every room and no room imports it. Each command is a module here with
two functions: ``add`` describes it to the parser, ``run`` does it.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence

from twogate.cli import check, lab, new, serve, trace
from twogate.cli.parser import FAILED, FINE, WRONG_USE, make_parser
from twogate.errors import ConfigError, ProjectError, TwogateError
from twogate.observe.startup import Style

__all__ = ["main"]

_COMMANDS = (serve, new, check, trace, lab)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: the command line without the program's name; ``sys.argv`` by default.
    :return: the exit status: 0 fine, 1 the project or a worker failed, 2 wrong use.
    """
    parser = make_parser(_COMMANDS)
    known = parser.parse_args(arguments)
    if known.command is None:
        parser.print_help(sys.stderr)
        return WRONG_USE
    run: Callable[..., int] = known.run
    try:
        return run(known)
    except TwogateError as error:
        if known.traceback:
            traceback.print_exc()
        _complain(error)
        return WRONG_USE if isinstance(error, ConfigError) else FAILED
    except KeyboardInterrupt:
        return FINE


def _complain(error: TwogateError) -> None:
    style = Style(sys.stderr)
    message, mend = str(error), ""
    if isinstance(error, ProjectError):
        message, mend = error.message, error.mend
    print(f"{style.red('error:')} {message}", file=sys.stderr)
    if mend:
        print(f"{style.bold('mend:')}  {mend}", file=sys.stderr)
