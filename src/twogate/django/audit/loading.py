"""Loads a project as the server would, step by step, and turns each failure into a finding.

On the main thread. What the project prints goes to standard error, so that a report stays whole.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, TypeVar

from twogate.config import Config
from twogate.django.audit import catalogue
from twogate.django.audit.finding import Finding, Place
from twogate.django.audit.source import Source
from twogate.django.project import count_views, entry_point, import_from, set_up
from twogate.errors import ProjectError

__all__ = ["Loaded", "finding_of", "load"]

_Result = TypeVar("_Result")


@dataclass(slots=True)
class Loaded:
    """What of a project could be loaded.

    :ivar ready: the settings and the apps are there.
    :ivar routed: the URLconf is there.
    :ivar applications: by ``"wsgi"`` and ``"asgi"``.
    """

    ready: bool = False
    routed: bool = False
    applications: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def load(config: Config, source: Source, explained: Collection[str] = ()) -> Loaded:
    """Import the settings, the apps, the entry points and the URLconf; go on as far as one can.

    :param explained: the settings of entry points whose text already says what is wrong with them.
    """
    loaded = Loaded()
    with contextlib.redirect_stdout(sys.stderr):
        import_from(source.root)
        os.environ["DJANGO_SETTINGS_MODULE"] = source.project.settings
        loaded.ready = _try(loaded, source, "INSTALLED_APPS", lambda: _set_up(source)) is not None
        if not loaded.ready:
            return loaded
        for kind in ("wsgi", "asgi"):
            setting = f"{kind.upper()}_APPLICATION"
            known = setting in explained
            application = _try(loaded, source, setting, _entry(config, kind, source), known)
            if application is not None:
                loaded.applications[kind] = application
        counts = _try(loaded, source, "ROOT_URLCONF", lambda: count_views([]))
        loaded.routed = counts is not None and bool(counts.total)
    return loaded


def _set_up(source: Source) -> bool:
    set_up(source.project)
    return True


def _entry(config: Config, kind: str, source: Source) -> Callable[[], Any]:
    return lambda: entry_point(config, kind, source.project, [])


def _try(
    loaded: Loaded,
    source: Source,
    setting: str,
    step: Callable[[], _Result],
    explained: bool = False,
) -> _Result | None:
    try:
        return step()
    except ProjectError as error:
        if error.place is None and explained:
            return None
        finding = finding_of(error, source, setting)
        if not any((f.file, f.line) == (finding.file, finding.line) for f in loaded.findings):
            loaded.findings.append(finding)
        return None


def finding_of(error: ProjectError, source: Source, setting: str = "") -> Finding:
    """An error as a finding.

    :param setting: which one to point at, when the error names no place.
    """
    message, _, _ = error.message.partition("\nThis stopped")
    if error.place is not None:
        message = re.sub(rf"^\S+, line {error.place[1]}: ", "", message)  # the place says that
    syntax = isinstance(error.__cause__, SyntaxError)
    rule = catalogue.SYNTAX_ERROR if syntax else catalogue.CANNOT_LOAD
    place = error.place or _fallback(source, setting)
    file, line = place[0], place[1]
    return rule.at((file if file.is_absolute() else source.root / file, line), message, error.mend)


def _fallback(source: Source, setting: str) -> Place:
    try:
        return source.setting(setting)
    except ProjectError:
        return source.root / "manage.py", 1
