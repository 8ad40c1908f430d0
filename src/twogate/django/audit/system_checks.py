"""The audit as Django's system checks, so that ``manage.py check`` tells it, too.

Django runs them before nearly every command: they read files and settings, import nothing and send
nothing. Infos are left to ``twogate check``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from django.conf import settings
from django.core import checks, mail

from twogate.config import resolve
from twogate.django.audit import look
from twogate.django.audit.catalogue import ANY_HOST, CANNOT_LOAD, NO_HOSTS, SECRET_KEY
from twogate.django.audit.finding import Finding, Level
from twogate.django.audit.source import Source
from twogate.django.discovery import Project
from twogate.errors import ProjectError

__all__ = ["check_project"]

_ABOUT_OPERATION = (SECRET_KEY, NO_HOSTS, ANY_HOST)


def check_project() -> list[checks.CheckMessage]:
    """The findings for the project whose settings are in use; none without a settings module."""
    project = _project()
    if project is None:
        return []
    source = Source(project)
    try:
        source.settings_file  # noqa: B018 - is it there?
    except ProjectError:
        return []  # settings without a file have nothing to point at
    findings = look(source, resolve({}, {}, None, None))
    # Django is up, so the project loads; a check of ours that stumbles must not stop a command.
    wanted = [f for f in findings if f.rule.level > Level.INFO and f.rule is not CANNOT_LOAD]
    return [_message(f) for f in wanted if not (_is_tested() and f.rule in _ABOUT_OPERATION)]


def _is_tested() -> bool:
    """Whether Django's test runner has changed settings: then ``DEBUG`` is off for tests alone."""
    return hasattr(mail, "outbox")


def _project() -> Project | None:
    name = getattr(settings, "SETTINGS_MODULE", None)
    file = getattr(sys.modules.get(name or ""), "__file__", None)
    if not name or not file:
        return None
    path = Path(file).resolve()
    depth = name.count(".") + (path.name == "__init__.py")
    if depth >= len(path.parents):
        return None
    return Project(name, path.parents[depth], "DJANGO_SETTINGS_MODULE")


def _message(finding: Finding) -> checks.CheckMessage:
    kind = checks.Error if finding.rule.level is Level.ERROR else checks.Warning
    where = f"{_relative(finding.file)}:{finding.line}"
    return kind(
        f"{where}: {finding.message} {finding.rule.why}",
        hint=finding.mend,
        id=finding.rule.id,
    )


def _relative(file: Path) -> Path:
    try:
        return file.relative_to(Path.cwd())
    except ValueError:
        return file
