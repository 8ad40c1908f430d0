"""Makes the lab's folder and brings its database up to date, before the lab is served.

Run in a process of its own, ``python -m twogate.lab.web.prepare``, because the process of the
command does not import Django. Prints nothing if all is well.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

__all__ = ["main"]


def main() -> int:
    """Prepare the folder that ``TWOGATE_LAB_DATA`` names.

    :return: the exit status; what failed is on standard error, in one line.
    """
    from twogate.lab.web.folder import make_folder

    folder = Path(os.environ["TWOGATE_LAB_DATA"])
    os.environ["DJANGO_SETTINGS_MODULE"] = "twogate.lab.web.settings"
    try:
        make_folder(folder)
        _migrate()
    except OSError as error:
        return _fail(f"{error.strerror}: {error.filename}")
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is not installed; pip install 'twogate[lab]' brings it.")
    return 0


def _migrate() -> None:
    import django
    from django.core.management import call_command
    from django.db import DatabaseError

    django.setup()
    try:
        call_command("migrate", verbosity=0, interactive=False)
    except (DatabaseError, sqlite3.Error) as error:
        raise OSError(0, f"the database cannot be used ({error})", "lab.sqlite3") from error


def _fail(message: str) -> int:
    print(message, file=sys.stderr)  # noqa: T201 - its reader is the command
    return 1


if __name__ == "__main__":
    sys.exit(main())
