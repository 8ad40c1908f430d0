"""The source packages of others, out of which their own tests come.

Each is fetched once into the user's cache folder, never into the checkout.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["SourceError", "source_package"]

#: Seconds; fetching includes making the package's metadata in a fresh environment.
FETCH_TIMEOUT = 300


class SourceError(Exception):
    """A source package cannot be had, or does not hold the tests."""


def _cache_folder(name: str) -> Path:
    """Where fetched packages stay, as the XDG base directory specification has it."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "twogate" / name.lower()


def source_package(name: str, version: str, cache: Path | None = None) -> Path:
    """A version's source package, ``.tar.gz``; fetched if it is not cached.

    Raises :class:`SourceError` if pip cannot fetch it.
    """
    cache = cache or _cache_folder(name)
    cached = cache / f"{name.lower()}-{version}.tar.gz"
    if not cached.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        # Beside its place, so that moving it there is one step: nobody ever sees half a package.
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            _fetch(name, version, Path(folder)).replace(cached)
    return cached


def _fetch(name: str, version: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += [f"--no-binary={name}", f"--dest={folder}", f"{name}=={version}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=FETCH_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        why = f"pip took more than {FETCH_TIMEOUT} s"
        raise SourceError(_cannot(name, version, why)) from error
    found = list(folder.glob("*.tar.gz"))
    if done.returncode or len(found) != 1:
        raise SourceError(_cannot(name, version, (done.stderr or done.stdout).strip()))
    return found[0]


def _cannot(name: str, version: str, why: str) -> str:
    return (
        f"The source package of {name} {version} cannot be fetched, and without it {name}'s own "
        f"tests cannot run. Is there a network? pip said:\n{why}"
    )
