"""``"twogate.django"`` in ``INSTALLED_APPS``: Django's staticfiles then find the browser client."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["TwogateConfig"]


class TwogateConfig(AppConfig):  # type: ignore[misc]
    """Static files, and nothing else: no models, no checks."""

    name = "twogate.django"
    label = "twogate"
    verbose_name = "Twogate"
