"""The audit of a project without serving it, for ``twogate check`` and Django's system checks.

Each module has one group of checks and returns findings; ``reports`` shows them. :func:`audit`
runs on the main thread of a process of its own, because it imports the project and sends requests
through its middleware; :func:`look`, for the system checks, only reads files and settings.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from twogate.config import Config
from twogate.django.audit.blocking import check_blocking
from twogate.django.audit.catalogue import NO_SUCH_APPLICATION, RULES, SYNTAX_ERROR
from twogate.django.audit.entry_points import check_doors, check_entry_points, entry_file
from twogate.django.audit.finding import Finding, Level
from twogate.django.audit.loading import Loaded, finding_of, load
from twogate.django.audit.source import Source
from twogate.django.discovery import Project, find_project
from twogate.django.explain import explaining
from twogate.errors import ProjectError

if TYPE_CHECKING:
    from twogate.django.audit.middleware import Step
    from twogate.django.audit.routes import Route

__all__ = ["Audit", "audit", "look", "parse_ignored"]


@dataclass(slots=True)
class Audit:
    """What an audit found.

    :ivar findings: the worst first.
    :ivar routes: every URL pattern; empty when the project does not load.
    :ivar middleware: each of the setting; empty when the project does not load.
    :ivar ignored: how many findings somebody does not want to hear.
    """

    project: Project
    findings: list[Finding] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    middleware: list[Step] = field(default_factory=list)
    ignored: int = 0

    def worst(self) -> Level | None:
        """The level of the worst finding, or ``None`` if there is none."""
        return max((finding.rule.level for finding in self.findings), default=None)


def audit(config: Config, ignored: Iterable[str] = (), probing: bool = True) -> Audit:
    """Audit the project that the configuration names or that is in this folder.

    :param ignored: codes of what not to tell; see :func:`parse_ignored`.
    :param probing: send requests through the middleware and connect to the databases.
    :raises ProjectError: there is no project.
    """
    collector = _Collector(Source(find_project(config)), config)
    collector.read_files()
    loaded = load(config, collector.source, collector.explained())
    collector.add_failures(loaded.findings)
    if loaded.ready:
        collector.look_at_settings()
        collector.look_at_sockets(loaded, probing)
    if loaded.routed:
        collector.look_at_routes(loaded, probing)
    collector.scan()
    return collector.finish(ignored)


def look(source: Source, config: Config) -> list[Finding]:
    """What can be found while Django is up, without importing or sending anything more."""
    collector = _Collector(source, config)
    collector.read_entry_points()
    collector.look_at_settings()
    collector.scan()
    return collector.finish(()).findings


class _Collector:
    """Asks each group of checks. One that fails on a broken project becomes a finding itself."""

    def __init__(self, source: Source, config: Config) -> None:
        self.source = source
        self._config = config
        self._findings: list[Finding] = []
        self._result = Audit(source.project)

    def _ask(self, group: Callable[[], Iterable[Finding]]) -> None:
        try:
            with explaining("checking the project"):
                self._findings += group()
        except ProjectError as error:
            self.add_failures([finding_of(error, self.source)])

    def add_failures(self, failures: Iterable[Finding]) -> None:
        """Add what went wrong, unless the same line is known to be wrong already."""
        known = {(f.file, f.line) for f in self._findings if f.rule.level is Level.ERROR}
        self._findings += [f for f in failures if (f.file, f.line) not in known]

    def explained(self) -> set[str]:
        """The settings of entry points that are known to be wrong."""
        wrong = {f.file for f in self._findings if f.rule.level is Level.ERROR}
        named = " ".join(f.message for f in self._findings if f.rule is NO_SUCH_APPLICATION)
        try:
            return {
                setting
                for kind, setting in (("wsgi", "WSGI_APPLICATION"), ("asgi", "ASGI_APPLICATION"))
                if setting in named or entry_file(self.source, kind) in wrong
            }
        except ProjectError:  # the settings are not there
            return set()

    def read_files(self) -> None:
        """What the text of the files says, whether they can be imported or not."""
        self._ask(lambda: _not_parsed(self.source))
        self.read_entry_points()

    def read_entry_points(self) -> None:
        """What the text of ``wsgi.py`` and ``asgi.py`` says."""
        self._ask(lambda: check_entry_points(self.source))

    def look_at_settings(self) -> None:
        """What the settings say; Django is up."""
        from twogate.django.audit.databases import check_databases
        from twogate.django.audit.operation import check_operation
        from twogate.django.audit.realtime import check_layer

        self._ask(lambda: check_doors(self.source))
        self._ask(lambda: check_operation(self._config, self.source))
        self._ask(lambda: check_databases(self.source))
        self._ask(lambda: check_layer(self._config, self.source))

    def look_at_sockets(self, loaded: Loaded, probing: bool) -> None:
        """What comes and goes by the network: WebSockets, and databases if they may be asked."""
        from twogate.django.audit.databases import check_reach
        from twogate.django.audit.realtime import check_backends, check_sockets

        asgi = loaded.applications.get("asgi")
        self._ask(lambda: check_sockets(self._config, self.source, asgi))
        self._ask(lambda: check_backends(self.source))
        if probing:
            self._ask(lambda: check_reach(self.source))

    def look_at_routes(self, loaded: Loaded, probing: bool) -> None:
        """The URL patterns and the middleware in front of them."""
        self._ask(lambda: self._routes(loaded, probing))

    def _routes(self, loaded: Loaded, probing: bool) -> Iterator[Finding]:
        from twogate.django.audit.middleware import check_middleware, list_middleware
        from twogate.django.audit.probe import Passage, Traits, pass_through
        from twogate.django.audit.routes import check_routes, list_routes
        from twogate.django.project import http_side

        asgi = loaded.applications.get("asgi")
        serves_http = asgi is None or http_side(asgi).served
        routes, views = list_routes(self._config, serves_http, probing)
        self._result.routes = routes
        passage = pass_through("asgi", Traits(True)) if probing else Passage()
        self._result.middleware = list_middleware(passage.causes)
        yield from check_routes(self.source, probing, views)
        if probing and any(route.gateway == "asgi" for route in routes):
            yield from check_middleware(self.source, self._result.middleware)

    def scan(self) -> None:
        """Async code that blocks; views are known by now, if the project loads."""
        lines: dict[Path, set[int]] = {}
        for route in self._result.routes:
            if route.place is not None and route.is_async:
                lines.setdefault(route.place[0], set()).add(route.place[1])
        for code in self.source.serving_code():
            self._findings += check_blocking(code, lines.get(code.file, ()))

    def finish(self, ignored: Iterable[str]) -> Audit:
        """Leave out what nobody wants to hear, and put the worst first."""
        codes = {*ignored, *_ignored_by_setting()}
        found = set(self._findings)
        wanted = [f for f in found if f.rule.code not in codes and not self._is_ignored_there(f)]
        self._result.ignored = len(found) - len(wanted)
        self._result.findings = sorted(wanted, key=lambda finding: finding.order)
        return self._result

    def _is_ignored_there(self, finding: Finding) -> bool:
        code = self.source.read(finding.file)
        return code is not None and code.ignores(finding.line, finding.rule.code)


def parse_ignored(given: Iterable[str]) -> frozenset[str]:
    """Codes of rules, from ids with or without ``twogate.``, also several with commas.

    :raises ValueError: there is no such rule; the message names the nearest.
    """
    parts = (part.strip() for each in given for part in each.split(","))
    codes = {part.removeprefix("twogate.") for part in parts if part}
    for code in sorted(codes.difference(RULES)):
        close = difflib.get_close_matches(code, RULES, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else "docs/check.md lists all."
        raise ValueError(f"There is no check {code!r}; {hint}")
    return frozenset(codes)


def _not_parsed(source: Source) -> Iterator[Finding]:
    """Files that are no Python, whether anybody imports them or not."""
    for code in source.serving_code():
        if code.error is not None:
            message, line = code.error
            python = ".".join(map(str, sys.version_info[:2]))
            yield SYNTAX_ERROR.at(
                (code.file, line),
                f"SyntaxError: {message} (for Python {python})",
                "Mend that line, or use the Python that it was written for.",
            )


def _ignored_by_setting() -> frozenset[str]:
    from django.conf import settings

    if not settings.configured:
        return frozenset()
    return frozenset(
        str(code).removeprefix("twogate.") for code in getattr(settings, "TWOGATE_CHECK_IGNORE", ())
    )
