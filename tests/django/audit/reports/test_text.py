from __future__ import annotations

import io
import re

import pytest

from twogate.django.audit import Audit
from twogate.django.audit.reports.text import write_text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def report(audit: Audit, stream: io.StringIO, everything: bool = False) -> str:
    write_text(audit, stream, everything)
    return stream.getvalue()


def test_each_finding_says_where_why_and_how_to_mend(audit: Audit) -> None:
    text = report(audit, io.StringIO())
    assert "my shop/views.py:7 error twogate.E201\n  live calls [bold]Shop.objects.get()." in text
    assert "  why:  Django refuses it there" in text
    assert "  mend: Await aget(…)." in text
    assert text.index("E201") < text.index("W202") < text.index("I010")
    assert text.endswith("1 error, 1 warning, 1 info, 2 ignored\n")
    assert "\x1b" not in text


def test_the_project_comes_first_and_packages_are_grouped(audit: Audit) -> None:
    text = report(audit, io.StringIO())
    assert "302 URL patterns: 301 go through WSGI, 1 through ASGI" in text
    assert re.search(r"/live/<int:pk>/ +shop\.views\.live +async +ASGI +15 → 0", text)
    assert re.search(r"/me/ +shop\.views\.me +sync +WSGI +9 → 0\*", text)
    assert "* answered by a middleware" in text
    assert "300 sync of django through WSGI, crossings 16 → 0" in text
    assert "--all" in text
    everything = report(audit, io.StringIO(), everything=True)
    assert len(re.findall(r"^/admin/ ", everything, re.MULTILINE)) == 300
    assert "TWOGATE_GATEWAYS" in everything


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_it_fits_every_terminal(
    audit: Audit, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    text = report(audit, Terminal(), everything=True)
    assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines())) <= columns
    for part in ("E201", "/live/<int:pk>/", "15 → 0", "why:", "mend:"):
        assert part in text


def test_colours_are_for_terminals_that_want_them(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1;31merror" in report(audit, Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in report(audit, Terminal())


def test_nothing_to_mend_is_said(audit: Audit) -> None:
    audit.findings, audit.routes, audit.ignored = [], [], 0
    assert report(audit, io.StringIO()) == "Nothing to mend in shop.settings\n"
