"""Which questions are asked of documents that were really recorded, and of those without proof."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from twogate.lab.moments import key_moments
from twogate.lab.watching import SCENARIOS, watch
from twogate.trace.story import duration

CALLS = {("wsgi", "sync-call"), ("asgi", "async-call")}
ASKED = {
    "page": CALLS | {("asgi", "sync-view-asgi")},
    "async-page": CALLS | {("wsgi", "async-view-wsgi"), ("asgi", "async-view-asgi")},
    "slow": CALLS | {("asgi", "sync-view-asgi"), ("wsgi", "who-waits"), ("asgi", "who-waits")},
    "async-compute": CALLS
    | {("wsgi", "async-view-wsgi"), ("asgi", "async-view-asgi")}
    | {("wsgi", "at-work"), ("asgi", "at-work")},
    "stream": CALLS
    | {("wsgi", "async-view-wsgi"), ("asgi", "async-view-asgi")}
    | {("wsgi", "stream-wsgi"), ("asgi", "stream-asgi")},
    "websocket": {("ws-wsgi", "websocket-wsgi"), ("ws-asgi", "websocket-call"),
                  ("ws-asgi", "websocket-accept")},
}  # fmt: skip


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    return {key: watch(SCENARIOS[key]) for key in ASKED}


def test_each_question_has_the_event_that_proves_its_answer(documents: dict[str, Any]) -> None:
    for key, document in documents.items():
        moments = key_moments(document)
        assert {(moment["run"], moment["key"]) for moment in moments} == ASKED[key], key
        assert [one["at_us"] for one in moments] == sorted(one["at_us"] for one in moments)
        runs = {run["id"]: run for run in document["runs"]}
        for moment in moments:
            spans = {span["id"]: span for span in runs[moment["run"]]["spans"]}
            span = spans[moment["span"]]
            assert moment["at_us"] in (span["start_us"], span["end_us"])
            assert f"Span {span['id']}, {span['name']}: on {span['thread']}" in moment["proof"]


def test_answers_say_what_was_recorded(documents: dict[str, Any]) -> None:
    def answer(scenario: str, run: str, key: str) -> str:
        found = key_moments(documents[scenario])
        return next(str(one["answer"]) for one in found if (one["run"], one["key"]) == (run, key))

    wsgi = documents["async-page"]["runs"][0]
    crossing = wsgi["crossings"][0]
    told = answer("async-page", "wsgi", "async-view-wsgi")
    assert crossing["to_thread"] in told and duration(crossing["cost_us"]) in told
    assert "status 200" in told
    assert answer("slow", "wsgi", "who-waits").startswith("thread-1 does, for")
    assert "501 Not Implemented" in answer("websocket", "ws-wsgi", "websocket-wsgi")
    assert "received 2 and sent 2 messages" in answer("websocket", "ws-asgi", "websocket-call")
    assert answer("async-compute", "asgi", "at-work").startswith("No. The view ran on MainThread")


def test_without_its_event_no_question_is_asked(documents: dict[str, Any]) -> None:
    for document in documents.values():
        bare = copy.deepcopy(document)
        for run in bare["runs"]:
            run["spans"] = run["spans"][:1]
            run["crossings"] = []
        assert key_moments(bare) == []
