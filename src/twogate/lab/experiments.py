"""Many at once: the same clients through both gateways, and who waited for whom.

An experiment serves the scenes through WSGI and then through ASGI, each in a fresh process, sends
all its clients at one moment and returns what was recorded as plain data. Knows no pages. Blocks:
call it from a thread of its own; one experiment runs at a time and the others wait their turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from twogate.errors import TwogateError
from twogate.trace.driver import Host

__all__ = ["LIMITS", "WORKS", "Bench", "Experiment", "GivenUp", "Unfit", "check", "numbers"]

Plain: TypeAlias = dict[str, Any]
#: Is told how far it is: ``{"state": "waiting", "place": 2}`` or ``{"state": "running", …}``.
Tell: TypeAlias = Callable[[Plain], None]

GATEWAYS = ("wsgi", "asgi")
#: What a view can do, and the most milliseconds of it.
WORKS = {"wait": 2000, "compute": 200}
#: The least and the most of what can be chosen.
LIMITS = {"clients": (1, 200), "threads": (1, 32)}
#: Seconds that an experiment may take by what it asks for.
LONGEST = 20.0
#: Experiments that may wait for their turn.
MOST_WAITING = 40
#: Numbers of clients in a sweep, as far as the experiment's own.
STEPS = (1, 2, 5, 10, 20, 50, 100, 200)
#: A run that takes fewer seconds is made so many times, and the quickest is shown: whatever else
#: this machine does can only make it slower.
SHORT, TRIES = 0.25, 3
#: Seconds beyond what an experiment asks for until its clients give up; and between two looks
#: whether somebody still wants the result.
PATIENCE, LOOK = 20.0, 0.2

FOLDER = Path(__file__).parent / "scenes"


class Unfit(TwogateError):
    """The experiment cannot be run; the message says what to choose instead."""


class GivenUp(TwogateError):
    """Nobody wants the result any more."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """What is to be tried.

    :ivar clients: how many ask at the same moment.
    :ivar work: ``"wait"`` or ``"compute"``.
    :ivar milliseconds: how long the view does that.
    :ivar is_async: whether the view is a coroutine function.
    :ivar threads: worker threads that the server may have.
    """

    clients: int
    work: str
    milliseconds: int
    is_async: bool
    threads: int

    def path(self, client: int | str, milliseconds: int) -> str:
        """What a client asks for."""
        view = "slow" if self.work == "wait" else "compute"
        amount = milliseconds / 1000 if self.work == "wait" else milliseconds
        return f"/{'async-' * self.is_async}{view}/?{self.work}={amount:g}&client={client}"

    def seconds(self, gateway: str) -> float:
        """How long it takes by what it asks for, in seconds; a real one takes a little longer."""
        if self.work == "compute":
            rounds = self.clients  # one interpreter computes one thing at a time
        elif gateway == "asgi" and self.is_async:
            rounds = 1
        else:
            rounds = math.ceil(self.clients / self.threads)
        return rounds * self.milliseconds / 1000

    def plain(self) -> Plain:
        """As JSON takes it."""
        return {name: getattr(self, name) for name in Experiment.__slots__}


# What may be asked for.


def check(data: Plain) -> Experiment:
    """Make an experiment of what a page sent.

    :raises Unfit: a value is missing or out of its bounds, or the experiment would take too long.
    """
    work = data.get("work")
    if not isinstance(work, str) or work not in WORKS:
        raise Unfit("Choose what the view does: wait or compute.")
    is_async = data.get("is_async")
    if not isinstance(is_async, bool):
        raise Unfit("Choose a sync or an async view.")
    experiment = Experiment(
        clients=_number(data, "clients", "Clients", LIMITS["clients"]),
        work=work,
        milliseconds=_number(data, "milliseconds", f"Milliseconds to {work}", (0, WORKS[work])),
        is_async=is_async,
        threads=_number(data, "threads", "Worker threads", LIMITS["threads"]),
    )
    _check_time(experiment, [experiment.clients])
    return experiment


def numbers(experiment: Experiment) -> list[int]:
    """The numbers of clients in a sweep: small ones up to the experiment's own.

    :raises Unfit: all of them together would take too long.
    """
    steps = [step for step in STEPS if step < experiment.clients] + [experiment.clients]
    if len(steps) < 2:
        raise Unfit("A plot needs more than one client: choose a larger number of clients.")
    _check_time(experiment, steps)
    return steps


def _number(data: Plain, name: str, title: str, limits: tuple[int, int]) -> int:
    value = data.get(name)
    least, most = limits
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Unfit(f"{title}: choose a whole number from {least} to {most}.")
    return value


def _check_time(experiment: Experiment, steps: list[int]) -> None:
    """Refuse what would take too long, and say what would not."""

    def total(milliseconds: int) -> float:
        runs = [_with(experiment, clients=step, milliseconds=milliseconds) for step in steps]
        return sum(run.seconds(gateway) for run in runs for gateway in GATEWAYS)

    seconds = total(experiment.milliseconds)
    if seconds <= LONGEST:
        return
    fitting = int(experiment.milliseconds * LONGEST / seconds)
    does, more = ("waits", ", or take more worker threads")
    if experiment.work == "compute":
        does, more = ("computes", "")
    raise Unfit(
        f"This would take about {seconds:.0f} seconds; {LONGEST:.0f} is the most. Lower the time"
        f" that the view {does} to {fitting} ms, lower the number of clients{more}."
    )


def _with(experiment: Experiment, **changed: Any) -> Experiment:
    return Experiment(**{**experiment.plain(), **changed})


# Running it.


class Bench:
    """Where experiments are made, one at a time, first come first served.

    Keeps one process with the scenes loaded; :meth:`close` ends it, and so does the end of this
    process, however it comes. Any thread.
    """

    def __init__(self) -> None:
        self._host: Host | None = None
        self._line: deque[object] = deque()
        self._moved = threading.Condition()

    def run(self, experiment: Experiment, tell: Tell, given_up: threading.Event) -> Plain:
        """Send the clients through both gateways.

        :param tell: is told how far it is.
        :param given_up: set by who no longer wants the result.
        :return: ``{"experiment": …, "wsgi": …, "asgi": …}``; see :func:`_measured`. ``tries`` says
            of how many runs each is the quickest.
        :raises Unfit: too many experiments wait.
        :raises GivenUp: nobody wants it any more.
        :raises ProjectError: the scenes could not be served.
        """
        with self._turn(tell, given_up):
            result: Plain = {"experiment": experiment.plain()}
            for done, gateway in enumerate(GATEWAYS):
                tell(_running(experiment, gateway, done, len(GATEWAYS)))
                result[gateway] = self._quickest(experiment, gateway, given_up)
            return result

    def sweep(self, experiment: Experiment, tell: Tell, given_up: threading.Event) -> Plain:
        """The same with growing numbers of clients, and only what a plot needs.

        :return: ``{"experiment": …, "points": [{"clients": n, "wsgi": {"seconds": s, "cpu": s,
            "memory": bytes}, "asgi": …}]}``, memory being what the run took on top.
        :raises Unfit: it would take too long, or too many experiments wait.
        :raises GivenUp: nobody wants it any more.
        :raises ProjectError: the scenes could not be served.
        """
        steps = numbers(experiment)
        points: list[Plain] = []
        with self._turn(tell, given_up):
            for done, step in enumerate(steps):
                run = _with(experiment, clients=step)
                point: Plain = {"clients": step}
                for more, gateway in enumerate(GATEWAYS):
                    tell(_running(run, gateway, 2 * done + more, 2 * len(steps)))
                    measured = self._quickest(run, gateway, given_up)
                    memory = measured["memory"]
                    point[gateway] = {
                        "seconds": measured["seconds"],
                        "cpu": measured["cpu"],
                        "memory": memory["peak"] - memory["before"],
                    }
                points.append(point)
        return {"experiment": experiment.plain(), "points": points}

    def close(self) -> None:
        """End the process, once it is nobody's turn."""
        with self._turn(lambda told: None, threading.Event()):
            self._drop()

    @contextlib.contextmanager
    def _turn(self, tell: Tell, given_up: threading.Event) -> Iterator[None]:
        """Wait for those who came before."""
        ticket, told = object(), 0
        with self._moved:
            if len(self._line) > MOST_WAITING:
                raise Unfit("Very many experiments are waiting already. Try again in a minute.")
            self._line.append(ticket)
        try:
            while place := self._place(ticket, told):
                if place != told:
                    tell({"state": "waiting", "place": place})
                told = place
                if given_up.is_set():
                    raise GivenUp
            yield
        finally:
            with self._moved:
                self._line.remove(ticket)
                self._moved.notify_all()

    def _place(self, ticket: object, told: int) -> int:
        """How many are before this one, once that has changed; or after a while."""
        with self._moved:
            if told:
                self._moved.wait_for(lambda: self._line.index(ticket) != told, LOOK)
            return self._line.index(ticket)

    def _quickest(self, experiment: Experiment, gateway: str, given_up: threading.Event) -> Plain:
        """One gateway, more than once if it is quick."""
        tried = [self._measure(experiment, gateway, given_up)]
        while len(tried) < TRIES and tried[-1]["seconds"] < SHORT:
            tried.append(self._measure(experiment, gateway, given_up))
        quickest = min(tried, key=lambda measured: float(measured["seconds"]))
        return {**quickest, "tries": len(tried)}

    def _measure(self, experiment: Experiment, gateway: str, given_up: threading.Event) -> Plain:
        """One gateway, in a fresh process."""
        try:
            if self._host is None:
                self._host = Host("twogate.lab.serving", {"folder": str(FOLDER)})
            host = self._host
            port = host.tell("serve", gateway=gateway, threads=experiment.threads)["port"]
            clients = _Clients(experiment, port, experiment.seconds(gateway), given_up)
            asyncio.run(clients.warm_up())
            before = host.tell("begin")
            visits = asyncio.run(clients.visit())
            return _measured(visits, before, host.tell("end"))
        except BaseException:
            self._drop()  # nobody knows what it is in the middle of
            raise

    def _drop(self) -> None:
        host, self._host = self._host, None
        if host is not None:
            host.close()


def _running(run: Experiment, gateway: str, done: int, of: int) -> Plain:
    clients = "1 client" if run.clients == 1 else f"{run.clients} clients"
    return {
        "state": "running", "done": done, "of": of, "what": f"{clients} through {gateway.upper()}",
    }  # fmt: skip


#: The name of the visitor who comes a moment later.
LATE = "late"


class _Clients:
    """All the clients of one run, on an event loop of their own."""

    def __init__(
        self, experiment: Experiment, port: int, expected: float, given_up: threading.Event
    ) -> None:
        self._experiment = experiment
        self._port = port
        self._deadline = time.monotonic() + expected + PATIENCE
        self._given_up = given_up

    async def warm_up(self) -> None:
        """The first request to a process loads what all others find loaded."""
        visit = await self._connect(self._experiment.path("", 0))
        visit.send()
        await self._all([visit])

    async def visit(self) -> list[Plain]:
        """Everybody connects; then all ask at one moment, and one for a quick page a bit later."""
        experiment = self._experiment
        work = experiment.milliseconds
        paths = [experiment.path(number, work) for number in range(1, experiment.clients + 1)]
        visits = await asyncio.gather(*map(self._connect, paths))
        late = await self._connect(experiment.path(LATE, 0))
        for visit in visits:
            visit.send()
        asyncio.get_running_loop().call_later(work / 2000, late.send)
        return await self._all([*visits, late])

    async def _connect(self, path: str) -> _Visit:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        return _Visit(path, reader, writer)

    async def _all(self, visits: list[_Visit]) -> list[Plain]:
        tasks = [asyncio.create_task(visit.answer()) for visit in visits]
        while (await asyncio.wait(tasks, timeout=LOOK))[1]:
            if self._given_up.is_set():
                raise GivenUp
            if time.monotonic() > self._deadline:
                raise Unfit("The clients were not answered in time. Is this machine very busy?")
        return [_fine(task.result()) for task in tasks]


def _fine(answer: Plain) -> Plain:
    if answer["status"] != 200:
        raise Unfit(f"A client was not served (status {answer['status'] or 'none'}).")
    return answer


class _Visit:
    """One client with a connection of its own."""

    def __init__(
        self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._path = path
        self._reader = reader
        self._writer = writer
        self._sent = 0.0

    def send(self) -> None:
        request = f"GET {self._path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        self._sent = time.monotonic()
        self._writer.write(request.encode())

    async def answer(self) -> Plain:
        """What the view said of itself, and when the answer was here: seconds of the clock that
        all processes share."""
        answer = b""
        with contextlib.closing(self._writer), contextlib.suppress(OSError):
            answer = await self._reader.read()
        times = {"sent": self._sent, "answered": time.monotonic()}
        head, _, body = answer.partition(b"\r\n\r\n")
        status = int(head[9:12]) if head else 0
        said = json.loads(body) if status == 200 else {}
        return {**said, **times, "status": status}


def _measured(visits: list[Plain], before: Plain, after: Plain) -> Plain:
    """What is shown of one gateway. Times are seconds since the first client asked.

    ``requests`` have ``sent``, ``began``, ``ended``, ``answered``, the ``thread`` that ran the view
    and the ``worker`` that the server gave it to; ``late`` is the one of the visitor who came
    later. ``seconds`` is when the last client had its answer, ``at_once`` how many views were under
    way together at most, ``cpu`` the seconds of processor time, ``memory`` in bytes.
    """
    zero = visits[0]["sent"]
    workers = after["workers"]
    times = ("sent", "began", "ended", "answered")
    requests = [
        {
            **{name: round(visit[name] - zero, 6) for name in times},
            "thread": visit["thread"],
            "worker": workers.get(str(number), ""),
        }
        for number, visit in enumerate(visits, 1)
    ]
    late = requests.pop()
    late["worker"] = workers.get(LATE, "")
    return {
        "requests": requests,
        "late": late,
        "seconds": max(request["answered"] for request in requests),
        "at_once": _most_at_once(requests),
        "cpu": after["cpu"],
        "memory": {"before": before["memory"], "peak": after["memory"]},
    }


def _most_at_once(requests: list[Plain]) -> int:
    changes = [(r["began"], 1) for r in requests] + [(r["ended"], -1) for r in requests]
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most
