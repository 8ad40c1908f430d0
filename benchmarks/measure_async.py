"""P4 and P5: async views that wait, for time and for PostgreSQL, and what a server needs for it."""

from __future__ import annotations

import time
from dataclasses import replace

import psycopg
from measure import Figures, Measure, Metric, Settings
from measure_http import RATE, pages_of, serves_async
from processes import Server, threads, watching_threads
from tests.support.postgres import Postgres

MANY = 1000
#: The stock handler takes a step of each request in turn, so that a thousand end at nearly the same
#: time, seconds later: a rate takes more than one such wave.
LONGER = 3
REPORT_TIMEOUT = 15.0
#: Connections to the project's database: those open now, and those opened since it was made.
SESSIONS = """
    SELECT
        (SELECT count(*) FROM pg_stat_activity WHERE datname = %(dbname)s),
        (SELECT sessions FROM pg_stat_database WHERE datname = %(dbname)s)
"""


def sleep_50ms_async(server: Server, settings: Settings) -> Figures:
    """The warm-up counts, too: a thread that it left behind was started all the same."""
    longer = replace(settings, seconds=settings.seconds * LONGER)
    with watching_threads(server.worker()) as started:
        figures = pages_of("/sleep_50ms_async/", server, longer, MANY)
    return {**figures, "started": len(started)}


def version(database: Postgres) -> str:
    """PostgreSQL's own, without what the distribution adds to it."""
    with psycopg.connect(**database.parameters) as connection:
        return (connection.info.parameter_status("server_version") or "unknown").split()[0]


def sessions(database: Postgres) -> tuple[int, int]:
    """See :data:`SESSIONS`; asked from a database that the project does not use."""
    parameters = {**database.parameters, "dbname": "template1"}
    with psycopg.connect(**parameters) as connection:
        row = connection.execute(SESSIONS, {"dbname": database.dbname}).fetchone()
    assert row is not None
    return row[0], row[1]


def sessions_since(database: Postgres, before: int) -> tuple[int, int]:
    """Open now, and opened since ``before``, once every open one is among the reported ones.

    A backend reports what it did when it is idle for a while, and when it ends.
    """
    deadline = time.monotonic() + REPORT_TIMEOUT
    while True:
        now, total = sessions(database)
        if total - before >= now or time.monotonic() > deadline:
            return now, total - before
        time.sleep(0.1)


def query(server: Server, settings: Settings) -> Figures:
    """From the first query on, so that the warm-up's connections count as well."""
    assert server.database is not None
    _, before = sessions(server.database)
    figures = pages_of("/query_async/", server, settings)
    alive = len(threads(server.worker()))
    now, opened = sessions_since(server.database, before)
    return {**figures, "open": now, "opened": opened, "threads": alive}


def count(name: str, unit: str) -> Metric:
    return Metric(name, unit, lower_is_better=True, ratio=False)


MEASURES = (
    Measure(
        "P4",
        f"Async view that sleeps 50 ms, {MANY:,} connections",
        "at least 0.8 times its own rate in P2, and no thread started",
        (RATE, count("started", "threads")),
        serves_async,
        sleep_50ms_async,
        own_server=True,
    ),
    Measure(
        "P5",
        "Async view with one ORM query, PostgreSQL and psycopg, `CONN_MAX_AGE = None`",
        "at least 8 times the best ASGI peer; no more connections than threads, each opened once",
        (RATE, count("open", "connections"), count("opened", "in all"), count("threads", "alive")),
        serves_async,
        query,
        own_server=True,
        database=True,
    ),
)
