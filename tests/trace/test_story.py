"""What is told of a run: the table, the variables and the moments."""

from __future__ import annotations

from typing import Any

import pytest
from tests.trace.test_timeline import SEEN, recorded

from twogate.trace.story import duration
from twogate.trace.timeline import make_run


def run(identity: str = "asgi", **more: Any) -> dict[str, Any]:
    made = recorded()
    made["facts"].update(more)
    return make_run(identity, "ASGI", "Twogate's", made, SEEN)


def test_the_table_has_each_step_in_order() -> None:
    table = run()["table"]
    assert [row["step"] for row in table] == [
        "client sends", "bytes in, head parsed", "view", "client has the answer",
    ]  # fmt: skip
    assert {(row["server_type"], row["request_type"]) for row in table} == {("ASGI", "HTTP")}
    assert table[2]["django_processing"] == "pages.page"
    assert table[2]["call_type"] == "sync"
    assert (table[2]["response_sent"], table[3]["response_sent"]) == ("no", "200")


def test_a_websocket_is_called_so() -> None:
    assert {row["request_type"] for row in run("ws-asgi")["table"]} == {"WebSocket"}


def test_the_variables_are_those_of_each_step() -> None:
    rows = run()["variables"]
    assert rows[0] == {
        "step": "client sends", "request_type": "HTTP", "call_mode": "", "response_type": "",
        "span": 1,
    }  # fmt: skip
    assert rows[1]["call_mode"] == "sync"
    assert rows[-1]["response_type"] == "status 200"


def test_the_moments_explain_the_crossings() -> None:
    moments = run()["moments"]
    first = next(moment for moment in moments if moment["title"] == "The first crossing")
    assert "pages.page (view) needs a thread" in first["text"]
    assert "200 µs" in first["text"]
    assert first["span"] == 2


@pytest.mark.parametrize(
    ("microseconds", "words"),
    [(12, "12 µs"), (1234, "1.23 ms"), (45678, "45.7 ms"), (2e6, "2.00 s")],
)
def test_durations(microseconds: float, words: str) -> None:
    assert duration(microseconds) == words
