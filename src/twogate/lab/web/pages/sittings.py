"""Practise: the test of ten questions and the timed challenge, from their first page to the badge.

What is going on is kept on the server (progress of kind "test"), and so is the time: a page shows a
clock, but when a question was first shown and when its answer came decides.
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import path
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from twogate.lab.asking import Asked, Fields, Told, Unreadable
from twogate.lab.bank import LEVELS, TOPICS
from twogate.lab.quiz import Tally, earns_badge
from twogate.lab.quiz import points as points_of
from twogate.lab.sitting import CHALLENGE, MODES, Sitting, begin, restore
from twogate.lab.web import answered, learners, progress
from twogate.lab.web.models import Learner
from twogate.lab.web.safety import sorry

__all__ = ["summary", "urlpatterns"]

_KIND = "test"
#: How many of the past ones a list shows.
_LISTED = 5


def summary(learner: Learner | None) -> dict[str, Any]:
    """For the page that leads here: what is going on, what was, the badges and the best points."""
    kept = _all(learner)
    ended = [(key, sitting) for key, sitting in kept if sitting.ended is not None]
    return {
        "running": _running(learner),
        "past": [(key, s, _when(s)) for key, s in ended[:_LISTED]],
        "badges": sum(earns_badge(sitting.score) for _, sitting in ended),
        "best": max((s.points for _, s in ended if s.mode == CHALLENGE), default=0),
    }


def _all(learner: Learner | None) -> list[tuple[str, Sitting]]:
    """All that were begun, with their keys, newest first."""
    found = []
    for key, value in progress.values(learner, _KIND).items():
        try:
            found.append((key, restore(value)))
        except ValueError:  # of an older bank, or imported
            continue
    return sorted(found, key=lambda pair: pair[1].begun, reverse=True)


def _running(learner: Learner | None) -> tuple[str, Sitting] | None:
    return next((pair for pair in _all(learner) if pair[1].ended is None), None)


def _when(sitting: Sitting) -> datetime:
    return datetime.fromtimestamp(sitting.ended or sitting.begun, UTC).astimezone()


@require_POST
def start(request: HttpRequest) -> HttpResponse:
    """Begin one, or go on with the one that is not finished."""
    if (mode := request.POST.get("mode", "")) not in MODES:
        text = "Go back to Practise and choose the test or the challenge."
        return sorry(request, "There is no such test", text, status=400)
    learner = learners.ensure(request)
    if (running := _running(learner)) is not None:
        return redirect("practise-test", running[0])
    key = secrets.token_hex(8)
    progress.put(learner, _KIND, key, begin(mode, secrets.randbits(31), time.time()).dump())
    return redirect("practise-test", key)


@require_http_methods(["GET", "HEAD", "POST"])
def sitting(request: HttpRequest, key: str) -> HttpResponse:
    """The next question, its answer by POST, and after the last one the result."""
    learner, kept = _find(request, key)
    if request.method != "POST":
        return _page(request, key, kept)
    try:
        value = progress.change(
            learner, _KIND, key, lambda old: _take(request, restore(old)).dump()
        )
    except Unreadable as mistake:
        return _page(request, key, kept, str(mistake), 400)
    except ValueError:
        _, kept = _find(request, key)
        text = "That question was answered before, and the first answer counts."
        return _page(request, key, kept, text, 409)
    taken = restore(value)
    last = taken.answers[-1]
    answered.record(learner, Told(Asked(last.question, taken.seed), last.given))
    return redirect("practise-test", key)


def _find(request: HttpRequest, key: str) -> tuple[Learner, Sitting]:
    """One's own sitting; there are no others."""
    learner = learners.of(request)
    try:
        if learner is not None:
            return learner, restore(progress.value(learner, _KIND, key))
    except ValueError:
        pass
    raise Http404


def _take(request: HttpRequest, kept: Sitting) -> Sitting:
    """What was sent, as the answer to the question that is next.

    :raises Unreadable: it is none.
    :raises ValueError: it is the answer to another one.
    """
    if request.POST.get("number") != str(len(kept.answers) + 1):
        raise ValueError("another question")
    now = time.time()
    fields = dict(request.POST.lists())
    return kept.answer(_read(kept, fields, now), now)


def _read(kept: Sitting, fields: Fields, now: float) -> tuple[int, ...]:
    try:
        return Asked(kept.question, kept.seed).read(fields)
    except Unreadable:
        if kept.left(now) <= 0:  # nothing was chosen in time
            return ()
        raise


def _page(
    request: HttpRequest, key: str, kept: Sitting, notice: str = "", status: int = 200
) -> HttpResponse:
    shown, now = {"key": key, "notice": notice}, time.time()
    if kept.ended is None and kept.asked is None:
        learner = learners.ensure(request)
        value = progress.change(learner, _KIND, key, lambda old: restore(old).show(now).dump())
        kept = restore(value)
    if kept.ended is not None:
        return render(request, "lab/practise/result.html", shown | _result(kept), status=status)
    return render(request, "lab/practise/sitting.html", shown | _now(kept, now), status=status)


def _now(kept: Sitting, now: float) -> dict[str, Any]:
    return {
        "sitting": kept,
        "asked": Asked(kept.question, kept.seed),
        "topic": TOPICS[kept.question.topic],
        "number": len(kept.answers) + 1,
        "left": None if kept.limit is None else round(min(max(0, kept.left(now)), kept.limit), 1),
    }


def _result(kept: Sitting) -> dict[str, Any]:
    return {
        "sitting": kept,
        "when": _when(kept),
        "score": kept.score,
        "topics": _tallies(kept.score.topics, TOPICS),
        "levels": _tallies(kept.score.levels, {level: level.capitalize() for level in LEVELS}),
        "review": [
            (Told(Asked(answer.question, kept.seed), answer.given), points_of(answer))
            for answer in kept.outcome
        ],
        "badge": earns_badge(kept.score),
    }


def _tallies(tallies: dict[str, Tally], titles: dict[str, str]) -> list[tuple[str, Tally]]:
    """Those that were asked, in their usual order."""
    return [(title, tallies[key]) for key, title in titles.items() if key in tallies]


@require_POST
def give_up(request: HttpRequest, key: str) -> HttpResponse:
    """End it here."""
    learner, _ = _find(request, key)
    now = time.time()
    progress.change(learner, _KIND, key, lambda value: restore(value).give_up(now).dump())
    return redirect("practise-test", key)


@require_safe
def badge(request: HttpRequest, key: str) -> HttpResponse:
    """The badge as a picture of its own, to be saved."""
    learner, kept = _find(request, key)
    if kept.ended is None or not earns_badge(kept.score):
        raise Http404
    shown = {"learner": learner, **_result(kept)}
    text = render_to_string("lab/practise/badge.svg", shown)
    return HttpResponse(text, content_type="image/svg+xml")


urlpatterns = [
    path("", start, name="practise-start"),
    path("<str:key>/", sitting, name="practise-test"),
    path("<str:key>/end/", give_up, name="practise-give-up"),
    path("<str:key>/badge.svg", badge, name="practise-badge"),
]
