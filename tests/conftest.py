"""What all tests have in common."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from twogate.realtime import topics

if "CI" not in os.environ:  # there Hypothesis does so by itself
    # How long an example takes says how busy the machine is.
    settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("busy")


@pytest.fixture(scope="session", autouse=True)
def _broadcasts_stay_here() -> None:
    """The test process has Django's settings, and so a carrier; other runs of tests do as well."""
    topics.carry(None)
