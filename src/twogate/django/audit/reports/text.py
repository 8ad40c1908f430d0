"""The report for people: findings by level, then what becomes of each URL pattern.

Rich lays it out for the width of the terminal and leaves colours out where nobody sees them
(``NO_COLOR``, a pipe, a file).
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from twogate.django.audit import Audit
from twogate.django.audit.finding import Finding, Level, Place
from twogate.django.audit.routes import Route

__all__ = ["write_text"]

_COLOURS = {Level.ERROR: "bold red", Level.WARNING: "bold yellow", Level.INFO: "bold blue"}
#: URL patterns of the project shown without ``--all``; those of packages are grouped.
_TOP = 20
#: Narrower terminals get a list in place of the table.
_NARROW = 90
#: Columns for a stream that is no terminal.
_WIDTH_OF_FILES = 120


def write_text(audit: Audit, stream: TextIO, everything: bool = False) -> None:
    """Write the report.

    :param everything: all URL patterns, and not only the first.
    """
    if stream.isatty():
        console = Console(file=stream, highlight=False, emoji=False)
        _Writer(audit, console).write(everything)
        return
    text = io.StringIO()
    console = Console(file=text, width=_WIDTH_OF_FILES, highlight=False, emoji=False)
    _Writer(audit, console).write(everything)
    for line in text.getvalue().splitlines():
        stream.write(line.rstrip() + "\n")  # Rich fills lines up


class _Writer:
    def __init__(self, audit: Audit, console: Console) -> None:
        self._audit = audit
        self._console = console

    def write(self, everything: bool) -> None:
        for finding in self._audit.findings:
            self._finding(finding)
        if self._audit.routes:
            self._routes(everything)
        self._summary()

    def _print(self, markup: str, indent: int = 0) -> None:
        self._console.print(Padding(markup, (0, 0, 0, indent), expand=False))

    def _finding(self, finding: Finding) -> None:
        rule = finding.rule
        colour = _COLOURS[rule.level]
        self._print(
            f"[bold]{escape(self._at((finding.file, finding.line)))}[/]"
            f" [{colour}]{rule.level.name.lower()}[/] {rule.id}"
        )
        self._print(escape(finding.message), 2)
        self._print(f"[dim]why:[/]  {escape(rule.why)}", 2)
        self._print(f"[dim]mend:[/] {escape(finding.mend)}", 2)
        self._console.print()

    def _at(self, place: Place | None) -> str:
        if place is None:
            return ""
        file, line = place
        for base in (Path.cwd(), self._audit.project.root):
            if file.is_relative_to(base):
                return f"{file.relative_to(base)}:{line}"
        parts = file.parts
        if "site-packages" in parts:
            file = Path(*parts[parts.index("site-packages") + 1 :])
        return f"{file}:{line}"

    # URL patterns.

    def _routes(self, everything: bool) -> None:
        routes = self._audit.routes
        counts = Counter(route.gateway for route in routes)
        self._print(
            f"[bold]{len(routes)} URL patterns[/]: {counts['wsgi']} go through WSGI,"
            f" {counts['asgi']} through ASGI"
        )
        # Async before sync, and the project's own before what it has installed.
        ordered = sorted(routes, key=lambda route: (not self._is_own(route), not route.is_async))
        shown = ordered if everything else list(filter(self._is_own, ordered))[:_TOP]
        if self._console.width < _NARROW:
            for route in shown:
                self._narrow(route)
        elif shown:
            self._console.print(self._table(shown))
        rest = [route for route in ordered if route not in shown]
        if not all(route.reached for route in routes):
            self._print("[dim]* answered by a middleware, before the view[/]", 2)
        if rest:
            for line in _grouped(rest):
                self._print(f"[dim]{escape(line)}[/]", 2)
            self._print("[dim]--all shows each.[/]", 2)
        self._console.print()

    def _is_own(self, route: Route) -> bool:
        root = self._audit.project.root
        return (
            route.place is not None
            and route.place[0].is_relative_to(root)
            and "site-packages" not in route.place[0].parts
        )

    def _narrow(self, route: Route) -> None:
        self._print(f"[bold]{escape(route.path)}[/]", 2)
        self._print(f"{_kind(route)} → {_gateway(route)}, crossings {_crossings(route)}", 4)
        self._print(f"{escape(route.view)} [dim]{escape(self._at(route.place))}[/]", 4)

    def _table(self, routes: list[Route]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("URL", overflow="fold")
        table.add_column("view", overflow="fold", ratio=1)
        table.add_column("kind", no_wrap=True)
        table.add_column("gateway")
        table.add_column("crossings\nstock → ours", justify="right", no_wrap=True)
        for route in routes:
            view = f"{escape(route.view)}\n[dim]{escape(self._at(route.place))}[/]"
            table.add_row(
                escape(route.path), view, _kind(route), _gateway(route), _crossings(route)
            )
        return table

    # The end.

    def _summary(self) -> None:
        counts = Counter(finding.rule.level for finding in self._audit.findings)
        parts = [_plural(counts[level], level.name.lower()) for level in reversed(Level)]
        ignored = f", {self._audit.ignored} ignored" if self._audit.ignored else ""
        if self._audit.findings:
            self._print(f"[bold]{', '.join(parts)}[/]{ignored}")
        else:
            self._print(
                f"[bold green]Nothing to mend[/] in {self._audit.project.settings}{ignored}"
            )


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _kind(route: Route) -> str:
    return "async" if route.is_async else "sync"


def _gateway(route: Route) -> str:
    """The gateway, and the reason unless that is the kind of view."""
    colour = "cyan" if route.gateway == "asgi" else "green"
    why = "" if route.why == f"{_kind(route)} view {route.view}" else f" ({escape(route.why)})"
    return f"[{colour}]{route.gateway.upper()}[/]{why}"


def _crossings(route: Route) -> str:
    if route.stock is None or route.ours is None:
        return "?"
    return f"{route.stock} → {route.ours}{'' if route.reached else '*'}"


def _grouped(routes: list[Route]) -> Iterator[str]:
    """A line for all patterns of one package that fare alike."""
    groups = Counter(
        (route.view.partition(".")[0], _kind(route), route.gateway, _crossings(route))
        for route in routes
    )
    for (package, kind, gateway, crossings), count in groups.most_common():
        yield f"{count} {kind} of {package} through {gateway.upper()}, crossings {crossings}"
