from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trace.pages import document, refused, run, usual

from twogate.trace.page import render


class Parsed(HTMLParser):
    """The texts of a page, and the tags that were opened and not closed."""

    VOID = {"meta", "link", "input", "br"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.embedded = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"] and data.startswith("{"):
            self.embedded = data
        elif self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def test_all_of_a_trace_is_there() -> None:
    trace = usual()
    page = Parsed(render(trace))
    assert page.open == []
    assert json.loads(page.embedded) == trace
    for part in ("GET /polls/?a=<1>&b=2", "3.80 ms", "Refused: 501 Not Implemented", "header <X>"):
        assert part in page.text
    for title in ("Timelines", "What differs", "Execution table", "Variable tracker"):
        assert title in page.text


def test_nothing_is_loaded() -> None:
    page = render(usual())
    assert set(Parsed(page).addresses) == {"data:,", "#timelines"}
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|http://|https://", page)


def test_times_of_the_way_are_each_stops_own() -> None:
    trace = document(run("WSGI", "wsgi", 0, 1000.0))
    text = Parsed(render(trace)).text
    # The gateway has 930 µs, of which the handler has 910.
    assert "20 µs, WSGI" in text


def test_answers_that_are_the_same() -> None:
    trace = document(refused(), refused())
    trace["differences"] = []
    assert "Nothing: the answers are the same." in Parsed(render(trace)).text


def test_one_run_differs_from_nothing() -> None:
    trace = document(run("WSGI", "wsgi", 0, 900.0))
    trace["differences"] = []
    assert "What differs" not in Parsed(render(trace)).text


def test_each_two_runs_have_a_table() -> None:
    text = Parsed(render(usual())).text
    assert "WSGI, and ASGI, stock handler: 1 difference that should not be" in text


def test_a_part_that_is_missing_is_named() -> None:
    trace: dict[str, Any] = document()
    del trace["runs"]
    with pytest.raises(KeyError, match="runs"):
        render(trace)


STRANGE = st.text(alphabet=st.sampled_from("<>&\"'/!-{}$\\ x\u2028\x00"), max_size=30)


@given(STRANGE)
def test_no_text_leaves_its_place(text: str) -> None:
    trace = copy.deepcopy(usual())
    trace["request"]["path"] = text
    trace["request"]["user"] = text
    trace["versions"][text] = text
    for each in trace["runs"]:
        each["title"] = each["id"] = each["gateway"] = text
        for span in each["spans"]:
            span["name"] = text
        for row in each["table"]:
            row["step"] = text
    for difference in trace["differences"]:
        difference["what"] = difference["why"] = text
    page = Parsed(render(trace))
    assert page.open == []
    assert json.loads(page.embedded) == trace
    assert page.addresses == ["data:,", "#timelines"]


def test_what_it_comes_to_is_told() -> None:
    document = usual()
    document["conclusions"] = [
        {"level": "cost", "text": "<b> is a sync view.", "mend": "Through WSGI."},
        {"level": "fine", "text": "All is well.", "mend": ""},
    ]
    page = render(document)
    assert "<h2>What it comes to</h2>" in page
    assert "&lt;b&gt; is a sync view.<small>Through WSGI.</small>" in page
    assert "What it comes to" not in render({**document, "conclusions": []})
