"""Which answers differ, which differences are to be expected, and what is random in them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twogate.trace.differences import compare, disagreements, masked


def run(identity: str = "wsgi", **response: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("crossings", "queries", "connections_opened", "threads_started"), 0)
    answer = {
        "status": 200, "reason": "OK", "headers": [], "cookies": {}, "body_bytes": 0, **response,
    }  # fmt: skip
    return {"id": identity, "response": answer, "counts": counts, "duration_us": 1.0}


def wrong(left: dict[str, Any], right: dict[str, Any], *bodies: bytes) -> list[str]:
    one, other = (bodies[0], bodies[1]) if bodies else (b"", b"")
    return [
        found["what"]
        for found in disagreements(compare(left, right, both(left, right, one, other)))
    ]


def both(left: Any, right: Any, one: bytes = b"", other: bytes = b"") -> Any:
    return [(left["response"], one)], [(right["response"], other)]


def test_equal_answers_agree() -> None:
    found = compare(run(), run("asgi"), both(run(), run(), b"a", b"a"))
    assert [one["what"] for one in found] == ["time (µs)"]
    assert found[0]["runs"] == ["wsgi", "asgi"]


@pytest.mark.parametrize(
    ("name", "disagree"),
    [("X-Door", True), ("Date", False), ("Server-Timing", False), ("Content-Length", False)],
)
def test_headers(name: str, disagree: bool) -> None:
    left, right = run(headers=[[name, "1"]]), run(headers=[[name.lower(), "2"]])
    assert wrong(left, right) == ([f"header {name.lower()}"] if disagree else [])


def test_a_header_that_is_repeated_is_a_list() -> None:
    left = run(headers=[["Vary", "Cookie"], ["Vary", "Origin"]])
    assert wrong(left, run(headers=[["vary", "Cookie, Origin"]])) == []


def test_status() -> None:
    assert wrong(run(), run(status=500)) == ["status"]


def test_a_reason_phrase_is_the_gateways_business() -> None:
    assert wrong(run(reason="Fine"), run()) == []


def test_cookies_are_compared_without_what_is_random() -> None:
    one = run(cookies={"sessionid": "sessionid=abc; expires=Mon; HttpOnly; Path=/"})
    other = run(cookies={"sessionid": "sessionid=def; expires=Tue; HttpOnly; Path=/"})
    deleted = run(cookies={"sessionid": 'sessionid=""; HttpOnly; Path=/'})
    assert wrong(one, other) == []
    assert wrong(one, deleted) == ["cookie sessionid"]
    assert wrong(one, run()) == ["cookie sessionid"]


def test_bodies() -> None:
    found = compare(run(), run(), both(run(), run(), b"<p>WSGI</p>", b"<p>ASGI</p>"))[0]
    assert (found["what"], found["expected"]) == ("body", False)
    assert found["left"] == "WSGI</p> (from byte 3 of 11)"


def test_what_changes_through_one_gateway_too_is_expected() -> None:
    left, right = run(headers=[["X-Id", "1"]]), run(headers=[["X-Id", "2"]])
    again = run(headers=[["X-Id", "3"]])["response"]
    answers: Any = (
        [(left["response"], b"a\n1\nb"), (again, b"a\n3\nb")],
        [(right["response"], b"a\n2\nb")],
    )
    found = {one["what"]: one["expected"] for one in compare(left, right, answers)}
    assert found["header x-id"] and found["body"]
    answers[1][0] = (right["response"], b"a\n2\nc")
    assert [one["what"] for one in disagreements(compare(left, right, answers))] == ["body"]


def test_dates_may_differ_but_not_be_missing() -> None:
    left = run(headers=[["Expires", "Sat, 21 Nov 2026 13:47:38 GMT"]])
    assert wrong(left, run(headers=[["Expires", "Sat, 21 Nov 2026 13:47:39 GMT"]])) == []
    assert wrong(left, run()) == ["header expires"]


def test_pages_for_errors_show_the_way_there() -> None:
    pages = [b"<p>%s</p> <code>DEBUG = True</code>" % way for way in (b"wsgi.py", b"asgi.py")]
    assert wrong(run(), run(), *pages) == []


TOKEN = b'<input type="hidden" name="csrfmiddlewaretoken" value="%s">'


def test_tokens_are_masked() -> None:
    assert wrong(run(), run(), TOKEN % (b"a" * 64), TOKEN % (b"b" * 64)) == []
    assert masked(b"<script nonce='abcdefghijklmnop'>") == b"<script nonce='***'>"
    secret = "s" * 32
    assert masked(f"token {secret}".encode(), [secret]) == b"token ***"


@given(st.binary(max_size=200))
def test_masking_twice_is_masking_once(body: bytes) -> None:
    assert masked(masked(body)) == masked(body)


def test_a_refusal_by_wsgi_is_expected() -> None:
    left = {**run("ws-wsgi", status=501), "refused": "501 …"}
    right = run("ws-asgi", status=101)
    found = compare(left, right, both(left, right))
    assert found[0]["what"] == "refused"
    assert disagreements(found) == []
