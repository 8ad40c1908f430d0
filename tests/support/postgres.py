"""A PostgreSQL server in a temporary folder: for tests and for the benchmarks, which share it.

It listens on a Unix socket in a folder that only its owner can enter, so it needs neither a port
nor a password, and any number of them run side by side. Nothing in it outlives the block.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_TIMEOUT = 30.0
STOP_TIMEOUT = 15.0
#: Where Debian keeps the programs of each version, off the PATH.
DEBIAN = Path("/usr/lib/postgresql")
PACKAGE = "run `apt-get install postgresql` (Debian, Ubuntu) and try again"
#: Who PostgreSQL runs as when we are root, as which it refuses to run.
UNPRIVILEGED = "postgres"
#: The socket's name ends in it; each server has a folder of its own, so all can have the same.
PORT = 5432


class PostgresError(Exception):
    """PostgreSQL is not installed, or a server did not start."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """Where a running server is, in libpq's words: ``psycopg.connect(**server.parameters)``.

    :ivar host: the folder of its socket.
    """

    host: str
    port: int = PORT
    user: str = UNPRIVILEGED
    dbname: str = "postgres"

    @property
    def parameters(self) -> dict[str, Any]:
        """Keyword arguments for ``psycopg.connect``."""
        return {"host": self.host, "port": self.port, "user": self.user, "dbname": self.dbname}

    @property
    def django(self) -> dict[str, Any]:
        """An entry of Django's ``DATABASES``."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": self.host,
            "PORT": self.port,
            "USER": self.user,
            "NAME": self.dbname,
        }


def programs(debian: Path = DEBIAN) -> Path:
    """The folder of ``initdb`` and its siblings: Debian's newest version, else from the PATH.

    :raises PostgresError: there is none.
    """
    versions = sorted(debian.glob("*/bin/initdb"), key=lambda file: float(file.parts[-3]))
    found = versions[-1] if versions else shutil.which("initdb")
    if found is None:
        raise PostgresError(f"PostgreSQL is not installed: {PACKAGE}")
    return Path(found).resolve().parent


def account() -> pwd.struct_passwd | None:
    """Whom to become; None when we need not.

    :raises PostgresError: we are root and the account that the package makes is missing.
    """
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise PostgresError(
            f"PostgreSQL does not run as root and there is no user {UNPRIVILEGED!r}: {PACKAGE}"
        ) from None


def options(folder: Path, who: pwd.struct_passwd | None) -> dict[str, Any]:
    """What all its programs are started with; the messages do not depend on who runs them."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    common = {"cwd": folder, "env": environment, "stdin": subprocess.DEVNULL}
    if who is None:
        return common
    return {**common, "user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}


def initialise(binaries: Path, folder: Path, common: dict[str, Any]) -> None:
    """Make an empty database cluster in ``folder/data``."""
    command = [
        str(binaries / "initdb"),
        f"--pgdata={folder / 'data'}",
        f"--username={UNPRIVILEGED}",
        "--auth=trust",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
    ]
    done = subprocess.run(
        command, **common, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
    )
    if done.returncode:
        raise PostgresError(f"initdb failed:\n{done.stdout[-2000:]}")


def server_command(binaries: Path, folder: Path, max_connections: int) -> list[str]:
    """Durability is for those who keep their data."""
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(folder),
        "port": PORT,
        "max_connections": max_connections,
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
    }
    words = [f"--{name}={value}" for name, value in settings.items()]
    return [str(binaries / "postgres"), "-D", str(folder / "data"), *words]


def wait_until_ready(binaries: Path, folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server takes connections."""
    command = [str(binaries / "pg_isready"), "-q", f"--host={folder}", f"--port={PORT}"]
    deadline = time.monotonic() + START_TIMEOUT
    while subprocess.run(command, timeout=START_TIMEOUT).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            log = (folder / "log").read_text(errors="replace")
            raise PostgresError(f"PostgreSQL did not start:\n{log[-2000:]}")
        time.sleep(0.02)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Cut the connections and end; at once, with all its children, if that takes too long."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        process.wait(STOP_TIMEOUT)


@contextlib.contextmanager
def postgres(max_connections: int = 100) -> Iterator[Postgres]:
    """A server for the time of the block, with one empty database.

    :raises PostgresError: PostgreSQL is not installed, or does not start.
    """
    binaries, who = programs(), account()
    # Not pytest's folder: the path of a Unix socket has room for 107 bytes, unix(7).
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        if who is not None:
            os.chown(folder, who.pw_uid, who.pw_gid)
        common = options(folder, who)
        initialise(binaries, folder, common)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                server_command(binaries, folder, max_connections),
                **common,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until_ready(binaries, folder, process)
            yield Postgres(str(folder))
        finally:
            stop(process)
