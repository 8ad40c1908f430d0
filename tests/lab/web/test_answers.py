"""Views that take and give JSON, called by Django's own request objects."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.http import HttpRequest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.settings import configure

from twogate.lab.web.answers import MOST, Refused, takes_json

configure()


@takes_json
def double(request: HttpRequest, data: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(data.get("number"), int):
        raise Refused("A number is missing.", 422)
    return {"number": 2 * data["number"]}


def ask(body: bytes, kind: str = "application/json", method: str = "POST") -> tuple[int, Any]:
    from django.test import RequestFactory

    request = RequestFactory().generic(method, "/", body, content_type=kind)
    response = double(request)
    return response.status_code, json.loads(response.content)


def test_an_object_is_taken_and_another_given() -> None:
    assert ask(b'{"number": 21}') == (200, {"number": 42})


@pytest.mark.parametrize(
    ("asked", "status", "sentence"),
    [
        ((b'{"number": "a"}',), 422, "A number is missing."),
        ((b"{",), 400, "What was sent is not JSON."),
        ((b"[" * 100_000,), 400, "What was sent is not JSON."),
        ((b"\xff",), 400, "What was sent is not JSON."),
        ((b"[]",), 400, "What was sent is not a JSON object."),
        ((b" " * (MOST + 1),), 413, "That is too much at once."),
        ((b"number=1", "application/x-www-form-urlencoded"), 415, "This address takes JSON."),
        ((b"", "application/json", "GET"), 405, "This address takes POST."),
    ],
)
def test_what_cannot_be_done_is_said(asked: Any, status: int, sentence: str) -> None:
    assert ask(*asked) == (status, {"error": sentence})


@given(st.binary(max_size=50))
def test_whatever_is_sent_gets_an_answer(body: bytes) -> None:
    assert ask(body)[0] in {200, 400, 415, 422}
