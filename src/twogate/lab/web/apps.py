"""The lab as a Django app."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["LabConfig"]


class LabConfig(AppConfig):  # type: ignore[misc]
    """Templates, static files and two tables: learners, and what they have done."""

    name = "twogate.lab.web"
    label = "lab"
    verbose_name = "Twogate lab"
