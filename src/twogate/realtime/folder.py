"""The runtime folder, in which the processes of a project find each other.

Each node that listens has its socket here. That only the user can enter the folder is all the
authentication there is, so it is looked at before it is used. Any thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import time
from pathlib import Path

from twogate.errors import ConfigError

__all__ = ["RuntimeFolder", "default_parent"]

SUFFIX = ".sock"
#: The shortest limit for a socket's path among the systems we run on (macOS); Linux has 107.
MAX_PATH = 103
#: A node's name and the suffix, with a slash before them.
_ROOM_FOR_NAME = 20
#: Folders say when they changed in steps of a few milliseconds. One that changed this short a time,
#: in nanoseconds, before we looked may change again without saying so.
_STEP = 50_000_000
#: Seconds that nobody needs to begin to listen.
_UNFINISHED = 60.0
#: Goes into the folder's name, so that releases that do not understand each other never meet.
_VERSION = 1


def default_parent() -> Path:
    """Where the folders of all the user's projects are.

    It must not depend on the environment: a service has no ``XDG_RUNTIME_DIR`` where a shell of the
    same user has one, and the two would never meet. Hence not the temporary folder of
    :mod:`tempfile` either.
    """
    return Path("/tmp", f"twogate-{os.geteuid()}")  # noqa: S108 - looked at before it is used


class RuntimeFolder:
    """The folder of one project.

    :param identity: what makes it this project's; only a hash of it is ever seen.
    :param parent: the folder to make it in, :func:`default_parent` if there is none given.
    :param setting: what errors name as the place to change it.
    """

    __slots__ = ("_changed", "_lock_file", "_names", "_setting", "parent", "path")

    def __init__(
        self, identity: str, parent: Path | None = None, setting: str = "CHANNEL_LAYERS"
    ) -> None:
        self.parent = parent or default_parent()
        self._setting = setting
        digest = hashlib.sha256(f"twogate.realtime {_VERSION} {identity}".encode())
        self.path = self.parent / digest.hexdigest()[:16]
        self._names: frozenset[str] = frozenset()
        self._changed: int | None = None
        self._lock_file = -1

    def prepare(self) -> None:
        """Make the folder if need be, and see whether it is safe to use.

        :raises ConfigError: somebody else could get at it, or it cannot be made.
        """
        if len(os.fsencode(self.path)) + _ROOM_FOR_NAME > MAX_PATH:
            raise self._error("its path is too long for sockets: choose a shorter one")
        try:
            self.parent.mkdir(mode=0o700, exist_ok=True)
            self.path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._error(f"it cannot be made ({error.strerror})") from error
        self._check_parent()
        self._check_own()
        self._keep_from_cleaners()

    def _check_parent(self) -> None:
        """Nobody else may put another folder in the place of ours."""
        found = self.parent.stat()
        if not {found.st_uid, self.parent.lstat().st_uid} <= {os.geteuid(), 0}:
            raise self._error(f"{self.parent} belongs to another user: remove it or choose another")
        if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
            raise self._error(f"others can write to {self.parent}: `chmod go-w {self.parent}`")

    def _check_own(self) -> None:
        found = self.path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise self._error("it is not a folder: remove it")
        if found.st_uid != os.geteuid():
            raise self._error("it belongs to another user: remove it or choose another")
        if stat.S_IMODE(found.st_mode) != 0o700:
            raise self._error("others can enter it: `chmod 0700` it, or remove it")

    def _keep_from_cleaners(self) -> None:
        """Hold a lock: systemd-tmpfiles(8) leaves alone what is old but locked."""
        self.release()
        self._lock_file = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            fcntl.flock(self._lock_file, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def release(self) -> None:
        """Let go of the lock; the folder may still be used."""
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    def _error(self, message: str) -> ConfigError:
        return ConfigError("folder", str(self.path), self._setting, f"{message}.")

    def socket_path(self, node: str) -> str:
        """Where a node's socket is, or would be."""
        return f"{self.path}/{node}{SUFFIX}"

    def nodes(self) -> frozenset[str]:
        """The names of the nodes that have a socket here, dead ones perhaps among them.

        Costs one ``stat()`` as long as nothing changes. Creates the folder again if it was removed.
        """
        try:
            changed = self.path.stat().st_mtime_ns
            if changed != self._changed:
                looked = time.time_ns()
                self._names = frozenset(
                    file.stem
                    for file in self.path.iterdir()
                    if file.suffix == SUFFIX and not file.name.startswith(".")
                )
                self._changed = changed if looked - changed > _STEP else None
        except FileNotFoundError:
            self.prepare()
            self._names, self._changed = frozenset(), None
        return self._names

    def remove_unfinished(self) -> None:
        """Remove the sockets of processes that were killed while they began to listen."""
        for file in self.path.glob(f".*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - file.stat().st_mtime > _UNFINISHED:
                    file.unlink()

    def remove(self, node: str) -> None:
        """Remove the socket of a node that is gone; does nothing if somebody else did."""
        with contextlib.suppress(FileNotFoundError):
            Path(self.socket_path(node)).unlink()
