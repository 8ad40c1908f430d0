"""What all tests have in common."""

from __future__ import annotations

import pytest

from twogate.realtime import topics


@pytest.fixture(scope="session", autouse=True)
def _broadcasts_stay_here() -> None:
    """The test process has Django's settings, and so a carrier; other runs of tests do as well."""
    topics.carry(None)
