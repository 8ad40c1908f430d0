"""What is kept, seen through export and import of a running lab."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.lab.web.conftest import Visitor

from twogate.lab.bank import all_questions
from twogate.lab.exercises.course import EXERCISES
from twogate.lab.recall import CARDS, PROMPTS
from twogate.lab.watching import SCENARIOS


def restore(visitor: Visitor, progress: Any) -> Any:
    document = {"format": "twogate-lab/1", "learner": "x", "progress": progress}
    return visitor.upload("/learner/import/", "file", json.dumps(document).encode())


def test_what_is_imported_takes_the_place_of_what_was_there(visitor: Visitor) -> None:
    for key in ("one", "two"):
        row = {"kind": "card", "key": key, "value": [key, None, 1.5, {"ä": "\ud83d"}]}
        assert restore(visitor, [row]).status == 200
        assert visitor.get("/learner/export/").data["progress"] == [row]


@pytest.mark.parametrize(
    ("progress", "sentence"),
    [
        ({}, "should be a list"),
        ([1], "Thing 1 of"),
        ([{"kind": "card", "key": "a"}], "should have a kind, a key and a value"),
        ([{"kind": "other", "key": "a", "value": 1}], "is of no known kind"),
        ([{"kind": ["card"], "key": "a", "value": 1}], "is of no known kind"),
        ([{"kind": "card", "key": "", "value": 1}], "has no proper key"),
        ([{"kind": "card", "key": "k" * 101, "value": 1}], "has no proper key"),
        ([{"kind": "card", "key": "a", "value": "x" * 300_001}], "is too large"),
        ([{"kind": "card", "key": "a", "value": None}], "has no value"),
        ([{"kind": "card", "key": "a", "value": 1}] * 2, "stands twice"),
    ],
)
def test_what_is_no_progress_changes_nothing(
    visitor: Visitor, progress: Any, sentence: str
) -> None:
    row = {"kind": "card", "key": "kept", "value": 1}
    restore(visitor, [row])
    answer = restore(visitor, progress)
    assert answer.status == 400
    assert sentence in answer.text
    assert "Nothing has changed." in answer.text
    assert visitor.get("/learner/export/").data["progress"] == [row]


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"NaN", b"[" * 100_000, b"\xff\xfe"])
def test_what_is_no_file_of_the_lab_is_refused(visitor: Visitor, text: bytes) -> None:
    answer = visitor.upload("/learner/import/", "file", text)
    assert answer.status == 400
    assert "This file" in answer.text


@pytest.mark.parametrize("value", [[], "x", 5, True, {}, {"right": "x", "code": 5, "last": {}}])
def test_whatever_was_imported_breaks_no_page(visitor: Visitor, value: Any) -> None:
    question, card, prompt = all_questions()[0].key, CARDS[0].key, PROMPTS[0].key
    kept = (
        *(("seen", key) for key in (*SCENARIOS, "many")),
        *(("step", exercise.key) for exercise in EXERCISES),
        ("answer", question),
        ("test", "it"),
        ("card", card),
        ("explanation", prompt),
    )
    rows = [{"kind": kind, "key": key, "value": value} for kind, key in kept]
    assert restore(visitor, rows).status == 200
    pages = ("", "watch/", "many/", "build/", "practise/", "recall/", "live/", "learner/")
    details = (
        f"practise/question/{question}/", "practise/test/it/", "recall/review/",
        f"recall/explain/{prompt}/", f"recall/explain/{prompt}/compare/", "build/consumer/",
    )  # fmt: skip
    statuses = {page: visitor.get(f"/{page}").status for page in (*pages, *details)}
    assert [page for page in pages if statuses[page] != 200] == []
    assert [page for page in details if statuses[page] not in (200, 404)] == []
    for page, fields in (
        ("recall/review/", {"card": card, "rating": "good", "asked": "new"}),
        ("practise/test/", {"kind": "test"}),
        (f"recall/explain/{prompt}/", {"text": "a"}),
    ):
        assert visitor.submit(f"/{page}", **fields).status < 500
