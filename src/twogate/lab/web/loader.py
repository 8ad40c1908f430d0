"""What the worker of ``twogate lab`` loads: the lab, with the rooms of its Live page recorded.

Runs once, on the main thread of the worker, before its loop starts.
"""

from __future__ import annotations

from twogate.config import Config
from twogate.dispatch import Applications
from twogate.django import project

__all__ = ["load"]


def load(config: Config) -> Applications:
    """The lab's applications.

    :raises ProjectError: they cannot be loaded; says what to mend.
    """
    from twogate.django import tracing

    tracing.install()  # before Django's classes are in use
    applications = project.load(config)
    from twogate.lab.web.windows import ROOMS

    ROOMS.tracer.record(applications)
    return applications
