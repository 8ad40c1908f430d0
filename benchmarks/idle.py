"""Ten thousand WebSockets on one worker that do nothing for minutes, then all hear one message.

``python benchmarks/idle.py [--sockets 10000] [--seconds 300] [--servers twogate]``. A consumer for
each, pings on. For each server: memory per socket, before and after the wait, sockets that were
lost, and the time from one socket's word until the last has it. Writes ``results/idle.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "src"))
sys.path.insert(0, str(HERE.parent))

import project  # noqa: E402
import report  # noqa: E402
from processes import Server, ServerError, resident, running  # noqa: E402
from targets import LOCAL_LAYER, REDIS_LAYERS, TWOGATE, UVICORN, Target  # noqa: E402
from tests.support.redis import RedisError, redis_server  # noqa: E402

CLIENT = HERE / "idle_client.py"
#: Client processes, each with an address of its own: one would be the limit, not the server.
CLIENTS = 4
#: The share of the sockets that come first, so that what a server takes anyway is not counted.
WARM_UP = 20
#: Seconds until a server has settled.
SETTLE = 2.0
MESSAGES = 3
#: Seconds in which thousands of sockets must be open, or have heard a message.
PATIENCE = 180.0


class IdleError(Exception):
    """A client failed, or the server left its sockets alone."""


@dataclass(frozen=True, slots=True)
class Way:
    """A server, and how its consumers hear a message."""

    name: str
    target: Target
    settings: str
    path: str


WAYS = (
    Way("twogate, broadcast", TWOGATE, LOCAL_LAYER, "/ws/broadcast/"),
    Way("twogate, group_send by the local layer", TWOGATE, LOCAL_LAYER, "/ws/group/"),
    Way(
        "uvicorn, group_send by channels_redis",
        UVICORN,
        REDIS_LAYERS["channels_redis"],
        "/ws/group/",
    ),
)


@dataclass(slots=True)
class Seen:
    """What became of one server: bytes for each socket, seconds, sockets."""

    name: str
    opening: float = 0.0
    opened: float = 0.0
    waited: float = 0.0
    lost: int = 0
    pings: int = 0
    heard: tuple[float, ...] = ()
    error: str = ""


class Clients:
    """The client processes of one server."""

    def __init__(self, server: Server, path: str, stack: contextlib.ExitStack) -> None:
        self._processes = [
            stack.enter_context(_client(server.port, path, f"127.0.0.{2 + number}"))
            for number in range(CLIENTS)
        ]

    def ask(self, *commands: str) -> list[dict[str, Any]]:
        """Give each client a command, all at once, and take their answers."""
        for process, command in zip(self._processes, commands, strict=True):
            assert process.stdin is not None
            process.stdin.write(command + "\n")
            process.stdin.flush()
        return [self._answer(process) for process in self._processes]

    def ask_all(self, command: str) -> list[dict[str, Any]]:
        return self.ask(*[command] * CLIENTS)

    def total(self, field: str) -> int:
        return sum(state[field] for state in self.ask_all("state"))

    def _answer(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            assert process.stderr is not None
            raise IdleError(process.stderr.read().strip().splitlines()[-1][:200])
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def _client(port: int, path: str, address: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(CLIENT), str(port), path, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with process:
            yield process
            assert process.stdin is not None
            process.stdin.close()
    finally:
        process.kill()


def shares(count: int) -> list[int]:
    return [count * (n + 1) // CLIENTS - count * n // CLIENTS for n in range(CLIENTS)]


def one_message(clients: Clients, sockets: int) -> float:
    """Seconds until the last socket has heard it.

    :raises IdleError: some never did.
    """
    due = clients.total("messages") + sockets
    first, *_ = clients.ask("speak", *["state"] * (CLIENTS - 1))
    deadline = time.monotonic() + PATIENCE
    while True:
        states = clients.ask_all("state")
        heard = sum(state["messages"] for state in states)
        if heard >= due:
            break
        if time.monotonic() > deadline:
            raise IdleError(f"{due - heard} of {sockets} sockets did not hear it")
        time.sleep(0.05)
    return float(max(state["last"] for state in states) - first["at"])


def look(way: Way, server: Server, sockets: int, seconds: float) -> Seen:
    """The life of all sockets of one server."""
    seen = Seen(way.name)
    with contextlib.ExitStack() as stack:
        clients = Clients(server, way.path, stack)
        first = sockets // WARM_UP
        clients.ask(*(f"open {share}" for share in shares(first)))
        time.sleep(SETTLE)
        before, start = resident(server.worker()), time.monotonic()
        clients.ask(*(f"open {share}" for share in shares(sockets - first)))
        seen.opening = time.monotonic() - start
        time.sleep(SETTLE)
        seen.opened = (resident(server.worker()) - before) / (sockets - first)
        time.sleep(seconds)
        seen.waited = (resident(server.worker()) - before) / (sockets - first)
        seen.lost, seen.pings = clients.total("closed"), clients.total("pings")
        seen.heard = tuple(one_message(clients, sockets - seen.lost) for _ in range(MESSAGES))
    return seen


def kib(size: float) -> str:
    return f"{size / 1024:.1f}"


def markdown(all_seen: list[Seen], conditions: list[str]) -> str:
    rows = [
        report.row(
            [
                "server",
                "opened in, s",
                "memory, KiB",
                "after the wait, KiB",
                "pings answered",
                "lost",
                "until the last has it, ms",
            ]
        ),
        report.row(["---", *["---:"] * 6]),
    ]
    for seen in all_seen:
        if seen.error:
            rows.append(report.row([seen.name, f"failed: {seen.error}", *[report.NOTHING] * 5]))
            continue
        heard = ", ".join(report.number(seconds * 1000) for seconds in seen.heard)
        figures = [f"{seen.opening:.1f}", kib(seen.opened), kib(seen.waited)]
        rows.append(report.row([seen.name, *figures, f"{seen.pings:,}", str(seen.lost), heard]))
    return "\n".join(["# Idle WebSockets", "", *conditions, "", *rows, ""])


def allow_descriptors(sockets: int) -> None:
    """For the servers and the clients, which inherit it.

    :raises IdleError: the system does not allow so many.
    """
    needed = sockets + 500
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise IdleError(
            f"{sockets} sockets need {needed} descriptors and the system allows {hard}:"
            " raise the hard limit (ulimit -Hn) or take fewer (--sockets)"
        )
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sockets", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--seconds", type=float, default=300.0, help="the wait; default: 300")
    parser.add_argument("--servers", default="", help="comma-separated parts of their names")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "idle.md")
    return parser.parse_args()


def conditions(args: argparse.Namespace) -> list[str]:
    names = ("Django", "channels", "channels_redis", "redis", "uvicorn", "uvloop")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return [
        f"- Command: `{shlex.join(['python', 'benchmarks/idle.py', *sys.argv[1:]])}`",
        f"- Begun: {now}",
        f"- Machine: {report.machine()}",
        f"- Versions: {versions}, Twogate {TWOGATE.version}",
        f"- {args.sockets:,} WebSockets on one worker, each with a consumer of Channels, idle for"
        f" {args.seconds:g} s",
        f"  with the server's own pings (every 20 s); {CLIENTS} client processes beside it.",
        "  Memory is resident and for each socket; lost are those that the server closed. Then",
        f"  one of them says 32 bytes, {MESSAGES} times; the time has the clients' own work in it.",
    ]


def main() -> int:
    args = arguments()
    wanted = [part.strip() for part in args.servers.split(",") if part.strip()]
    ways = [way for way in WAYS if not wanted or any(part in way.name for part in wanted)]
    all_seen: list[Seen] = []
    lines = conditions(args)
    try:
        allow_descriptors(args.sockets)
        with contextlib.ExitStack() as stack:
            redis = None
            if any(way.settings in REDIS_LAYERS.values() for way in ways):
                redis = stack.enter_context(redis_server())
            parent = stack.enter_context(tempfile.TemporaryDirectory(prefix="twogate-bench-"))
            served = project.make(Path(parent), None, redis)
            for way in ways:
                target = dataclasses.replace(way.target, settings=way.settings)
                try:
                    with running(target, served.folder) as server:
                        seen = look(way, server, args.sockets, args.seconds)
                except (IdleError, ServerError, OSError) as error:
                    seen = Seen(way.name, error=str(error))
                all_seen.append(seen)
                args.output.parent.mkdir(parents=True, exist_ok=True)
                args.output.write_text(markdown(all_seen, lines))
    except (IdleError, RedisError) as error:
        print(error, file=sys.stderr)
        return 1
    print(markdown(all_seen, lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
