"""The watcher of ``--reload``: tells the supervisor when a Python file changes.

Runs in a small process of its own, so that the supervisor stays single-threaded. It knows files
and the channel, not what is done about a change.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from twogate.process.channel import ChildEnd

__all__ = ["find_sources", "is_source", "watch"]

Stamp: TypeAlias = tuple[int, int, int]
Snapshot: TypeAlias = dict[str, Stamp]

#: Seconds between two looks that nobody asks for; scanning takes at most a tenth of the time,
#: however many files.
PAUSE = 0.75
_SHARE = 10

_MOST_NAMES = 3
_IGNORED = frozenset(("__pycache__", "node_modules", "site-packages"))


def watch(folders: Iterable[str | Path], channel: ChildEnd, *, polling: bool = False) -> int:
    """Tell the channel of every change until the supervisor is gone.

    :param folders: what to watch, with all below except virtual environments, hidden folders and
        ``node_modules``.
    :param polling: compare the files' times even when watchfiles is installed.
    """
    roots = [Path(folder).resolve() for folder in folders]
    for changed in _changes(roots, channel, polling):
        if changed:
            channel.tell("changed", _names(changed, roots))
        elif channel.wait_for_end(0.0):
            break
    return 0


def _changes(roots: list[Path], channel: ChildEnd, polling: bool) -> Iterator[set[str]]:
    """Sets of changed files; an empty one now and then, so that the caller can look around."""
    if not polling:
        try:
            yield from _events(roots)
            return
        except (ImportError, OSError):  # not installed, or the system has no watches left
            pass
    yield from _poll(roots, channel)


def _events(roots: list[Path]) -> Iterator[set[str]]:
    """The system says when to look, and looking says what changed: between two of its reports the
    system may lose a change, so that now and then we look unasked."""
    import watchfiles

    before, cost = _timed_scan(roots)
    due = time.monotonic() + PAUSE
    for events in watchfiles.watch(
        *roots,
        watch_filter=lambda _, path: is_source(path, roots),
        debounce=400,
        rust_timeout=500,
        yield_on_timeout=True,
        raise_interrupt=False,
    ):
        if not events and time.monotonic() < due:
            yield set()
            continue
        now, cost = _timed_scan(roots)
        due = time.monotonic() + max(PAUSE, cost * _SHARE)
        yield _differing(before, now)
        before = now


def _poll(roots: list[Path], channel: ChildEnd) -> Iterator[set[str]]:
    before, cost = _timed_scan(roots)
    while not channel.wait_for_end(max(PAUSE, cost * _SHARE)):
        now, cost = _timed_scan(roots)
        yield _differing(before, now)
        before = now


def _differing(before: Snapshot, now: Snapshot) -> set[str]:
    return {path for path, _ in before.items() ^ now.items()}


def _timed_scan(roots: list[Path]) -> tuple[Snapshot, float]:
    started = time.monotonic()
    found: Snapshot = {}
    for root in roots:
        found.update(find_sources(str(root)))
    return found, time.monotonic() - started


def find_sources(root: str) -> Iterator[tuple[str, Stamp]]:
    """Each Python file below a folder with its time (ns), size and inode number; links to folders
    are not followed, they may lead in circles."""
    try:
        entries = list(os.scandir(root))
    except OSError:  # removed in the meantime, or not ours to read
        return
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                if not _is_ignored(entry.name):
                    yield from find_sources(entry.path)
            elif entry.name.endswith(".py"):
                status = entry.stat()
                yield entry.path, (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            continue


def is_source(path: str | Path, roots: Iterable[Path]) -> bool:
    """Whether a change of the file matters: the same choice as :func:`find_sources`."""
    path = Path(path)
    if path.suffix != ".py":
        return False
    return any(_is_inside(path, root) for root in roots if path.is_relative_to(root))


def _is_inside(path: Path, root: Path) -> bool:
    """No folder between the two is ignored or a virtual environment."""
    folder = root
    for part in path.relative_to(root).parts[:-1]:
        folder = folder / part
        if _is_ignored(part) or (folder / "pyvenv.cfg").exists():
            return False
    return True


def _is_ignored(folder: str) -> bool:
    return folder.startswith(".") or folder in _IGNORED


def _names(changed: set[str], roots: list[Path]) -> list[str]:
    """A few of the names, for people."""
    names = [_short(Path(path), roots) for path in sorted(changed)]
    more = len(names) - _MOST_NAMES
    return names if more <= 0 else [*names[:_MOST_NAMES], f"{more} more"]


def _short(path: Path, roots: list[Path]) -> str:
    root = next((root for root in roots if path.is_relative_to(root)), None)
    return str(path.relative_to(root) if root else path)
