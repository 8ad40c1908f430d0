"""What ``manage.py`` gets from Twogate. Each command becomes a ``twogate`` of its own.

By the time Django runs a command it has imported the project, and a server that starts anew when
code changes must not have. So the process is replaced by one that has not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

__all__ = ["become"]


def become(arguments: Sequence[str]) -> NoReturn:
    """Run ``twogate`` with these arguments in place of this process.

    Settings and the folder that code is imported from stay what ``manage.py`` made them.
    """
    folder = str(Path(sys.argv[0]).resolve().parent)
    paths = [folder, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, *_interpreter_options(), "-m", "twogate", *arguments]
    os.execv(sys.executable, command)  # noqa: S606 - there is no shell


def _interpreter_options() -> list[str]:
    return [
        *(f"-W{option}" for option in sys.warnoptions),
        *(["-Xdev"] if sys.flags.dev_mode else []),
    ]
