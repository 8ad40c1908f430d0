"""The first page: what there is, and how far this learner has come."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path, reverse

from twogate.lab.web import learners, progress

__all__ = ["urlpatterns"]


@dataclass(frozen=True, slots=True)
class _Card:
    page: str
    title: str
    text: str
    kind: str = ""
    done: str = ""


_CARDS = (
    _Card("watch", "Watch", "Send a real request through both gateways and follow it step by step,"
          " thread by thread.", "seen", "{} watched"),
    _Card("many", "Many at once", "A hundred visitors come together. Who waits for whom, and which"
          " door is the better one?"),
    _Card("build", "Build", "Write the entry points, a consumer, an async view. Your code is run"
          " and served.", "step"),
    _Card("practise", "Practise", "Questions at three levels. Each answer has a proof that runs.",
          "answer"),
    _Card("recall", "Recall", "Cards that come back just before you would forget them.", "card",
          "{} cards learned"),
    _Card("live", "Live", "Chat, notifications and streams in two windows, and what the server did"
          " for them."),
)  # fmt: skip


def home(request: HttpRequest) -> HttpResponse:
    """The page."""
    learner = learners.of(request)
    cards = [
        {
            "address": reverse(card.page),
            "title": card.title,
            "text": card.text,
            "first": card.page == "watch",
            "done": _done(card, progress.values(learner, card.kind) if card.kind else {}),
        }
        for card in _CARDS
    ]
    return render(request, "lab/home.html", {"cards": cards})


def _done(card: _Card, kept: dict[str, object]) -> str:
    if card.kind == "step":
        done = [step for step in kept.values() if isinstance(step, dict) and step.get("done")]
        return _many(len(done), "exercise done", "exercises done")
    if card.kind == "answer":
        right = [one for one in kept.values() if isinstance(one, dict) and one.get("right")]
        return _many(len(right), "question answered rightly", "questions answered rightly")
    return card.done.format(len(kept)) if kept else ""


def _many(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}" if number else ""


urlpatterns = [path("", home, name="home")]
