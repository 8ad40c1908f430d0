"""The document on terminals of every width."""

from __future__ import annotations

import io

import pytest
from tests.trace.documents import document

from twogate.trace.terminal import show


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(width: int, stream: io.StringIO | None = None) -> str:
    stream = stream or io.StringIO()
    show(document(), stream, width)
    return stream.getvalue()


@pytest.mark.parametrize("width", [60, 80, 119, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    text = drawn(width)
    assert max(map(len, text.splitlines())) <= width
    for word in ("GET /", "HTTP through wsgi", "⇄ thread: pages", "200 OK", "what differs"):
        assert word in text


def test_side_by_side_where_there_is_room() -> None:
    titles = [line for line in drawn(200).splitlines() if "HTTP through" in line]
    assert len(titles) == 1
    assert titles[0].split("  ")[0] == "HTTP through wsgi"
    assert len([line for line in drawn(80).splitlines() if "HTTP through" in line]) == 3


def test_threads_are_named_where_there_is_room() -> None:
    assert "L bytes in" in drawn(60)
    assert "L main        bytes in" in drawn(80)


def test_colours_only_for_those_who_see_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" not in drawn(80)
    assert "\x1b[33;1m" in drawn(80, Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in drawn(80, Terminal())


def test_the_same_leaf_again_and_again_is_one_line() -> None:
    made = document()
    spans = made["runs"][0]["spans"]
    query = next(span for span in spans if span["kind"] == "query")
    spans += [{**query, "id": 100 + number} for number in range(9)]
    stream = io.StringIO()
    show(made, stream, 80)
    assert "db SELECT 1 *10" in stream.getvalue()


def test_a_long_trace_is_cut_and_says_so() -> None:
    made = document()
    spans = made["runs"][0]["spans"]
    query = next(span for span in spans if span["kind"] == "query")
    spans += [{**query, "id": 100 + number, "name": f"q{number}"} for number in range(400)]
    made["runs"][0]["left_out"] = 7
    stream = io.StringIO()
    show(made, stream, 80)
    assert "… 261 more" in stream.getvalue()


def test_a_terminal_without_these_letters_gets_others() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    show(document(), stream, 80)
    stream.flush()
    assert b"? thread: pages.page" in raw.getvalue()
