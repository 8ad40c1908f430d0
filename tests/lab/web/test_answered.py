"""Answers that are kept, seen through the pages of a running lab."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.lab.web.conftest import Visitor

KEY = "wsgi.how_wsgi_is_called"


def keep(visitor: Visitor, value: Any) -> None:
    rows = [{"kind": "answer", "key": KEY, "value": value}]
    document = {"format": "twogate-lab/1", "learner": "x", "progress": rows}
    visitor.upload("/learner/import/", "file", json.dumps(document).encode())


def kept(visitor: Visitor) -> Any:
    return visitor.get("/learner/export/").data["progress"][0]["value"]


def test_answers_are_counted_and_the_last_one_is_told(visitor: Visitor) -> None:
    for fields, count in (({"choice": "1"}, 1), ({"skip": "yes"}, 2)):
        told = visitor.submit(f"/practise/question/{KEY}/", seed="7", **fields).text
        assert "How does a web server hand a request" in told
        assert kept(visitor)["asked"] == count
    assert "Here is the answer." in told
    assert kept(visitor)["last"] == {"seed": 7, "given": []}


@pytest.mark.parametrize(
    "value",
    [
        1,
        {"asked": "x", "right": None, "last": {"seed": 1, "given": [9]}},
        {"asked": 1, "right": 1, "last": {"seed": [], "given": 4}},
        {"last": {"seed": 1e400, "given": [0.5]}},
    ],
)
def test_what_was_imported_may_be_anything(visitor: Visitor, value: Any) -> None:
    keep(visitor, value)
    assert "Choose one." in visitor.get(f"/practise/question/{KEY}/answer/").text
    assert visitor.get("/practise/").status == 200
    assert visitor.submit(f"/practise/question/{KEY}/", skip="yes").status == 200
    assert kept(visitor)["last"]["given"] == []
