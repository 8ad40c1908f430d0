"""Measures Twogate and the servers that are installed, in turn, on one Django project.

``python benchmarks/run.py [--only P1,P3] [--servers twogate,granian] [--quick]``. Writes the table
to ``benchmarks/results/`` as it goes, so that a run that is stopped leaves what it had.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "src"))
sys.path.insert(0, str(HERE.parent))

import load  # noqa: E402
import measure_async  # noqa: E402
import measure_http  # noqa: E402
import measure_layers  # noqa: E402
import measure_memory  # noqa: E402
import measure_topics  # noqa: E402
import measure_websocket  # noqa: E402
import project  # noqa: E402
import psycopg  # noqa: E402
import report  # noqa: E402
from measure import QUICK, Measure, Settings  # noqa: E402
from processes import Server, ServerError, environment, running  # noqa: E402
from project import Project  # noqa: E402
from targets import TARGETS, Target, chosen  # noqa: E402
from tests.support.postgres import PostgresError, postgres  # noqa: E402
from tests.support.redis import RedisError, redis_server  # noqa: E402

MEASURES = (
    *measure_http.MEASURES,
    *measure_async.MEASURES,
    *measure_websocket.MEASURES,
    *measure_layers.MEASURES,
    *measure_topics.MEASURES,
    *measure_memory.MEASURES,
)
ALSO_VERSIONED = ("Django", "channels", "uvloop", "httptools", "websockets", "asgiref", "psycopg")
#: A thousand connections need more descriptors than many a shell allows at first.
DESCRIPTORS = 8192
#: The stock handler opens a connection for each request that is under way, and closes it late.
DATABASE_CONNECTIONS = 500


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    keys = ",".join(measure.key for measure in MEASURES)
    parser.add_argument("--only", default="", help=f"comma-separated, of {keys}")
    parser.add_argument("--servers", default="", help="comma-separated beginnings of names")
    parser.add_argument("--rounds", type=int, default=2, help="default: 2")
    parser.add_argument("--seconds", type=float, help="length of each load; default: 5")
    parser.add_argument("--quick", action="store_true", help="one short round: does it run at all?")
    parser.add_argument("--output", type=Path, help="the Markdown file to write")
    parser.add_argument("--list", action="store_true", help="show the servers and end")
    return parser.parse_args()


def words(text: str) -> list[str]:
    return [word.strip().lower() for word in text.split(",") if word.strip()]


def settings_of(args: argparse.Namespace) -> Settings:
    base = QUICK if args.quick else Settings()
    return Settings(args.seconds or base.seconds, base.size, base.slow)


def versions(targets: list[Target]) -> dict[str, str]:
    found = {target.package: target.version for target in targets}
    for name in ALSO_VERSIONED:
        found[name] = importlib.metadata.version(name)
    return found


def new_run(args: argparse.Namespace) -> report.Run:
    only = words(args.only)
    targets = chosen(words(args.servers))
    return report.Run(
        command=shlex.join(["python", "benchmarks/run.py", *sys.argv[1:]]),
        started=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        rounds=1 if args.quick else args.rounds,
        settings=settings_of(args),
        targets=targets,
        measures=[m for m in MEASURES if not only or m.key.lower() in only],
        versions=versions(targets),
    )


def bare_loop(folder: Path, seconds: float) -> float:
    """Calls per second of Django alone."""
    done = subprocess.run(
        [sys.executable, str(HERE / "bare_loop.py"), str(seconds)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    return float(done.stdout)


def take(run: report.Run, measure: Measure, server: Server, number: int) -> None:
    """One measurement; a failure is a result, too."""
    record = report.Record(number, server.target.name, measure.key)
    try:
        record.figures = measure.take(server, run.settings)
    except (load.LoadError, OSError, psycopg.Error, subprocess.SubprocessError) as error:
        record.error = str(error).strip().splitlines()[-1][:120]
    run.records.append(record)
    shown = " ".join(f"{name} {report.number(value)}" for name, value in record.figures.items())
    print(f"  {measure.key:4} {server.target.name:28} {record.error or shown}", flush=True)


def servings(measures: list[Measure]) -> list[list[Measure]]:
    """Those that share a server, then each that has one of its own."""
    shared = [measure for measure in measures if not measure.own_server]
    # Memory at rest is looked at before anything else has made the server grow.
    shared.sort(key=lambda measure: measure.key != "P12")
    alone = [[measure] for measure in measures if measure.own_server]
    return [shared, *alone] if shared else alone


def serve_and_measure(
    run: report.Run, measures: list[Measure], target: Target, served: Project, number: int
) -> None:
    """One life of one server."""
    database = served.database if measures[0].database else None
    try:
        with running(target, served.folder, database) as server:
            for measure in measures:
                take(run, measure, server, number)
    except ServerError as error:
        print(f"  {error}", flush=True)
        for measure in measures:
            run.records.append(report.Record(number, target.name, measure.key, error="no start"))


def measure_all(run: report.Run, served: Project, output: Path) -> None:
    for number in range(1, run.rounds + 1):
        print(f"round {number} of {run.rounds}", flush=True)
        if any(measure.key == "P1" for measure in run.measures):
            run.bare_loop.append(bare_loop(served.folder, run.settings.seconds))
        for target in run.targets:
            due = [m for m in run.measures if m.applies(target) and (m.every_round or number == 1)]
            for measures in servings(due):
                serve_and_measure(run, measures, target, served, number)
            report.write(run, output)


def needs_redis(run: report.Run) -> bool:
    return any(m.applies(t) and t.needs_redis for m in run.measures for t in run.targets)


@contextlib.contextmanager
def prepared(run: report.Run) -> Iterator[Project]:
    """The project, and what else the measurements need, for the time of the block.

    :raises LoadError: `wrk` is not installed.
    :raises PostgresError: PostgreSQL is not installed, or does not start.
    :raises RedisError: neither is Redis, or does it.
    """
    if any(measure.needs_wrk for measure in run.measures):
        load.require_wrk()
    with contextlib.ExitStack() as stack:
        database = None
        if any(measure.database for measure in run.measures):
            database = stack.enter_context(postgres(DATABASE_CONNECTIONS))
        redis = None
        if needs_redis(run):
            redis = stack.enter_context(redis_server())
        parent = stack.enter_context(tempfile.TemporaryDirectory(prefix="twogate-bench-"))
        yield project.make(Path(parent), database, redis)


def allow_descriptors() -> None:
    """For the servers and the load alike, which inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def main() -> int:
    args = arguments()
    if args.list:
        for target in TARGETS:
            print(f"{target.name:28} {'' if target.installed else 'not installed'}")
        return 0
    run = new_run(args)
    output = args.output or HERE / "results" / f"{run.started[:10]}.md"
    allow_descriptors()
    try:
        with prepared(run) as served:
            if needs_redis(run):
                for name in ("channels_redis", "redis"):
                    run.versions[name] = importlib.metadata.version(name)
            if served.database is not None:
                run.versions["PostgreSQL"] = measure_async.version(served.database)
            measure_all(run, served, output)
    except (load.LoadError, PostgresError, RedisError) as error:
        print(error, file=sys.stderr)
        return 1
    print(report.markdown(run))
    print(f"written to {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
