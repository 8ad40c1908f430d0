"""Turns the figures of a run into a Markdown page, with a JSON file of the raw ones beside it."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from measure import Measure, Metric, Settings
from targets import Target

NOTHING = "-"


@dataclass(slots=True)
class Record:
    """One measurement of one server in one round: its figures, or why there are none."""

    round: int
    target: str
    measure: str
    figures: dict[str, float] = field(default_factory=dict)
    error: str = ""


@dataclass(slots=True)
class Run:
    """All that was measured, and under what conditions."""

    command: str
    started: str
    rounds: int
    settings: Settings
    targets: list[Target]
    measures: list[Measure]
    versions: dict[str, str]
    records: list[Record] = field(default_factory=list)
    #: Calls per second of Django's WSGI handler with no server, one figure for each round.
    bare_loop: list[float] = field(default_factory=list)

    def values(self, target: Target, measure: Measure, metric: str) -> list[float]:
        return [
            record.figures[metric]
            for record in self.records
            if (record.target, record.measure) == (target.name, measure.key)
            and metric in record.figures
        ]

    def error(self, target: Target, measure: Measure) -> str:
        for record in self.records:
            if (record.target, record.measure) == (target.name, measure.key) and record.error:
                return record.error
        return ""

    def median(self, target: Target, measure: Measure, metric: str) -> float | None:
        values = self.values(target, measure, metric)
        return statistics.median(values) if values else None

    def best_peer(self, measure: Measure, metric: Metric) -> float | None:
        """The best median of all peers in all their settings."""
        name = metric.versus or metric.name
        medians = [
            median
            for target in self.targets
            if target.is_peer and (median := self.median(target, measure, name)) is not None
        ]
        if not medians:
            return None
        return min(medians) if metric.lower_is_better else max(medians)


def machine() -> str:
    """Processor cores and interpreter; nothing that says whose machine it is."""
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()} "
        f"{platform.release().split('-')[0]}, Python {platform.python_version()}"
    )


def number(value: float) -> str:
    if abs(value) >= 100 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.3f}"


def spread(values: list[float]) -> str:
    """Median and range."""
    if not values:
        return NOTHING
    median = number(statistics.median(values))
    if len(values) == 1:
        return median
    return f"{median} ({number(min(values))} to {number(max(values))})"


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def ratio(run: Run, target: Target, measure: Measure, metric: Metric) -> str:
    median, best = run.median(target, measure, metric.name), run.best_peer(measure, metric)
    return f"{median / best:.2f}" if median is not None and best else NOTHING


def header(measure: Measure) -> list[str]:
    names = [f"{metric.name}, {metric.unit}" for metric in measure.metrics]
    ratios = [f"{metric.name} ÷ best peer" for metric in measure.metrics if metric.ratio]
    cells = ["server", *names, *ratios]
    return [row(cells), row(["---", *("---:" for _ in cells[1:])])]


def server_row(run: Run, target: Target, measure: Measure) -> str:
    name = f"**{target.name}**" if not target.is_peer else target.name
    if error := run.error(target, measure):
        return row(
            [name, f"failed: {error}", *(NOTHING for _ in header(measure)[0].split("|")[4:])]
        )
    values = [spread(run.values(target, measure, metric.name)) for metric in measure.metrics]
    failed = sum(run.values(target, measure, "failed"))
    if failed:
        values[0] += f" [{failed:.0f} errors]"
    ratios = [ratio(run, target, measure, metric) for metric in measure.metrics if metric.ratio]
    return row([name, *values, *ratios])


def bare_row(run: Run, measure: Measure) -> list[str]:
    """The limit of P1, and how near Twogate comes to it."""
    if measure.key != "P1" or not run.bare_loop:
        return []
    limit = statistics.median(run.bare_loop)
    best = run.best_peer(measure, measure.metrics[0])
    lines = [
        row(
            [
                "Django's WSGI handler in a bare loop, no server",
                spread(run.bare_loop),
                f"{limit / best:.2f}" if best else NOTHING,
            ]
        )
    ]
    for target in run.targets:
        median = run.median(target, measure, "rate")
        if not target.is_peer and median is not None:
            lines += ["", f"{target.name}: {median / limit:.2f} of the bare loop."]
    return lines


def pace_rows(run: Run, measure: Measure) -> list[str]:
    """How much of its rate with few connections Twogate keeps with many: P4 against P2."""
    few = [other for other in run.measures if other.key == "P2"]
    if measure.key != "P4" or not few:
        return []
    lines = []
    for target in run.targets:
        many, pace = run.median(target, measure, "rate"), run.median(target, few[0], "rate")
        if not target.is_peer and many is not None and pace:
            lines += ["", f"{target.name}: {many / pace:.2f} of its own rate in P2."]
    return lines


def section(run: Run, measure: Measure) -> list[str]:
    targets = [target for target in run.targets if measure.applies(target)]
    return [
        f"## {measure.key}: {measure.title}",
        "",
        f"Goal: {measure.goal}.",
        "",
        *header(measure),
        *(server_row(run, target, measure) for target in targets),
        *bare_row(run, measure),
        *pace_rows(run, measure),
        "",
    ]


def conditions(run: Run) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(run.versions.items()))
    return [
        "# Benchmark",
        "",
        f"- Command: `{run.command}`",
        f"- Begun: {run.started}; {run.rounds} rounds, every server in turn in each",
        f"- Machine: {machine()}",
        f"- Versions: {versions}",
        "- One worker process each, but for P10;"
        f" `wrk -t1 -c32 -d{run.settings.seconds:g}s` for pages, for P4",
        "  `-c1000` and three times as long; figures are the median and, in brackets, the",
        "  range over the rounds. Machines differ and are noisy: only ratios within one run say",
        "  anything.",
        "- Bold: our code. P4 counts the threads met by a look every 0.1 s, a lower bound for",
        "  those that live for less; P5 counts connections by PostgreSQL's own statistics.",
        f"- P11 moves {run.settings.size >> 20} MiB; the other side takes 1 MB/s for"
        f" {run.settings.slow:g} s, then all it can.",
        "",
    ]


def flags(run: Run) -> list[str]:
    rows = [
        row([target.name, target.version, f"`{target.flags}`" if target.flags else NOTHING])
        for target in run.targets
        if any(measure.applies(target) for measure in run.measures)
    ]
    head = [row(["server", "version", "flags"]), row(["---"] * 3)]
    return ["## How each server was started", "", *head, *rows, ""]


def markdown(run: Run) -> str:
    sections = [line for measure in run.measures for line in section(run, measure)]
    return "\n".join([*conditions(run), *sections, *flags(run)])


def raw(run: Run) -> str:
    return json.dumps(
        {
            "command": run.command,
            "started": run.started,
            "machine": machine(),
            "versions": run.versions,
            "settings": asdict(run.settings),
            "commands": {target.name: target.command for target in run.targets},
            "bare_loop": run.bare_loop,
            "records": [asdict(record) for record in run.records],
        },
        indent=1,
    )


def write(run: Run, path: Path) -> None:
    """Write ``path`` (Markdown) and its JSON beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(markdown(run))
    path.with_suffix(".json").write_text(raw(run) + "\n")
