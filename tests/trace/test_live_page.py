"""The list of live traces: whole in itself. ``tests/system/test_live_traces.py`` looks at it."""

from __future__ import annotations

import re

from twogate.trace.live_page import PAGE, POLICY


def test_it_loads_nothing_from_anywhere() -> None:
    assert re.findall(r"""(?:src|href)=["'](?!data:)""", PAGE) == []
    assert "http" not in PAGE
    assert "default-src 'none'" in POLICY


def test_what_comes_from_requests_is_never_markup() -> None:
    assert "innerHTML" not in PAGE
    assert "insertAdjacentHTML" not in PAGE
