from __future__ import annotations

import inspect
from typing import Any

from twogate.observe.observer import Observer, Observers, Relay

POINTS = [name for name in vars(Observer) if not name.startswith("_")]


class Recorder(Observer):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, tuple[Any, ...]]] = []
        for point in POINTS:
            setattr(self, point, self._record(point))

    def _record(self, point: str) -> Any:
        return lambda *arguments: self.told.append((point, arguments))


def call_each_point(observer: Observer) -> list[tuple[str, tuple[Any, ...]]]:
    calls = []
    for point in POINTS:
        method = getattr(observer, point)
        arguments = tuple(inspect.signature(getattr(Observer, point)).parameters)[1:]
        method(*arguments)
        calls.append((point, arguments))
    return calls


def test_an_observer_may_listen_to_nothing() -> None:
    assert call_each_point(Observer())


def test_several_observers_are_all_told_everything_in_order() -> None:
    first, second = Recorder(), Recorder()
    calls = call_each_point(Observers([first, second]))
    assert first.told == second.told == calls


def test_no_point_is_forgotten_by_the_group() -> None:
    assert set(POINTS) == {name for name in vars(Observers) if not name.startswith("_")}


def test_a_relay_passes_on_all_but_what_it_takes_itself() -> None:
    class Told(Observer):
        def __init__(self) -> None:
            self.points: list[str] = []

        def connection_opened(self) -> None:
            self.points.append("opened")

        def connection_closed(self) -> None:
            self.points.append("closed")

        def close(self) -> None:
            self.points.append("end")

    class Quiet(Relay):
        def connection_closed(self) -> None:
            pass

    told = Told()
    relay = Quiet(told)
    relay.connection_opened()
    relay.connection_closed()
    relay.close()
    assert told.points == ["opened", "end"]
