"""What is told of a recording: only what stands in it."""

from __future__ import annotations

from typing import Any

from tests.trace.pages import span

from twogate.lab.telling import tell, tell_left


def run(gateway: str, *spans: dict[str, Any], **more: Any) -> dict[str, Any]:
    root = span(1, None, "request", "GET /", 0, 3e6, "MainThread", sync=False)
    return {"gateway": gateway, "spans": [root, *spans], "crossings": [], "left_out": 0, **more}


def test_a_sync_view_and_its_thread() -> None:
    view = span(2, 1, "view", "pages.say", 5, 10, "thread-7")
    assert tell(run("wsgi", view), False) == [
        "A sync view, called through the WSGI gateway on the thread thread-7."
    ]


def test_an_async_view_runs_on_one_thread_or_on_more() -> None:
    view = span(2, 1, "view", "pages.page", 5, 10, "MainThread", sync=False)
    query = span(3, 2, "query", "SELECT", 6, 9, "thread-1")
    (alone,) = tell(run("asgi", view), False)
    assert alone.endswith("event loop of the thread MainThread, where all of it ran.")
    (shared,) = tell(run("asgi", view, query), False)
    assert shared.endswith("event loop of the thread MainThread.")


def test_crossings_and_who_is_to_blame() -> None:
    crossings = [{"cause": "shop.middleware"}, {"cause": "shop.view"}]
    *_, told = tell(run("asgi", span(2, 1, "view", "v", 5, 10, "t"), crossings=crossings), False)
    assert told == "2 crossings between loop and threads, the first because of shop.middleware."


def test_a_long_response_and_what_it_held() -> None:
    gateway = span(2, 1, "gateway", "WSGI gateway", 100, 2.6e6, "thread-1", call="sync")
    view = span(3, 2, "view", "pages.stream", 200, 300, "thread-1")
    response = span(4, 1, "response", "response 200", 1500, 2.5e6, "thread-1")
    found = run("wsgi", gateway, view, response)
    assert tell(found, False)[1:] == [
        "Its response began after 1.5 ms and went on for 2.5 s.",
        "For 2.6 s the thread thread-1 was taken by it.",
    ]
    assert tell(found, True)[1:] == []  # nobody knows yet for how long


def test_a_websocket() -> None:
    gateway = span(2, 1, "gateway", "ASGI gateway", 10, 20, "loop", sync=False, scope="websocket")
    came = span(3, 2, "protocol", "receives websocket.receive", 11, 12, "loop", sync=False)
    went = span(4, 2, "response", "sends websocket.send", 12, 13, "loop", sync=False)
    (told,) = tell(run("asgi", gateway, came, went, went), True)
    assert told.startswith("A WebSocket through the ASGI gateway on the event loop")
    assert told.endswith("still open. Messages: 1 in, 2 out.")
    accepts = span(5, 2, "response", "sends websocket.accept", 10, 11, "loop", sync=False)
    (told,) = tell(run("asgi", gateway, accepts, *[went] * 99), False)
    assert told.endswith("closed. Messages: at least 0 in, at least 99 out.")


def test_where_no_view_was_called() -> None:
    refused = run("wsgi", response={"status": 403}, error="LookupError: no")
    assert tell(refused, False) == [
        "No view was called; the WSGI side answered with 403.",
        "The application failed: LookupError: no.",
    ]


def test_what_became_of_a_message() -> None:
    assert tell_left([]) == "Its message has left through no WebSocket."
    assert tell_left([("asgi", 1200.0)]) == (
        "Its message left through 1 WebSocket of the ASGI gateway, 1.2 ms later."
    )
    assert tell_left([("asgi", 2500.0), ("asgi", 1200.0)]) == (
        "Its message left through 2 WebSockets of the ASGI gateway, 1.2 ms to 2.5 ms later."
    )
