"""Real processes, real sockets: who waits for whom through each gateway."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from tests.support.http import eventually

from twogate.lab.experiments import Bench, Experiment, GivenUp, Unfit, check, numbers

USUAL: dict[str, Any] = {
    "clients": 100, "work": "wait", "milliseconds": 50, "is_async": True, "threads": 4,
}  # fmt: skip
DEADLINE = 30.0


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def _run(bench: Bench, **chosen: Any) -> dict[str, Any]:
    return bench.run(check({**USUAL, **chosen}), lambda told: None, threading.Event())


def _in_order(side: dict[str, Any]) -> bool:
    return all(
        r["sent"] <= r["began"] <= r["ended"] <= r["answered"]
        for r in [*side["requests"], side["late"]]
    )


def test_a_hundred_wait_together_through_asgi_and_in_turns_through_wsgi(bench: Bench) -> None:
    result = _run(bench, milliseconds=100)
    wsgi, asgi = result["wsgi"], result["asgi"]
    assert len(wsgi["requests"]) == len(asgi["requests"]) == 100
    assert _in_order(wsgi) and _in_order(asgi)
    assert wsgi["seconds"] >= 20 * 0.1
    assert asgi["seconds"] < wsgi["seconds"] / 2
    assert wsgi["at_once"] <= 4
    assert asgi["at_once"] > 50
    # The server's threads took turns; under WSGI each async view has one more of its own.
    assert {request["worker"] for request in wsgi["requests"]} <= {f"thread-{n}" for n in range(5)}
    assert not {r["worker"] for r in wsgi["requests"]} & {r["thread"] for r in wsgi["requests"]}
    assert {request["worker"] for request in asgi["requests"]} == {"loop"}
    assert len({request["thread"] for request in asgi["requests"]}) == 1
    assert all(side["memory"]["peak"] >= side["memory"]["before"] > 1e6 for side in (wsgi, asgi))
    assert wsgi["cpu"] > 0 and asgi["cpu"] > 0
    assert wsgi["tries"] == 1, "two seconds are no short run"


def test_a_sync_view_takes_a_thread_through_either(bench: Bench) -> None:
    result = _run(bench, clients=9, milliseconds=20, is_async=False, threads=3)
    for gateway in ("wsgi", "asgi"):
        assert result[gateway]["at_once"] <= 3
        assert len({request["thread"] for request in result[gateway]["requests"]}) <= 3


def test_what_computes_on_the_loop_keeps_all_others_waiting(bench: Bench) -> None:
    result = _run(bench, clients=3, work="compute", milliseconds=30)
    asgi = result["asgi"]
    assert asgi["at_once"] == 1
    assert asgi["late"]["began"] >= max(request["ended"] for request in asgi["requests"])
    assert all(side["cpu"] > 0.08 for side in (asgi, result["wsgi"]))


def test_a_sweep_takes_growing_numbers(bench: Bench) -> None:
    told: list[dict[str, Any]] = []
    experiment = check({**USUAL, "clients": 3, "milliseconds": 1})
    sweep = bench.sweep(experiment, told.append, threading.Event())
    assert [point["clients"] for point in sweep["points"]] == [1, 2, 3]
    for point in sweep["points"]:
        assert point["wsgi"]["seconds"] > 0 and point["asgi"]["memory"] >= 0
    assert [(t["done"], t["of"]) for t in told] == [(n, 6) for n in range(6)]
    assert told[-1]["what"] == "3 clients through ASGI"


def test_one_at_a_time_and_first_come_first_served(bench: Bench) -> None:
    quick = check({**USUAL, "clients": 1, "milliseconds": 0})
    go_on, forget = threading.Event(), threading.Event()
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in ("one", "two", "three")}
    ended: list[str] = []

    def run(name: str, given_up: threading.Event) -> None:
        def tell(progress: dict[str, Any]) -> None:
            told[name].append(progress)
            if name == "one":
                go_on.wait(DEADLINE)

        try:
            bench.run(quick, tell, given_up)
        except GivenUp:
            ended.append("given up")
        else:
            ended.append(name)

    threads = []
    for name, given_up in (
        ("one", threading.Event()),
        ("two", forget),
        ("three", threading.Event()),
    ):
        threads.append(threading.Thread(target=run, args=(name, given_up)))
        threads[-1].start()
        eventually(partial(told.get, name))
    assert told["one"][0]["state"] == "running"
    assert told["two"] == [{"state": "waiting", "place": 1}]
    assert told["three"] == [{"state": "waiting", "place": 2}]
    forget.set()
    eventually(lambda: len(told["three"]) == 2)
    assert told["three"][1] == {"state": "waiting", "place": 1}
    go_on.set()
    for thread in threads:
        thread.join(DEADLINE)
    assert ended == ["given up", "one", "three"]
    assert told["three"][-1]["state"] == "running"


def test_one_that_nobody_wants_any_more_is_left(bench: Bench) -> None:
    long = check({**USUAL, "clients": 30, "milliseconds": 2000})
    given_up = threading.Event()
    with pytest.raises(GivenUp):
        bench.run(long, lambda told: given_up.set(), given_up)
    assert _run(bench, clients=1, milliseconds=0)["asgi"]["at_once"] == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"clients": 0}, "Clients: choose a whole number from 1 to 200."),
        ({"clients": "9"}, "Clients: choose a whole number from 1 to 200."),
        ({"clients": True}, "Clients: choose a whole number from 1 to 200."),
        ({"threads": 33}, "Worker threads: choose a whole number from 1 to 32."),
        ({"milliseconds": 2001}, "Milliseconds to wait: choose a whole number from 0 to 2000."),
        ({"work": "compute", "milliseconds": 201}, "from 0 to 200."),
        ({"work": "sleep"}, "wait or compute"),
        ({"work": []}, "wait or compute"),
        ({"is_async": None}, "a sync or an async view"),
        (
            {"milliseconds": 2000},
            "This would take about 52 seconds; 20 is the most. Lower the time that the view waits"
            " to 769 ms, lower the number of clients, or take more worker threads.",
        ),
        ({"work": "compute", "milliseconds": 200}, "computes to 100 ms, lower the number of"),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_mend(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(Unfit) as refused:
        check({**USUAL, **wrong})
    assert says in str(refused.value)


def test_the_mend_fits() -> None:
    assert check({**USUAL, "milliseconds": 769}).seconds("wsgi") < 20


def test_a_sweep_has_steps_that_fit() -> None:
    assert numbers(check(USUAL)) == [1, 2, 5, 10, 20, 50, 100]
    assert numbers(Experiment(30, "compute", 0, False, 1)) == [1, 2, 5, 10, 20, 30]
    with pytest.raises(Unfit, match="more than one client"):
        numbers(check({**USUAL, "clients": 1}))
    with pytest.raises(Unfit, match="Lower the time that the view waits"):
        numbers(check({**USUAL, "milliseconds": 700}))
