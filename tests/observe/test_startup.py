from __future__ import annotations

import io

import pytest

from twogate import __version__
from twogate.config import Config
from twogate.observe.startup import Style, announce, warn


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_message_is_plain_and_aligned_and_warnings_come_last() -> None:
    stream = io.StringIO()
    config = Config(workers=2, warnings=["TWOGATE_X is set but is no option."])
    notes = ["WSGI: mysite.wsgi.application", "warning: mend: this", "views: 3 URL patterns"]
    announce(config, 2, ["http://127.0.0.1:8000", "unix:/a"], notes, stream)
    assert stream.getvalue() == (
        f"Twogate {__version__}\n"
        "  serves    http://127.0.0.1:8000\n"
        "            unix:/a\n"
        "  workers   2 processes\n"
        "  threads   up to 64 per worker, as many awake as pay off\n"
        "  WSGI      mysite.wsgi.application\n"
        "  views     3 URL patterns\n"
        "  warning   TWOGATE_X is set but is no option.\n"
        "  warning   mend: this\n"
    )


def test_one_process_without_a_supervisor_is_told_as_such() -> None:
    stream = io.StringIO()
    announce(Config(workers=0, reload=True), 0, [], [], stream)
    assert "one process without a supervisor" in stream.getvalue()
    assert "reload" in stream.getvalue()


def test_colours_are_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert Style(Terminal()).red("x") == "\x1b[31;1mx\x1b[0m"
    assert Style(io.StringIO()).red("x") == "x"
    assert list(warn(["warning: w"], [], Style(Terminal()))) == ["  \x1b[33;1mwarning\x1b[0m   w"]
    monkeypatch.setenv("NO_COLOR", "1")
    assert Style(Terminal()).yellow("x") == "x"
    monkeypatch.setenv("NO_COLOR", "")
    assert Style(Terminal()).bold("x") == "\x1b[1mx\x1b[0m"


@pytest.mark.parametrize(
    ("level", "told"), [("warning", "  warning   w\n"), ("error", ""), ("critical", "")]
)
def test_the_log_level_holds_for_the_message(level: str, told: str) -> None:
    stream = io.StringIO()
    announce(Config(log_level=level), 1, ["http://a"], ["WSGI: a", "warning: w"], stream)
    assert stream.getvalue() == told
