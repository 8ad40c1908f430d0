"""Listening sockets: opened once, by the process that outlives the workers, and inherited.

Knows addresses and errno, nothing of processes or HTTP. A bind that cannot be opened is a
:class:`~twogate.errors.ConfigError` that names the bind and the mend.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from twogate.errors import ConfigError

__all__ = ["Listeners", "describe", "open_listeners"]

# A web server in front usually runs as another user, and connecting needs the write permission;
# uvicorn opens 0666 and gunicorn 0777 too. Whoever wants less puts the socket in a closed folder.
_UNIX_MODE = 0o666


def describe(sock: socket.socket) -> str:
    """The address for people: ``http://127.0.0.1:8000`` or ``unix:/run/site.sock``."""
    name = sock.getsockname()
    if sock.family == socket.AF_INET6:
        return f"http://[{name[0]}]:{name[1]}"
    if sock.family == socket.AF_INET:
        return f"http://{name[0]}:{name[1]}"
    return f"unix:{os.fsdecode(name)}"


@dataclass(slots=True, frozen=True)
class _UnixFile:
    """A socket file we made: the inode tells whether it still is ours."""

    path: Path
    inode: int
    owner: int

    def unlink(self) -> None:
        """Remove the file, unless we are a child or somebody has put another in its place."""
        try:
            if self.owner == os.getpid() and self.path.lstat().st_ino == self.inode:
                self.path.unlink()
        except OSError:  # it is gone, or not ours to remove any more
            pass


class Listeners:
    """The open listening sockets; closing them removes the socket files as well.

    :ivar sockets: bound, listening, non-blocking and not inherited across ``exec``.
    """

    __slots__ = ("_files", "sockets")

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self._files: list[_UnixFile] = []

    @property
    def urls(self) -> list[str]:
        """Each socket's address for people."""
        return [describe(sock) for sock in self.sockets]

    def close(self) -> None:
        """Close this process's copies; the process that opened them also removes the files."""
        for file in self._files:
            file.unlink()
        self._files.clear()
        for sock in self.sockets:
            sock.close()

    def _add(self, sock: socket.socket, backlog: int) -> None:
        sock.listen(backlog)  # two sockets can be bound to a port, and only one can listen
        sock.setblocking(False)
        sock.set_inheritable(False)
        self.sockets.append(sock)

    def __enter__(self) -> Listeners:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_listeners(
    binds: Iterable[str], backlog: int = 2048, source: str = "command line"
) -> Listeners:
    """Open every bind, or none.

    :param binds: ``host:port``, ``[IPv6]:port``, ``:port``, ``unix:/path`` or ``fd://N``; a host
        name is bound at each of its addresses.
    :param backlog: connections the kernel keeps while no worker accepts.
    :param source: where the binds came from, for the error.
    :raises ConfigError: one cannot be opened.
    """
    listeners = Listeners()
    binds = list(binds)
    try:
        for bind in binds:
            _Opener(bind, binds, backlog, source, listeners).open()
    except BaseException:
        listeners.close()
        raise
    return listeners


@dataclass(slots=True)
class _Opener:
    """Opens one bind."""

    bind: str
    binds: Sequence[str]
    backlog: int
    source: str
    listeners: Listeners

    def open(self) -> None:
        if self.bind.startswith("unix:"):
            self._open_unix(Path(self.bind.removeprefix("unix:")))
        elif self.bind.startswith("fd://"):
            self._open_fd(self.bind.removeprefix("fd://"))
        else:
            self._open_tcp()

    def _fail(self, message: str) -> NoReturn:
        raise ConfigError("--bind", self.bind, self.source, message)

    # host:port

    def _open_tcp(self) -> None:
        host, _, digits = self.bind.rpartition(":")
        if not digits.isdecimal() or int(digits) > 65535:
            self._fail("this is not an address; write host:port, [IPv6]:port, unix:/path or fd://N")
        port = int(digits)
        opened: list[socket.socket] = []
        missing: list[OSError] = []
        for family, address in self._resolve(host.strip("[]") or "0.0.0.0", port):  # noqa: S104 - asked for by ":port"
            try:
                sock = self._open_address(family, (address[0], port, *address[2:]))
            except OSError as error:
                # A name may stand for an address this machine lacks (::1 without IPv6).
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    self._fail_tcp(error, address[0], port)
                missing.append(error)
            else:
                opened.append(sock)
                port = port or sock.getsockname()[1]  # one port for all of a name's addresses
        if not opened:
            self._fail_tcp(missing[0], host, port)

    def _resolve(self, host: str, port: int) -> list[tuple[int, tuple[str, ...]]]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (socket.gaierror, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            self._fail(f"the host name {host!r} is not known ({reason}); check its spelling")
        unique = {(family, address): None for family, _, _, _, address in found}
        return [(int(family), address) for family, address in unique]  # type: ignore[misc]

    def _open_address(self, family: int, address: tuple[object, ...]) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Connections of the last run may linger in TIME_WAIT; they must not keep us out.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and self._ipv4_has_its_own(address[1]):
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            self.listeners._add(sock, self.backlog)
        except OSError:
            sock.close()
            raise
        return sock

    def _ipv4_has_its_own(self, port: object) -> bool:
        """``[::]:8000`` takes IPv4 as well, unless another bind asks for the same port there."""
        return any(
            not other.startswith(("unix:", "fd://", "[")) and other.endswith(f":{port}")
            for other in self.binds
        )

    def _fail_tcp(self, error: OSError, host: str, port: int) -> NoReturn:
        if error.errno == errno.EADDRINUSE:
            self._fail(
                f"port {port} is already in use; stop the other server "
                f"(“ss -ltnp sport = :{port}” shows it) or choose another port with --bind"
            )
        if error.errno in (errno.EACCES, errno.EPERM):
            self._fail(
                f"port {port} needs more rights than this user has; choose a port above 1023, "
                "or grant CAP_NET_BIND_SERVICE"
            )
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            self._fail(
                f"this machine has no address {host}; choose one of its own, "
                "127.0.0.1 (this machine only) or 0.0.0.0 (every network)"
            )
        self._fail(f"cannot listen there: {error.strerror or error}")

    # unix:/path

    def _open_unix(self, path: Path) -> None:
        if path.exists() or path.is_symlink():
            self._clear(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(str(path))
            path.chmod(_UNIX_MODE)
            status = path.stat()
        except OSError as error:
            sock.close()
            self._fail_unix(error, path)
        self.listeners._files.append(_UnixFile(path, status.st_ino, os.getpid()))
        self.listeners._add(sock, self.backlog)

    def _clear(self, path: Path) -> None:
        """Remove a socket file that a server which died has left."""
        try:
            if not stat.S_ISSOCK(path.stat().st_mode):
                self._fail(f"{path} exists and is no socket; choose another path, or remove it")
            if _is_served(path):
                self._fail(f"a server already listens on {path}; stop it or choose another path")
            path.unlink()
        except OSError as error:
            self._fail_unix(error, path)

    def _fail_unix(self, error: OSError, path: Path) -> NoReturn:
        if error.errno == errno.ENOENT:
            self._fail(f"the folder {path.parent} does not exist; create it first")
        if error.errno in (errno.EACCES, errno.EPERM):
            self._fail(f"this user may not write to {path.parent}; choose another folder")
        # A path that does not fit sockaddr_un (108 bytes on Linux) has no errno of its own.
        self._fail(f"cannot listen there: {error.strerror or error}")

    # fd://N

    def _open_fd(self, digits: str) -> None:
        try:
            sock = socket.socket(fileno=int(digits))
        except (OSError, ValueError):
            self._fail(
                f"file descriptor {digits} is no socket; the process that starts Twogate has to "
                "open it and pass it on (systemd starts with 3)"
            )
        try:
            if sock.type != socket.SOCK_STREAM:
                raise OSError(errno.EINVAL, "it is no stream socket")
            self.listeners._add(sock, self.backlog)
        except OSError as error:
            sock.close()
            self._fail(f"cannot listen there: {error.strerror or error}")


def _is_served(path: Path) -> bool:
    """Whether somebody accepts connections at a socket file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # its backlog is full, or it is not ours to ask: somebody is there
            return True
        return True
