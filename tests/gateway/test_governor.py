"""The governor against small models of what a process does with its threads."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from twogate.gateway.governor import Governor

LIMIT = 64
TICK = 0.002

#: What a load does with so many threads: (share of one core, jobs per second, whether work waits).
Load = Callable[[int], tuple[float, float, bool]]


def run(load: Load, ticks: int, awake: int = 1, governor: Governor | None = None) -> list[int]:
    """How many threads were awake at each tick."""
    governor = governor or Governor()
    history = []
    owed = 0.0
    for _ in range(ticks):
        share, rate, waiting = load(awake)
        owed += rate * TICK
        taken, owed = int(owed), owed - int(owed)
        change = governor.decide(share, TICK, awake, taken, waiting)
        assert change > -awake, "one thread always stays awake"
        awake = min(LIMIT, awake + change)
        history.append(awake)
    return history


def computing(awake: int) -> tuple[float, float, bool]:
    """The interpreter is busy with one thread; more only get in each other's way."""
    return 1.0, 7000 / (1 + 0.05 * (awake - 1)), True


def blocking(seconds: float, clients: int, cpu: float = 0.0001) -> Load:
    """Each job waits for so long, and computes for ``cpu`` seconds."""

    def load(awake: int) -> tuple[float, float, bool]:
        rate = min(awake, clients) / (seconds + cpu)
        rate = min(rate, 1 / cpu)
        return rate * cpu, rate, awake < clients

    return load


def test_one_thread_is_enough_for_computation() -> None:
    assert set(run(computing, 500)) == {1}


def test_threads_left_from_another_load_are_parked_when_the_core_is_busy() -> None:
    history = run(computing, 1000, awake=64)
    assert min(history) <= 2
    assert sum(history[-200:]) / 200 < 4


def test_long_waits_get_a_thread_each_within_a_few_ticks() -> None:
    history = run(blocking(0.05, 32), 40)
    assert history[20] >= 32, "the smoothed share needs a few ticks to see it"
    assert history[-1] <= LIMIT


def test_short_waits_get_as_many_threads_as_keep_the_core_busy() -> None:
    history = run(blocking(0.001, 32), 500)
    assert max(history[100:]) >= 10


def test_threads_enough_are_enough() -> None:
    history = run(blocking(0.05, 4), 400)
    assert max(history) <= 16
    assert len(set(history[-100:])) == 1


def test_a_busy_machine_is_no_reason_for_more_threads() -> None:
    """A neighbour takes a fifth of the core: threads do not help, and trials are few."""

    def crowded(awake: int) -> tuple[float, float, bool]:
        return 0.8, 5000 / (1 + 0.1 * (awake - 1)), True

    history = run(crowded, 3000)
    assert sum(history) / len(history) < 1.5
    assert history.count(1) > 0.6 * len(history)


def test_one_long_computation_does_not_hold_up_the_others_for_ever() -> None:
    governor = Governor()
    changes = [governor.decide(1.0, TICK, 1, 0, True) for _ in range(40)]
    assert 1 in changes
    assert sum(changes) <= 4


@pytest.mark.parametrize("awake", [1, 2, 3, 10, 64])
def test_nothing_waits_and_nothing_runs_changes_nothing(awake: int) -> None:
    governor = Governor()
    assert {governor.decide(0.01, TICK, awake, 0, False) for _ in range(200)} == {0}


def test_a_lone_busy_thread_is_calm() -> None:
    governor = Governor()
    governor.decide(1.0, TICK, 1, 10, True)
    assert governor.calm
    for _ in range(20):
        governor.decide(0.1, TICK, 1, 1, True)
    assert not governor.calm
