"""A thousand that made a query and wait: in few threads and connections, and in nobody's way."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.support.http import PATIENCE, Client, eventually, get
from tests.support.postgres import Postgres, postgres
from websockets.asyncio.client import connect

from .visits import APPLICATION, Visits, visiting

MANY = 1000
THREADS = 4
#: Seconds in which a page is answered promptly, on a machine that does other things as well.
PROMPTLY = 1.0
CONNECTIONS = b"SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"


@pytest.fixture(scope="module", autouse=True)
def _many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture
def visits(database: Postgres, tmp_path: Path) -> Iterator[Visits]:
    with visiting("twogate", tmp_path, database, THREADS) as served:
        yield served


def connections(database: Postgres) -> int:
    with psycopg.connect(**database.parameters) as own:
        row = own.execute(CONNECTIONS, (APPLICATION,)).fetchone()
    assert row is not None
    return int(row[0])


def check_that_others_are_served(visits: Visits, database: Postgres, threads: int) -> None:
    """While all of them wait."""
    assert connections(database) <= THREADS
    assert visits.state()["threads"] <= threads
    for target in ("/page/", "/async_page/", "/asks/", "/page/", "/asks/"):
        asked = time.monotonic()
        visits.ask(target)
        assert time.monotonic() - asked < PROMPTLY, target
    assert connections(database) <= THREADS


def begin(visits: Visits, target: str) -> Client:
    client = visits.connect()
    client.send(get(target))
    return client


@pytest.mark.parametrize("view", ["asks_and_waits", "asks_and_streams"])
def test_requests_and_streams(visits: Visits, database: Postgres, view: str) -> None:
    threads = visits.state()["threads"] + THREADS
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(begin(visits, f"/{view}/")) for _ in range(MANY)]
        asked = 0

        def all_asked() -> bool:
            nonlocal asked
            notes: list[str] = visits.state()["notes"]
            asked += notes.count("asked")
            return asked == MANY

        eventually(all_asked, f"only {asked} of them asked", 2 * PATIENCE)
        check_that_others_are_served(visits, database, threads)
        visits.ask("/opens/")
        bodies = [client.response().body for client in clients]
    backends = {body.split(b"\n")[0] for body in bodies}
    assert 1 <= len(backends) <= THREADS
    if view == "asks_and_streams":
        assert all(body.endswith(b"data: over\n\n") for body in bodies)


@pytest.mark.parametrize("kind", ["database", "sync"])
def test_consumers(visits: Visits, database: Postgres, kind: str) -> None:
    threads = visits.state()["threads"] + THREADS
    url = f"ws://127.0.0.1:{visits.port}/ws/{kind}/"

    async def consume(
        connecting: asyncio.Semaphore, all_asked: asyncio.Barrier, served: asyncio.Event
    ) -> int:
        async with contextlib.AsyncExitStack() as stack:
            async with connecting:
                socket = await stack.enter_async_context(connect(url, compression=None))
                backend = int(await socket.recv())
            await all_asked.wait()
            await served.wait()
            await socket.send("still there?")
            assert await socket.recv() == "still there?"
            return backend

    async def main() -> set[int]:
        connecting, all_asked = asyncio.Semaphore(50), asyncio.Barrier(MANY + 1)
        served = asyncio.Event()
        consumers = [
            asyncio.create_task(consume(connecting, all_asked, served)) for _ in range(MANY)
        ]
        await all_asked.wait()
        await asyncio.to_thread(check_that_others_are_served, visits, database, threads)
        served.set()
        return set(await asyncio.gather(*consumers))

    async def bounded() -> set[int]:
        return await asyncio.wait_for(main(), 2 * PATIENCE)

    assert 1 <= len(asyncio.run(bounded())) <= THREADS
