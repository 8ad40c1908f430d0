"""Watch: one real request through each gateway, played step by step."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_safe

from twogate.errors import ProjectError
from twogate.lab.play import play
from twogate.lab.watching import SCENARIOS, watch
from twogate.lab.web import learners, progress
from twogate.lab.web.answers import Refused, takes_json

__all__ = ["urlpatterns"]


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """What can be sent, and which of it this learner has watched."""
    seen = progress.values(learners.of(request), "seen")
    scenarios = [{"it": one, "seen": one.key in seen} for one in SCENARIOS.values()]
    return render(request, "lab/watch.html", {"scenarios": scenarios})


@takes_json
def run(request: HttpRequest, data: dict[str, Any]) -> dict[str, Any]:
    """Send it, now, and tell what happened."""
    key = data.get("scenario")
    scenario = SCENARIOS.get(key) if isinstance(key, str) else None
    if scenario is None:
        raise Refused("There is no such scenario. Load the page again.", 404)
    try:
        played = play(watch(scenario))
    except ProjectError as error:
        raise Refused(f"{error.message} {error.mend}".strip(), 503) from error
    except TimeoutError as error:
        raise Refused(str(error), 503) from error
    progress.change(learners.ensure(request), "seen", scenario.key, _once_more)
    return played


def _once_more(kept: Any) -> dict[str, int]:
    times = kept.get("times", 0) if isinstance(kept, dict) else 0
    return {"times": times + 1 if isinstance(times, int) else 1}


urlpatterns = [
    path("", page, name="watch"),
    path("run/", run, name="watch-run"),
]
