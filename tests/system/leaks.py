"""Visits a project many times, leaves every other time too early, and says what stays.

``scripts/leaks`` runs it with 100,000 requests, ``test_leaks.py`` with fewer. Threads, tasks,
descriptors and database connections may be no more than after the first thousand requests, and
memory must be level.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
from tests.support.http import eventually, get, post
from tests.support.postgres import Postgres, postgres

from .visits import APPLICATION, Visits, visiting

#: Clients at the same time.
CLIENTS = 32
#: Seconds that what was left behind gets to end.
PATIENCE = 15.0
FIRST = 1000
#: What the memory may grow by from the second quarter of the requests to the last, in bytes: the
#: allocator's own ups and downs.
LEVEL = 6 * 1024 * 1024
FORM = (
    b'--limit\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n" + bytes(100_000) + b"\r\n--limit--\r\n"
)
#: Each kind of request; those that wait end when their client leaves.
ANSWERED = [
    get("/page/"),
    get("/async_page/"),
    get("/asks/"),
    get("/asks_slowly/"),
    get("/file/?size=200000"),
    post("/upload/", FORM, "Content-Type: multipart/form-data; boundary=limit"),
]
ENDLESS = [
    get("/waits/"),
    get("/stubborn/"),
    get("/streams/?quick=1"),
    get("/asks_and_waits/"),
    get("/asks_and_streams/"),
    post("/upload_and_wait/", FORM, "Content-Type: multipart/form-data; boundary=limit"),
]
CONNECTIONS = b"SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"


@dataclass(slots=True, frozen=True)
class Figures:
    """What there is in the server's process, at rest.

    :ivar memory: resident, in bytes.
    """

    requests: int
    tasks: int
    threads: int
    descriptors: int
    connections: int
    memory: int


async def visit(port: int, chance: random.Random) -> None:
    """One request, read to its end or left at some point before."""
    if chance.random() < 0.5:
        await stay(port, chance.choice(ANSWERED))
    else:
        await leave(port, chance.choice(ANSWERED + ENDLESS), chance)


async def stay(port: int, request: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        await reader.readexactly(length(head))
    finally:
        writer.close()


async def leave(port: int, request: bytes, chance: random.Random) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        if chance.random() < 0.2:
            request = request[: chance.randrange(len(request))]
        writer.write(request)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader.read(1000), chance.choice((0, 0.001, 0.01)))
        if chance.random() < 0.5:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    finally:
        writer.transport.abort()


def length(head: bytes) -> int:
    """The value of Content-Length."""
    return next(
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )


async def visit_at_once(port: int, request: bytes, count: int) -> None:
    await asyncio.gather(*(stay(port, request) for _ in range(count)))


async def visit_often(port: int, count: int, chance: random.Random) -> None:
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            await visit(port, chance)

    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(client())


def figures(visits: Visits, database: Postgres, requests: int) -> Figures:
    """Wait until nothing is left of any request but what stays."""
    last: list[int] = []

    def at_rest() -> bool:
        state = visits.state()
        now = [state["tasks"], state["descriptors"]]
        same, last[:] = now == last, now
        return same and not state["open"] and not state["temporary"]

    eventually(at_rest, "it does not come to rest")
    state = visits.state()
    with psycopg.connect(**database.parameters) as own:
        row = own.execute(CONNECTIONS, (APPLICATION,)).fetchone()
    assert row is not None
    counted = {what: state[what] for what in ("tasks", "threads", "descriptors")}
    return Figures(requests, connections=row[0], memory=visits.memory(), **counted)


def measure(folder: Path, requests: int, threads: int, seed: int) -> Iterator[Figures]:
    """The figures after the first thousand requests and after each quarter of the rest."""
    chance = random.Random(seed)
    with postgres() as database, visiting("twogate", folder, database, threads) as visits:
        # Else some threads might start only later, when the machine happens to be busy.
        asyncio.run(visit_at_once(visits.port, get("/asks_slowly/"), 50 * threads))
        done, first = 0, None
        for part in (FIRST, *[(requests - FIRST) // 4] * 4):
            asyncio.run(visit_often(visits.port, part, chance))
            done += part
            found = figures(visits, database, done)
            deadline = time.monotonic() + PATIENCE
            # On a busy machine the last of them may take longer than two looks.
            while first and grown(first, found) and time.monotonic() < deadline:
                found = figures(visits, database, done)
            first = first or found
            yield found


def grown(first: Figures, last: Figures) -> list[str]:
    """What there is more of, memory aside."""
    counted = ("tasks", "threads", "descriptors", "connections")
    return [what for what in counted if getattr(last, what) > getattr(first, what)]


def leaks(series: list[Figures]) -> list[str]:
    """What grew."""
    first, last = series[0], series[-1]
    more = [
        f"{what}: {getattr(first, what)} after the first {first.requests} requests,"
        f" {getattr(last, what)} in the end"
        for what in grown(first, last)
    ]
    if last.memory - series[2].memory > LEVEL:
        more.append(f"memory: {[found.memory for found in series]}")
    return more


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/leaks", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=8, help="of the server")
    parser.add_argument("--seed", type=int, default=1, help="of the clients' behaviour")
    options = parser.parse_args()
    begun, series = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        for found in measure(Path(folder), options.requests, options.threads, options.seed):
            series.append(found)
            print(f"{time.monotonic() - begun:6.0f} s  {asdict(found)}", flush=True)
    more = leaks(series)
    print("\n".join(more) or "nothing is left behind")
    return 1 if more else 0


if __name__ == "__main__":
    sys.exit(main())
