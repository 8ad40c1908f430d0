"""Django's test suite, out of the source package of the Django that is installed.

The package is fetched once for each version into the user's cache folder, never into the checkout.
Each run unpacks its own copy of the tests, because some of them write beside themselves.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import django

from tests.support.source_package import SourceError, source_package

__all__ = ["SourceError", "package", "unpack_tests"]


def package(version: str | None = None, cache: Path | None = None) -> Path:
    """The source package of a version, by default the installed one; fetched if it is not cached.

    Raises :class:`SourceError` if pip cannot fetch it.
    """
    return source_package("Django", version or django.get_version(), cache)


def unpack_tests(archive: Path, folder: Path) -> Path:
    """Unpack the tests of a source package below ``folder`` and return the folder they are in.

    Raises :class:`SourceError` if there is no ``tests/runtests.py`` in the package.
    """
    with tarfile.open(archive) as tar:
        members = [m for m in tar.getmembers() if m.name.split("/")[1:2] == ["tests"]]
        tar.extractall(folder, members, filter="data")
    found = list(folder.glob("*/tests/runtests.py"))
    if len(found) != 1:
        raise SourceError(f"{archive} holds no tests/runtests.py: remove it and try again.")
    return found[0].parent
