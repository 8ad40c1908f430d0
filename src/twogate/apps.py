"""Twogate as a Django app: with ``"twogate"`` in ``INSTALLED_APPS``, ``manage.py`` knows it."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["TwogateConfig"]


class TwogateConfig(AppConfig):  # type: ignore[misc]
    """Brings the commands ``runserver`` and ``twogate``, the audit as system checks, and the
    browser's part of real time."""

    name = "twogate"
    verbose_name = "Twogate"

    def ready(self) -> None:
        """Register the system checks."""
        from twogate.django.audit.system_checks import register

        register()
