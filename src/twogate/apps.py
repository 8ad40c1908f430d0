"""Twogate as a Django app: with ``"twogate"`` in ``INSTALLED_APPS``, ``manage.py`` knows it."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core import checks

__all__ = ["TwogateConfig"]


class TwogateConfig(AppConfig):  # type: ignore[misc]
    """Brings the commands ``runserver`` and ``twogate``, the audit as system checks, and the
    browser's part of real time."""

    name = "twogate"
    verbose_name = "Twogate"

    def ready(self) -> None:
        """Register the system checks."""
        checks.register(_audit, "twogate")


def _audit(app_configs: Any, **keywords: Any) -> list[checks.CheckMessage]:
    """The system check. A worker never asks, so it does not load the audit either."""
    from twogate.django.audit.system_checks import check_project

    return check_project()
