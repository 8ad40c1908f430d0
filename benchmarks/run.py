"""Measures Twogate and the servers that are installed, in turn, on one Django project.

``python benchmarks/run.py [--only P1,P3] [--servers twogate,granian] [--quick]``. Writes the table
to ``benchmarks/results/`` as it goes, so that a run that is stopped leaves what it had.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "src"))

import load  # noqa: E402
import measure_http  # noqa: E402
import measure_memory  # noqa: E402
import measure_websocket  # noqa: E402
import project  # noqa: E402
import report  # noqa: E402
from measure import QUICK, Measure, Settings  # noqa: E402
from processes import Server, ServerError, environment, running  # noqa: E402
from targets import TARGETS, Target, chosen  # noqa: E402

MEASURES = (*measure_http.MEASURES, *measure_websocket.MEASURES, *measure_memory.MEASURES)
ALSO_VERSIONED = ("Django", "channels", "uvloop", "httptools", "websockets", "asgiref")


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
    except (load.LoadError, OSError, subprocess.SubprocessError) as error:
        record.error = str(error).strip().splitlines()[-1][:120]
    run.records.append(record)
    shown = " ".join(f"{name} {report.number(value)}" for name, value in record.figures.items())
    print(f"  {measure.key:4} {server.target.name:28} {record.error or shown}", flush=True)


def serve_and_measure(run: report.Run, target: Target, folder: Path, number: int) -> None:
    measures = [m for m in run.measures if m.applies(target) and (m.every_round or number == 1)]
    # Memory at rest is looked at before anything else has made the server grow.
    measures.sort(key=lambda measure: measure.key != "P12")
    if not measures:
        return
    try:
        with running(target, folder) as server:
            for measure in measures:
                take(run, measure, server, number)
    except ServerError as error:
        print(f"  {error}", flush=True)
        for measure in measures:
            run.records.append(report.Record(number, target.name, measure.key, error="no start"))


def main() -> int:
    args = arguments()
    if args.list:
        for target in TARGETS:
            print(f"{target.name:28} {'' if target.installed else 'not installed'}")
        return 0
    run = new_run(args)
    output = args.output or HERE / "results" / f"{run.started[:10]}.md"
    try:
        if any(measure.needs_wrk for measure in run.measures):
            load.require_wrk()
    except load.LoadError as error:
        print(error, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="twogate-bench-") as parent:
        folder = project.make(Path(parent))
        for number in range(1, run.rounds + 1):
            print(f"round {number} of {run.rounds}", flush=True)
            if any(measure.key == "P1" for measure in run.measures):
                run.bare_loop.append(bare_loop(folder, run.settings.seconds))
            for target in run.targets:
                serve_and_measure(run, target, folder, number)
                report.write(run, output)
    print(report.markdown(run))
    print(f"written to {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
