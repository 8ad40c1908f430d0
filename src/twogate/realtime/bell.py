"""A bell that every process of a project hears: "there is something new in the log".

Each event loop that listens binds a datagram socket in a folder; whoever rings sends one byte to
each. A full socket has been rung already, so nothing is ever waited for; a socket whose process is
gone is removed by whoever notices. The folder must be the user's own.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable, Collection
from pathlib import Path

__all__ = ["Listener", "LocalBell", "ring"]

_SUFFIX = ".bell"

#: Nanoseconds between two times that a file system tells apart, and more.
_TICK = 100_000_000

#: The folder that was read last, when it was last changed, and its bells.
_found: tuple[Path, int, list[Path]] | None = None

_sends: tuple[int, socket.socket] | None = None


def ring(folder: Path) -> int:
    """Tell all listeners; returns how many there are. Any thread, never waits."""
    sender = _sender()
    return sum(_ring_one(sender, path) for path in _bells(folder))


def _bells(folder: Path) -> list[Path]:
    """The sockets in a folder, which is read again only when it was changed.

    Reading it takes longer than ringing, and lets other threads have the interpreter at each name.
    """
    global _found
    changed = folder.stat().st_mtime_ns
    if _found is not None and _found[:2] == (folder, changed):
        return _found[2]
    bells = [path for path in folder.iterdir() if path.suffix == _SUFFIX]
    # Else the next change might get the same time.
    if time.time_ns() - changed > _TICK:
        _found = (folder, changed, bells)
    return bells


def _ring_one(sender: socket.socket, path: Path) -> bool:
    try:
        sender.sendto(b"!", str(path))
    except BlockingIOError:
        return True  # it has not heard the last one yet
    except ConnectionRefusedError:
        with contextlib.suppress(FileNotFoundError):  # somebody was quicker
            path.unlink()
        return False
    except FileNotFoundError:
        return False
    return True


def _sender() -> socket.socket:
    """The socket of this process that sends; one from before a fork would be shared."""
    global _sends
    if _sends is None or _sends[0] != os.getpid():
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        sender.setblocking(False)
        atexit.register(sender.close)
        _sends = (os.getpid(), sender)
    return _sends[1]


class Listener:
    """Hears the bell on the running loop.

    :param folder: where those who ring look.
    :param heard: called on the loop, once for any number of rings since it was called last.
    """

    def __init__(self, folder: Path, heard: Callable[[], None]) -> None:
        self._heard = heard
        self._path = folder / f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._socket.bind(str(self._path))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._ready)

    def _ready(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(16)
        self._heard()

    def close(self) -> None:
        """Listen no longer. May be called again."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._path.unlink(missing_ok=True)


class LocalBell:
    """The bell of a folder, as a feed and who publishes want it.

    :ivar folder: where it is rung.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ring(self) -> None:
        """Tell all listeners."""
        ring(self.folder)

    def listen(self, heard: Callable[[], None], topics: Callable[[], Collection[str]]) -> Listener:
        """See :meth:`twogate.realtime.feed.Bell.listen`."""
        return Listener(self.folder, heard)
