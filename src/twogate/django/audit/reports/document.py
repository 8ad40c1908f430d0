"""The report as JSON: all that the audit knows, for programs.

``{"format": "twogate-check/1", "versions": {…}, "project": {…}, "summary": {…}, "findings": […],
"routes": […], "middleware": […]}``; files are relative to the project's root where they are in it.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import django

import twogate
from twogate.django.audit import Audit
from twogate.django.audit.finding import Level, Place

__all__ = ["FORMAT", "as_json"]

#: Changes when a field goes away or means something else; more fields may come at any time.
FORMAT = "twogate-check/1"


def as_json(audit: Audit) -> str:
    """The whole audit."""
    root = audit.project.root
    document = {
        "format": FORMAT,
        "versions": {
            "twogate": twogate.__version__,
            "django": django.get_version(),
            "python": platform.python_version(),
        },
        "project": {"settings": audit.project.settings, "root": str(root)},
        "summary": {
            **{level.name.lower(): _count(audit, level) for level in reversed(Level)},
            "ignored": audit.ignored,
        },
        "findings": [
            {
                "id": finding.rule.id,
                "level": finding.rule.level.name.lower(),
                "file": _relative(finding.file, root),
                "line": finding.line,
                "title": finding.rule.title,
                "message": finding.message,
                "why": finding.rule.why,
                "mend": finding.mend,
            }
            for finding in audit.findings
        ],
        "routes": [
            {
                "path": route.path,
                "view": route.view,
                **_place(route.place, root),
                "async": route.is_async,
                "gateway": route.gateway,
                "why": route.why,
                "crossings": {"stock": route.stock, "twogate": route.ours},
                "reached": route.reached,
            }
            for route in audit.routes
        ],
        "middleware": [
            {"path": step.path, "takes_thread": step.reason, **_place(step.place, root)}
            for step in audit.middleware
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _count(audit: Audit, level: Level) -> int:
    return sum(finding.rule.level is level for finding in audit.findings)


def _place(place: Place | None, root: Path) -> dict[str, Any]:
    if place is None:
        return {"file": None, "line": None}
    return {"file": _relative(place[0], root), "line": place[1]}


def _relative(file: Path, root: Path) -> str:
    return (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()
