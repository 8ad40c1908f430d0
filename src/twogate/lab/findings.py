"""What an experiment shows, in sentences computed from what was measured, and from nothing else.

Pure: takes the plain data of :mod:`twogate.lab.experiments`. Machines are noisy, so a door is
called better only where it is so by far, and where the recorded order of things says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

__all__ = ["what_a_sweep_shows", "what_it_shows"]

Plain: TypeAlias = dict[str, Any]

NAMES = {"wsgi": "WSGI", "asgi": "ASGI"}
#: How many times as long, and how many seconds longer, is by far.
FAR, LONGER = 1.5, 0.02
#: The same for processor time, which is less noisy, and for all requests together.
DEARER, COSTS = 1.25, 0.004
#: The seconds a run took, by those it had the processor, from which others used the machine.
SHARED = 1.6
#: Bytes of memory that say nothing.
HARDLY = 400_000


def what_it_shows(result: Plain) -> Plain:
    """The better door of one experiment, and why.

    :param result: what :meth:`Bench.run` returned.
    :return: ``{"better": "wsgi", "asgi" or "", "sentences": […]}``; the first says which and why.
    """
    better, verdict = _verdict(result)
    return {"better": better, "sentences": [verdict, *_order(result), *_cost(result)]}


def what_a_sweep_shows(sweep: Plain) -> list[str]:
    """What growing numbers of clients did.

    :param sweep: what :meth:`Bench.sweep` returned.
    """
    points = sweep["points"]
    first, last = points[0], points[-1]
    sentences = [
        f"From {_clients(first['clients'])} to {last['clients']}, the time to finish went from"
        f" {_time(first[gateway]['seconds'])} to {_time(last[gateway]['seconds'])} through"
        f" {NAMES[gateway]}."
        for gateway in NAMES
    ]
    sentences.append(_lead(sweep["experiment"], points))
    sentences.append(_memory({gateway: last[gateway]["memory"] for gateway in NAMES}))
    return sentences


def _lead(experiment: Plain, points: list[Plain]) -> str:
    """From which number of clients on one door stays ahead."""
    leads = [_ahead(experiment, point) for point in points]
    if not leads[-1]:
        return f"With {points[-1]['clients']} clients neither door was clearly faster."
    since = len(leads)
    while since and leads[since - 1] == leads[-1]:
        since -= 1
    number = _clients(points[since]["clients"])
    if not since:
        return f"{NAMES[leads[-1]]} was clearly faster from {number} on."
    return f"{NAMES[leads[-1]]} was clearly faster from {number} on, and with fewer it was not."


# The verdict.


def _verdict(result: Plain) -> tuple[str, str]:
    experiment, clients = result["experiment"], result["experiment"]["clients"]
    if door := _ahead(experiment, result):
        fast, slow = result[door], result[_other(door)]
        return door, (
            f"{NAMES[door]} is the better door here. {_all(clients)} answered after"
            f" {_time(fast['seconds'])}; through {NAMES[_other(door)]} it took"
            f" {_time(slow['seconds'])}, {_times(slow['seconds'], fast['seconds'])} as long."
        )
    if door := _quicker_for_the_late(result):
        slow = result[_other(door)]
        return door, (
            f"{NAMES[door]} is the better door here. A visitor who came {_later(result)} for a"
            f" quick page had it after {_time(_took(result[door]['late']))}; through"
            f" {NAMES[_other(door)]} it took {_time(_took(slow['late']))}, because"
            f" {_views(_behind(slow))} came to their end first."
        )
    if door := _cheaper(result):
        cheap, dear = _cpu_each(result, door), _cpu_each(result, _other(door))
        return door, (
            f"{NAMES[door]} is the better door here, by a little. Neither answered far sooner, and"
            f" the server's processor worked {_time(cheap)} for each request through {NAMES[door]},"
            f" {_time(dear)} through {NAMES[_other(door)]}."
        )
    return "", "Both doors are as good here: neither was clearly faster, or took clearly more work."


def _ahead(experiment: Plain, sides: Plain) -> str:
    """The gateway through which all had their answer clearly sooner, if there is one."""
    fast, slow = sorted(NAMES, key=lambda gateway: float(sides[gateway]["seconds"]))
    if not _far(sides[slow]["seconds"], sides[fast]["seconds"]):
        return ""
    if experiment["work"] == "compute" and not _dearer(sides[slow]["cpu"], sides[fast]["cpu"]):
        return ""  # it did the same work: something else had the processor meanwhile
    return fast


def _quicker_for_the_late(result: Plain) -> str:
    fast, slow = sorted(NAMES, key=lambda gateway: _took(result[gateway]["late"]))
    far = _far(_took(result[slow]["late"]), _took(result[fast]["late"]))
    return fast if far and _behind(result[slow]) > _behind(result[fast]) else ""


def _cheaper(result: Plain) -> str:
    cheap, dear = sorted(NAMES, key=lambda gateway: float(result[gateway]["cpu"]))
    return cheap if _dearer(result[dear]["cpu"], result[cheap]["cpu"]) else ""


# Who waited for whom.


def _order(result: Plain) -> Iterator[str]:
    experiment = result["experiment"]
    yield _in_line("wsgi", result)
    if experiment["is_async"]:
        yield from _loops_of_wsgi(result["wsgi"])
        yield _on_the_loop(result["asgi"])
    else:
        threads = _count(_threads(result["asgi"]), "worker thread")
        yield (
            "Through ASGI a sync view needs a worker thread, too:"
            f" {_at_once(result['asgi'])}, on {threads}."
        )
    yield (
        f"A visitor who came {_later(result)} for a quick page had it after"
        f" {_time(_took(result['wsgi']['late']))} through WSGI and after"
        f" {_time(_took(result['asgi']['late']))} through ASGI."
    )


def _in_line(gateway: str, result: Plain) -> str:
    side, clients = result[gateway], result["experiment"]["clients"]
    workers = len({request["worker"] for request in side["requests"]})
    sentence = (
        f"Through {NAMES[gateway]} {_at_once(side)}, on {workers} of"
        f" {_count(result['experiment']['threads'], 'worker thread')}."
    )
    if side["at_once"] < clients:
        longest = max(request["began"] - request["sent"] for request in side["requests"])
        sentence += f" The last client stood in line for {_time(longest)} before its view began."
    return sentence


def _loops_of_wsgi(side: Plain) -> Iterator[str]:
    requests = side["requests"]
    if all(request["thread"] != request["worker"] for request in requests):
        threads = _count(_threads(side), "more thread")
        yield (
            "Under WSGI Django ran each async view on an event loop of its own, on a thread of its"
            f" own: {threads} for {_count(len(requests), 'request')}. The worker thread waited for"
            " it all the same."
        )


def _on_the_loop(side: Plain) -> str:
    if side["at_once"] > 1:
        return (
            f"Through ASGI {_views(side['at_once'])} were under way at once on"
            f" {_count(_threads(side), 'thread')}: while one awaits, the event loop runs another."
        )
    if len(side["requests"]) == 1:
        return "Through ASGI the view ran on the event loop's thread."
    first = min(side["requests"], key=lambda request: float(request["ended"]))
    sentence = (
        "Through ASGI the views ran one after the other on the event loop's thread: none of them"
        " awaited anything for long, so the loop had no chance to turn to another."
    )
    if _far(first["answered"], first["ended"]):
        sentence += (
            f" It could not even send: the first view ended after {_time(first['ended'])}, and its"
            f" client had the answer after {_time(first['answered'])}."
        )
    return sentence


# What it cost.


def _cost(result: Plain) -> Iterator[str]:
    experiment = result["experiment"]
    work = experiment["clients"] * experiment["milliseconds"] / 1000
    if experiment["work"] == "compute" and work and experiment["clients"] > 1:
        yield from _computing(result, work)
    cpu = " and ".join(f"{_time(_cpu_each(result, g))} through {NAMES[g]}" for g in NAMES)
    yield f"The server's processor time for each request was {cpu}."
    memory = {gateway: result[gateway]["memory"] for gateway in NAMES}
    yield _memory({gateway: used["peak"] - used["before"] for gateway, used in memory.items()})
    short = [NAMES[gateway] for gateway in NAMES if result[gateway]["tries"] > 1]
    if short:
        yield (
            f"So short a time depends on what else this machine does: of {' and of '.join(short)}"
            " you see the quickest of several runs."
        )


def _computing(result: Plain, work: float) -> Iterator[str]:
    sides = [result[gateway] for gateway in NAMES]
    if all(side["seconds"] > work * 0.8 for side in sides):
        yield (
            f"There was {_time(work)} of computing to do, and no door did it faster: Python runs"
            " one thread at a time, so more threads only take turns."
        )
    shared = [side for side in sides if side["seconds"] > SHARED * side["cpu"]]
    if shared:
        side = shared[-1]
        yield (
            "Something else used this machine meanwhile: the server had a processor for"
            f" {_time(side['cpu'])} of {_time(side['seconds'])}. Run it again for better times."
        )


def _memory(grown: dict[str, int]) -> str:
    if all(size < HARDLY for size in grown.values()):
        return "The server's memory hardly grew through either door."
    sizes = " and ".join(f"{grown[g] / 1e6:.1f} MB through {NAMES[g]}" for g in NAMES)
    return f"The server's memory grew by {sizes}."


# Measures.


def _other(gateway: str) -> str:
    return "asgi" if gateway == "wsgi" else "wsgi"


def _took(request: Plain) -> float:
    return float(request["answered"] - request["sent"])


def _behind(side: Plain) -> int:
    """How many views ended while the late visitor stood in line."""
    late = side["late"]
    return sum(late["sent"] < r["ended"] <= late["began"] for r in side["requests"])


def _threads(side: Plain) -> int:
    return len({request["thread"] for request in side["requests"]})


def _cpu_each(result: Plain, gateway: str) -> float:
    return float(result[gateway]["cpu"] / (result["experiment"]["clients"] + 1))  # and the late one


def _far(slow: float, fast: float) -> bool:
    return slow >= fast * FAR and slow - fast >= LONGER


def _dearer(dear: float, cheap: float) -> bool:
    return dear >= cheap * DEARER and dear - cheap >= COSTS


# Words.


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"


def _times(slow: float, fast: float) -> str:
    ratio = slow / fast
    return f"{ratio:.0f} times" if ratio >= 3 else f"{ratio:.1f} times"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)


def _at_once(side: Plain) -> str:
    most = side["at_once"]
    return f"at most {most} views ran at once" if most > 1 else "one view ran at a time"


def _views(number: int) -> str:
    return _count(number, "view")


def _clients(number: int) -> str:
    return _count(number, "client")


def _all(clients: int) -> str:
    return "The one client was" if clients == 1 else f"All {clients} clients were"


def _later(result: Plain) -> str:
    milliseconds = result["experiment"]["milliseconds"]
    return f"{_time(milliseconds / 2000)} later" if milliseconds else "right after them"
