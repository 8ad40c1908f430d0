"""Practise: the questions by topic and level, one at a time, each with its proof.

The server decides what is right: a page does not hold the answer before it was given. All of it are
forms, which work without scripts. Tests and the challenge are in
:mod:`twogate.lab.web.pages.sittings`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import include, path
from django.views.decorators.http import require_http_methods, require_safe

from twogate.lab.asking import Asked, Told, Unreadable
from twogate.lab.bank import LEVELS, TOPICS, Question, all_questions, find_question
from twogate.lab.proving import Proven, prove
from twogate.lab.web import answered, learners
from twogate.lab.web.pages import sittings

__all__ = ["urlpatterns"]

_SEEDS = 2**31


@dataclass(frozen=True, slots=True)
class Entry:
    """A question in a list.

    :ivar right: whether it was ever answered rightly; ``None`` when it was not answered.
    """

    question: Question
    right: bool | None


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic with its questions of the chosen level."""

    key: str
    title: str
    entries: list[Entry]

    @property
    def right(self) -> int:
        """How many were answered rightly."""
        return sum(entry.right is True for entry in self.entries)


@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """All questions by topic, and ways into a test."""
    learner = learners.of(request)
    level = request.GET.get("level", "")
    entries = _entries(answered.standing(learner))
    chosen = [e for e in entries if e.question.level == level or level not in LEVELS]
    topics = [
        Topic(key, title, [entry for entry in chosen if entry.question.topic == key])
        for key, title in TOPICS.items()
    ]
    shown = {
        "topics": [topic for topic in topics if topic.entries],
        "levels": [(name, *_count(entries, name)) for name in LEVELS],
        "level": level if level in LEVELS else "",
        "total": len(entries),
        "right": sum(entry.right is True for entry in entries),
        "next": _next(entries),
        **sittings.summary(learner),
    }
    return render(request, "lab/practise/overview.html", shown)


def _entries(standing: dict[str, bool]) -> list[Entry]:
    return [Entry(question, standing.get(question.key)) for question in all_questions()]


def _count(entries: Sequence[Entry], level: str) -> tuple[int, int]:
    """Of a level: how many were answered rightly, and how many there are."""
    rights = [entry.right is True for entry in entries if entry.question.level == level]
    return sum(rights), len(rights)


def _next(entries: Sequence[Entry], after: Question | None = None) -> Question | None:
    """The next question that was not answered rightly, beginning anew after the last."""
    questions = [entry.question for entry in entries]
    start = questions.index(after) + 1 if after else 0
    turned = [*entries[start:], *entries[:start]]
    return next((e.question for e in turned if not e.right and e.question is not after), None)


@require_http_methods(["GET", "HEAD", "POST"])
def question(request: HttpRequest, key: str) -> HttpResponse:
    """One question, and its answer by POST."""
    found = _find(key)
    if request.method != "POST":
        return _ask(request, Asked(found, secrets.randbelow(_SEEDS)))
    asked = Asked(found, _seed(request.POST.get("seed", "")))
    try:
        told = Told(asked, asked.read(dict(request.POST.lists())))
    except Unreadable as mistake:
        return _ask(request, asked, str(mistake))
    answered.record(learners.ensure(request), told)
    return redirect("practise-answer", key)


def _find(key: str) -> Question:
    if (found := find_question(key)) is None:
        raise Http404
    return found


def _seed(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0


def _ask(request: HttpRequest, asked: Asked, mistake: str = "") -> HttpResponse:
    shown = {"asked": asked, "topic": TOPICS[asked.question.topic], "mistake": mistake}
    return render(request, "lab/practise/question.html", shown, status=400 if mistake else 200)


@require_safe
def answer(request: HttpRequest, key: str) -> HttpResponse:
    """What is right, and why; for those who have answered."""
    found, learner = _find(key), learners.of(request)
    if (told := answered.last(learner, found)) is None:
        return redirect("practise-question", key)
    shown = {
        "told": told,
        "topic": TOPICS[found.topic],
        "next": _next(_entries(answered.standing(learner)), found),
    }
    return render(request, "lab/practise/answer.html", shown)


@require_http_methods(["GET", "HEAD", "POST"])
async def proof(request: HttpRequest, key: str) -> HttpResponse:
    """The proof of a question; POST runs it, and waits on the loop until it is its turn."""
    found = _find(key)
    proven = await prove(found) if request.method == "POST" else None
    asked = Asked(found, _seed(request.POST.get("seed", "")))
    shown = {"question": found, "topic": TOPICS[found.topic], **_shown_of(asked, proven)}
    # A template asks the database who is learning.
    return await sync_to_async(render)(request, "lab/practise/proof.html", shown)


def _shown_of(asked: Asked, proven: Proven | None) -> dict[str, Any]:
    """What a run of a proof made true, in words of the question."""
    if proven is None or proven.true is None:
        return {"proven": proven}
    shows = Told(asked, proven.true)
    return {
        "proven": proven,
        "claims": [(choice.text, true) for choice, true, _ in shows.choices],
        "order": [step for _, step in shows.steps],
        "fits": shows.right,
    }


urlpatterns = [
    path("", overview, name="practise"),
    path("question/<str:key>/", question, name="practise-question"),
    path("question/<str:key>/answer/", answer, name="practise-answer"),
    path("proof/<str:key>/", proof, name="practise-proof"),
    path("test/", include("twogate.lab.web.pages.sittings")),
]
