"""What is played is what was recorded: each event of a document is a step with its row."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from twogate.lab.play import play
from twogate.lab.watching import SCENARIOS, watch


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    return {key: watch(SCENARIOS[key]) for key in ("page", "async-page", "stream", "websocket")}


def lanes(document: dict[str, Any]) -> dict[str, Any]:
    return {lane["id"]: lane for lane in play(document)["lanes"]}


def test_every_event_is_a_step_in_the_order_of_time(documents: dict[str, Any]) -> None:
    for document in documents.values():
        for run in document["runs"]:
            steps = lanes(document)[run["id"]]["steps"]
            assert steps[0]["name"] == "client sends"
            assert [step["at_us"] for step in steps] == sorted(step["at_us"] for step in steps)
            bars = {step["span"]: step for step in steps if step["bar"]}
            assert set(bars) == {span["id"] for span in run["spans"][1:]}
            for span in run["spans"][1:]:
                step = bars[span["id"]]
                assert (step["at_us"], step["end_us"]) == (span["start_us"], span["end_us"])
                assert (step["thread"], step["task"]) == (span["thread"], span.get("task", ""))


def test_bars_of_a_thread_do_not_cover_each_other(documents: dict[str, Any]) -> None:
    for lane in lanes(documents["async-page"]).values():
        for thread in lane["threads"]:
            for level in range(thread["levels"]):
                bars = sorted(
                    (step["at_us"], step["end_us"])
                    for step in lane["steps"]
                    if step["bar"] and (step["thread"], step["level"]) == (thread["name"], level)
                )
                assert all(one[1] <= other[0] for one, other in pairwise(bars))


def test_the_tables_fill_from_the_events(documents: dict[str, Any]) -> None:
    steps = lanes(documents["async-page"])["wsgi"]["steps"]
    crossing = next(step for step in steps if step["kind"] == "crossing")
    assert crossing["row"]["step"] == "crossing to a loop"
    assert crossing["row"]["call_type"] == "sync → async"
    assert crossing["detail"]["cause"] == "pages.views.async_page (view)"
    tracked = [step["variables"] for step in steps if "variables" in step]
    assert [row["call_mode"] for row in tracked] == ["", "sync", "async", "async"]
    assert tracked[-1]["response_type"].startswith("text/html")
    assert steps[-1]["row"]["response_sent"] == "200"


def test_a_step_of_the_project_shows_its_code(documents: dict[str, Any]) -> None:
    steps = lanes(documents["page"])["wsgi"]["steps"]
    view = next(step for step in steps if step["kind"] == "view")
    assert view["file"] == "pages/views.py"
    assert view["source"].startswith("def page(request):\n    return render(")
    middleware = next(step for step in steps if step["kind"] == "middleware")
    assert middleware["file"] == "django/middleware/security.py"
    assert "source" not in middleware


def test_pieces_of_a_stream_arrive(documents: dict[str, Any]) -> None:
    steps = lanes(documents["stream"])["asgi"]["steps"]
    assert sum(step["name"].startswith("client receives") for step in steps) >= 3


def test_the_refusal_of_a_websocket(documents: dict[str, Any]) -> None:
    lane = lanes(documents["websocket"])["ws-wsgi"]
    assert lane["refused"].startswith("501")
    assert {step["row"]["server_type"] for step in lane["steps"]} == {"WSGI"}
    assert {step["stop"] for step in lane["steps"]} == {"client", "server"}
    assert lane["steps"][-1]["variables"]["response_type"] == "status 501"
    assert play(documents["websocket"])["request"]["messages"] == ["hello", "again"]
