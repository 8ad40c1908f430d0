"""Sentences follow from the numbers, and change with them."""

from __future__ import annotations

from typing import Any

from twogate.lab.findings import what_a_sweep_shows, what_it_shows


def _request(began: float, ended: float, thread: str, worker: str = "", sent: float = 0) -> Any:
    return {
        "sent": sent, "began": began, "ended": ended, "answered": ended + 0.001, "thread": thread,
        "worker": worker or thread,
    }  # fmt: skip


def _side(
    requests: list[Any], late: Any, *, at_once: int, cpu: float = 0.01, grown: int = 0
) -> dict[str, Any]:
    return {
        "requests": requests, "late": late, "at_once": at_once, "cpu": cpu, "tries": 1,
        "seconds": max(request["answered"] for request in requests),
        "memory": {"before": 40_000_000, "peak": 40_000_000 + grown},
    }  # fmt: skip


def _experiment(**chosen: Any) -> dict[str, Any]:
    usual = {"clients": 4, "work": "wait", "milliseconds": 100, "is_async": True, "threads": 1}
    return {**usual, **chosen}


def _one_by_one(step: float, thread: str, count: int = 4, worker: str = "") -> list[Any]:
    return [_request(step * n, step * (n + 1), thread, worker) for n in range(count)]


def _together(count: int, end: float) -> list[Any]:
    return [_request(0, end, "MainThread", "loop") for _ in range(count)]


def test_many_that_wait_are_served_sooner_through_asgi() -> None:
    shown = what_it_shows(
        {
            "experiment": _experiment(),
            "wsgi": _side(_one_by_one(0.1, "pool-1", 4, "thread-1"), _request(0.4, 0.4, "p", "t"),
                          at_once=1, cpu=0.02),
            "asgi": _side(_together(4, 0.1), _request(0.05, 0.05, "MainThread", sent=0.05),
                          at_once=4, grown=2_000_000),
        }
    )  # fmt: skip
    assert shown["better"] == "asgi"
    assert shown["sentences"][:4] == [
        "ASGI is the better door here. All 4 clients were answered after 101 ms; through WSGI it"
        " took 401 ms, 4 times as long.",
        "Through WSGI one view ran at a time, on 1 of 1 worker thread. The last client stood in"
        " line for 300 ms before its view began.",
        "Under WSGI Django ran each async view on an event loop of its own, on a thread of its own:"
        " 1 more thread for 4 requests. The worker thread waited for it all the same.",
        "Through ASGI 4 views were under way at once on 1 thread: while one awaits, the event loop"
        " runs another.",
    ]
    assert shown["sentences"][-1] == (
        "The server's memory grew by 0.0 MB through WSGI and 2.0 MB through ASGI."
    )


def test_what_computes_on_the_loop_is_better_through_wsgi() -> None:
    asgi = _one_by_one(0.1, "MainThread", 3, "loop")
    asgi[0]["answered"] = 0.31
    wsgi = [_request(0, 0.3, f"thread-{n}") for n in range(3)]
    shown = what_it_shows(
        {
            "experiment": _experiment(work="compute", clients=3, threads=8),
            "wsgi": _side(wsgi, _request(0.06, 0.06, "thread-4", sent=0.05), at_once=3, cpu=0.3),
            "asgi": _side(
                asgi, _request(0.301, 0.301, "MainThread", sent=0.05), at_once=1, cpu=0.3
            ),
        }
    )
    assert shown["better"] == "wsgi"
    assert shown["sentences"][0] == (
        "WSGI is the better door here. A visitor who came 50 ms later for a quick page had it after"
        " 11 ms; through ASGI it took 252 ms, because 3 views came to their end first."
    )
    text = " ".join(shown["sentences"])
    assert "There was 300 ms of computing to do, and no door did it faster" in text
    assert "the loop had no chance to turn to another" in text
    assert "the first view ended after 100 ms, and its client had the answer after 310 ms." in text


def test_sync_pages_cost_less_through_wsgi() -> None:
    side = _one_by_one(0.002, "thread-1")
    shown = what_it_shows(
        {
            "experiment": _experiment(milliseconds=0, is_async=False),
            "wsgi": _side(side, _request(0.008, 0.008, "thread-1"), at_once=1, cpu=0.010),
            "asgi": _side(side, _request(0.008, 0.008, "thread-1"), at_once=1, cpu=0.020),
        }
    )
    assert shown["better"] == "wsgi"
    assert shown["sentences"][0] == (
        "WSGI is the better door here, by a little. Neither answered far sooner, and the server's"
        " processor worked 2.0 ms for each request through WSGI, 4.0 ms through ASGI."
    )
    assert "Through ASGI a sync view needs a worker thread, too" in " ".join(shown["sentences"])
    assert shown["sentences"][-1] == "The server's memory hardly grew through either door."


def test_where_nothing_differs_no_door_is_better() -> None:
    side = _side(_one_by_one(0.1, "thread-1"), _request(0.4, 0.4, "thread-1"), at_once=1)
    other = {**side, "tries": 3}
    shown = what_it_shows({"experiment": _experiment(is_async=False), "wsgi": side, "asgi": other})
    assert shown["better"] == ""
    assert shown["sentences"][0].startswith("Both doors are as good here")
    assert shown["sentences"][-1].endswith("of ASGI you see the quickest of several runs.")


def test_a_machine_that_others_used_is_no_doors_fault() -> None:
    """The same processor time, and much more time on the clock."""
    late = _request(0.9, 0.9, "thread-1", sent=0.05)
    shown = what_it_shows(
        {
            "experiment": _experiment(work="compute", is_async=False),
            "wsgi": _side(_one_by_one(0.1, "thread-1"), late, at_once=1, cpu=0.4),
            "asgi": _side(_one_by_one(0.2, "thread-1"), late, at_once=1, cpu=0.41),
        }
    )
    assert shown["better"] == ""
    assert any(s.startswith("Something else used this machine") for s in shown["sentences"])


def _point(clients: int, wsgi: float, asgi: float) -> dict[str, Any]:
    return {
        "clients": clients,
        "wsgi": {"seconds": wsgi, "cpu": 0.1, "memory": 0},
        "asgi": {"seconds": asgi, "cpu": 0.1, "memory": 1_500_000},
    }


def test_a_sweep_tells_where_one_door_gets_ahead() -> None:
    points = [_point(1, 0.1, 0.1), _point(5, 0.2, 0.19), _point(10, 0.4, 0.11)]
    assert what_a_sweep_shows({"experiment": _experiment(), "points": points}) == [
        "From 1 client to 10, the time to finish went from 100 ms to 400 ms through WSGI.",
        "From 1 client to 10, the time to finish went from 100 ms to 110 ms through ASGI.",
        "ASGI was clearly faster from 10 clients on, and with fewer it was not.",
        "The server's memory grew by 0.0 MB through WSGI and 1.5 MB through ASGI.",
    ]
    shown = what_a_sweep_shows({"experiment": _experiment(), "points": points[:2]})
    assert "With 5 clients neither door was clearly faster." in shown
    shown = what_a_sweep_shows({"experiment": _experiment(), "points": points[2:] * 2})
    assert "ASGI was clearly faster from 10 clients on." in shown
