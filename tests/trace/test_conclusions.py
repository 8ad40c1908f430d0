"""What a trace comes to."""

from __future__ import annotations

from typing import Any

from tests.trace.documents import document

from twogate.trace.conclusions import conclude, plural


def texts(made: dict[str, Any], level: str = "") -> str:
    return "\n".join(
        f"{said['text']} {said['mend']}" for said in conclude(made) if level in ("", said["level"])
    )


def test_the_choice_and_what_the_handlers_cost() -> None:
    said = texts(document(), "fine")
    assert "through WSGI (sync view pages.page): no crossing." in said
    assert "Django's own handler costs 16 crossings" in said
    assert "Twogate's 1 crossing (200 µs)" in said


def test_who_is_to_blame_and_the_mend() -> None:
    said = texts(document(), "cost")
    assert "pages.page is a sync view and costs 1 crossing through ASGI (200 µs)." in said
    assert "Through WSGI it needs no crossing" in said


def test_a_call_that_never_reached_a_thread_costs_nobody() -> None:
    made = document()
    for run in made["runs"]:
        for crossing in run["crossings"]:
            crossing["to_thread"] = ""
    assert "pages.page" not in texts(made, "cost")


def test_an_async_view_through_wsgi() -> None:
    made = document()
    made["runs"][0]["crossings"] = [{**made["runs"][2]["crossings"][0], "direction": "to_loop"}]
    assert "through WSGI it needs an event loop on a thread of its own" in texts(made)


def test_a_view_that_raises_is_named_with_its_place() -> None:
    made = document()
    view = next(span for span in made["runs"][0]["spans"] if span["kind"] == "view")
    view["detail"]["error"] = "KeyError: 'x'"
    assert "KeyError" not in texts(made)  # it was turned into an answer
    made["runs"][0]["response"] = {"status": 500, "headers": []}
    assert "pages.page raises KeyError: 'x' (views.py, line 3)." in texts(made, "wrong")


def test_an_application_that_fails() -> None:
    assert "The application failed: OSError: no." in texts(document(error="OSError: no"), "wrong")


def test_answers_that_lead_elsewhere() -> None:
    made = document()
    made["runs"][0]["response"] = {"status": 302, "headers": [["Location", "/login/"]]}
    assert "a redirect to /login/. Trace that, or log in with --user." in texts(made)
    made["runs"][0]["response"]["status"] = 404
    assert "The answer to / is 404." in texts(made, "wrong")


def test_disagreements_come_as_wrong() -> None:
    made = document()
    made["differences"].append(
        {"what": "status", "left": 200, "right": 404, "expected": False, "why": "They differ.",
         "runs": ["wsgi", "asgi"]}
    )  # fmt: skip
    assert "wsgi and asgi answer differently: status. They differ." in texts(made, "wrong")


def test_the_same_query_again_and_again() -> None:
    made = document()
    spans = made["runs"][-1]["spans"]
    query = next(span for span in spans if span["kind"] == "query")
    spans += [query] * 6
    assert "The same query ran 7 times: SELECT 1" in texts(made, "cost")


def test_plurals() -> None:
    assert [plural(n, "query", "queries") for n in (0, 1, 2)] == [
        "0 queries", "1 query", "2 queries",
    ]  # fmt: skip
