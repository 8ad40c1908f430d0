"""The folder that keeps what learners did: a database, and the key that signs their cookies."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["default_folder", "make_folder", "read_key"]

_KEY = "key"


def default_folder() -> Path:
    """Where data of programs belongs (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "twogate-lab"


def make_folder(folder: Path) -> None:
    """Make what is missing; readable by its owner alone.

    :raises OSError: it cannot be made or written to.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(folder / _KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(50))


def read_key(folder: Path) -> str:
    """The key of a folder that was made.

    :raises OSError: it was not.
    """
    return (folder / _KEY).read_text()
