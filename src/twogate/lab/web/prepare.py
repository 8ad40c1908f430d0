"""Makes the lab's folder and brings its database up to date, before the lab is served.

Run in a process of its own, ``python -m twogate.lab.web.prepare``, because the process of the
command does not import Django. Prints nothing if all is well.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from importlib import import_module
from pathlib import Path

__all__ = ["main"]

#: What the pages need beyond Twogate's own dependencies.
PACKAGES = ("django", "channels", "fsrs", "pygments")


def main() -> int:
    """Prepare the folder that ``TWOGATE_LAB_DATA`` names.

    :return: the exit status; on standard error are what failed and what to do, a line each.
    """
    from twogate.lab.web.folder import make_folder

    folder = Path(os.environ["TWOGATE_LAB_DATA"])
    os.environ["DJANGO_SETTINGS_MODULE"] = "twogate.lab.web.settings"
    try:
        for package in PACKAGES:
            import_module(package)
        make_folder(folder)
        _migrate()
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is not installed.", "pip install 'twogate[lab]' brings it.")
    except OSError as error:
        what = f"{error.strerror}: {error.filename or folder}"
        return _fail(what, "Give another folder by --data, or mend that.")
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


def _fail(message: str, mend: str) -> int:
    print(message, mend, sep="\n", file=sys.stderr)  # noqa: T201 - its reader is the command
    return 1


if __name__ == "__main__":
    sys.exit(main())
