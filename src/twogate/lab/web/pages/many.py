"""Many at once: the learner chooses, an experiment is run, and how far it is comes line by line.

The experiment blocks, so it has a thread of its own; the view that tells of it is async, because
many learners may wait for their turn.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_safe

from twogate.errors import TwogateError
from twogate.lab.experiments import (
    FOLDER,
    LIMITS,
    WORKS,
    Bench,
    Experiment,
    GivenUp,
    Tell,
    Unfit,
    check,
    numbers,
)
from twogate.lab.findings import what_a_sweep_shows, what_it_shows
from twogate.lab.web import learners, progress
from twogate.lab.web.answers import Refused, read
from twogate.lab.web.models import Learner

__all__ = ["urlpatterns"]

logger = logging.getLogger("twogate.lab")

#: One for the whole lab: two experiments at once would measure each other.
_BENCH = Bench()

#: JSON, one object to a line.
_LINES = "application/x-ndjson"

_PRESETS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("100 visitors wait for something",
     {"clients": 100, "work": "wait", "milliseconds": 100, "is_async": True, "threads": 4}),
    ("A busy page computes",
     {"clients": 5, "work": "compute", "milliseconds": 200, "is_async": True, "threads": 8}),
    ("A simple site",
     {"clients": 50, "work": "wait", "milliseconds": 5, "is_async": False, "threads": 16}),
)  # fmt: skip


@require_safe
def many(request: HttpRequest) -> HttpResponse:
    """The page."""
    shown = {
        "presets": [{"title": title, "values": json.dumps(it)} for title, it in _PRESETS],
        "chosen": _chosen(progress.value(learners.of(request), "seen", "many")),
        "limits": LIMITS,
        "works": WORKS,
        "views": _views(),
    }
    return render(request, "lab/many.html", shown)


def _chosen(seen: Any) -> dict[str, Any]:
    """The settings of the last experiment, if it is one: what is kept may have been imported."""
    last = seen.get("experiment") if isinstance(seen, dict) else None
    try:
        return check(last).plain() if isinstance(last, dict) else _PRESETS[0][1]
    except Unfit:
        return _PRESETS[0][1]


def _views() -> dict[str, str]:
    """The code of the views that clients ask for, by kind."""
    source = (FOLDER / "pages" / "views.py").read_text(encoding="utf-8")
    functions = {
        node.name: ast.get_source_segment(source, node) or ""
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    names = {"wait": "slow", "compute": "compute"}
    return {
        f"{kind} {work}": functions[prefix + name]
        for work, name in names.items()
        for kind, prefix in (("sync", ""), ("async", "async_"))
    }


async def run(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Run an experiment, or a sweep; answers with a line of JSON whenever there is news."""
    try:
        data = read(request)
        experiment, sweep = check(data), data.get("sweep") is True
        if sweep:
            numbers(experiment)
    except Refused as refused:
        return JsonResponse({"error": refused.sentence}, status=refused.status)
    except Unfit as unfit:
        return HttpResponse(_line(_failure(str(unfit))), content_type=_LINES)
    learner = await sync_to_async(learners.ensure)(request)
    told = _told(experiment, sweep, learner)
    return StreamingHttpResponse(told, content_type=_LINES)


async def _told(experiment: Experiment, sweep: bool, learner: Learner) -> AsyncIterator[str]:
    """Everything that the experiment's thread tells, until it ends or the browser leaves."""
    loop = asyncio.get_running_loop()
    news: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    given_up = threading.Event()

    def tell(what: dict[str, Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the lab ends, and its loop has ended already
            loop.call_soon_threadsafe(news.put_nowait, what)

    work = (experiment, sweep, learner, tell, given_up)
    threading.Thread(target=_work, args=work, name="experiment", daemon=True).start()
    try:
        while True:
            what = await news.get()
            yield _line(what)
            if what["state"] in ("done", "failed"):
                return
    finally:
        given_up.set()


def _work(
    experiment: Experiment, sweep: bool, learner: Learner, tell: Tell, given_up: threading.Event
) -> None:
    """On the experiment's own thread, from its place in the line to its result."""
    try:
        result = (_BENCH.sweep if sweep else _BENCH.run)(experiment, tell, given_up)
        shows = what_a_sweep_shows(result) if sweep else what_it_shows(result)
        _keep(learner, experiment)
    except GivenUp:
        pass
    except TwogateError as error:
        tell(_failure(str(error)))
    except Exception:
        logger.exception("An experiment failed")
        sorry = "The experiment failed; the terminal in which the lab runs says why. Run it again."
        tell(_failure(sorry))
    else:
        tell({"state": "done", "result": result, "shows": shows})
    finally:
        connections.close_all()


def _line(what: dict[str, Any]) -> str:
    return json.dumps(what) + "\n"


def _failure(sentence: str) -> dict[str, Any]:
    return {"state": "failed", "error": sentence}


def _keep(learner: Learner, experiment: Experiment) -> None:
    """Remember that, and what, was tried."""

    def once_more(seen: Any) -> dict[str, Any]:
        times = seen.get("times") if isinstance(seen, dict) else None
        times = times if isinstance(times, int) else 0
        return {"times": times + 1, "experiment": experiment.plain()}

    progress.change(learner, "seen", "many", once_more)


urlpatterns = [path("", many, name="many"), path("run/", run, name="many-run")]
