"""The quick version of ``scripts/leaks``."""

from __future__ import annotations

from pathlib import Path

from .leaks import leaks, measure


def test_requests_whose_clients_leave_leave_nothing_behind(tmp_path: Path) -> None:
    series = list(measure(tmp_path, requests=5000, threads=4, seed=1))
    assert leaks(series) == [], series
    assert series[-1].connections <= 4
