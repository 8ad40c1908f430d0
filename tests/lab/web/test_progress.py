"""What is kept, seen through export and import of a running lab."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.lab.web.conftest import Visitor


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
