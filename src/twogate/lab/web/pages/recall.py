"""Recall: cards that come again when they are about to be forgotten, and explanations in one's own
words. Forms that work without scripts; sync views, any thread."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from twogate.lab.bank import find_question
from twogate.lab.deck import Deck, in_words
from twogate.lab.recall import CARDS, PROMPTS, Card, Prompt
from twogate.lab.schedule import RATINGS, Memory, fresh, intervals, restore
from twogate.lab.web import learners, progress
from twogate.lab.web.models import Learner
from twogate.lab.web.safety import sorry

__all__ = ["urlpatterns"]

_CARD, _EXPLANATION = "card", "explanation"
#: Letters of an explanation.
_LONGEST = 10_000


@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """What is due, what will be, and the prompts."""
    learner, now = learners.of(request), datetime.now(UTC)
    explained = progress.values(learner, _EXPLANATION)
    shown = {
        **_standing(_deck(learner), now),
        "prompts": [(prompt, _ticked(prompt, explained.get(prompt.key))) for prompt in PROMPTS],
    }
    return render(request, "lab/recall/overview.html", shown)


def _deck(learner: Learner | None) -> Deck:
    values = progress.values(learner, _CARD)
    return Deck({key: memory for key, value in values.items() if (memory := _memory(value))})


def _memory(value: Any) -> Memory | None:
    """What is kept of a card; what was imported may be anything."""
    try:
        return restore(value)
    except ValueError:
        return None


def _standing(deck: Deck, now: datetime) -> dict[str, Any]:
    local = now.astimezone()  # the days are those of this machine
    due, new, next_time = len(deck.due(now)), len(deck.new), deck.next(now)
    counts = deck.forecast(local)
    days = [(local + timedelta(days=day)).date() for day in range(len(counts))]
    return {
        "due": due,
        "new": new,
        "again": due - new,
        "cards": len(CARDS),
        "next_in": in_words(next_time - now) if next_time else "",
        "forecast": list(zip(days, counts, strict=True)),
        "most": max(*counts, 1),
    }


@require_http_methods(["GET", "HEAD", "POST"])
def review(request: HttpRequest) -> HttpResponse:
    """The card that is due, and by POST how well it was remembered."""
    now = datetime.now(UTC)
    if request.method == "POST":
        return _rate(request, now)
    deck = _deck(learners.of(request))
    standing = _standing(deck, now)
    if not (due := deck.due(now)):
        return render(request, "lab/recall/done.html", standing)
    card, memory = due[0], deck.memory(due[0], now)
    spans = intervals(memory, now)
    shown = {
        **standing,
        "card": card,
        "asked": _stamp(deck.memories.get(card.key)),
        "ratings": [(rating, in_words(spans[rating])) for rating in RATINGS],
    }
    return render(request, "lab/recall/review.html", shown)


def _stamp(memory: Memory | None) -> str:
    """Says which review of a card a page is about, so that none counts twice."""
    return memory.due.isoformat() if memory else "new"


def _rate(request: HttpRequest, now: datetime) -> HttpResponse:
    card, rating = _card(request.POST.get("card", "")), request.POST.get("rating", "")
    if card is None or rating not in RATINGS:
        text = "Go back to the card and press one of its four buttons."
        return sorry(request, "That is no rating of a card", text, status=400)

    def rate(value: Any) -> Any:
        memory = _memory(value)
        if _stamp(memory) != request.POST.get("asked"):
            raise ValueError("rated before, perhaps in another window")
        return (memory or fresh(now)).review(rating, now).dump()

    learner = learners.ensure(request)
    with suppress(ValueError):
        progress.change(learner, _CARD, card.key, rate)
    return redirect("recall-review")


def _card(key: str) -> Card | None:
    return next((card for card in CARDS if card.key == key), None)


@require_http_methods(["GET", "HEAD", "POST"])
def explain(request: HttpRequest, key: str) -> HttpResponse:
    """Something to explain in one's own words; ours is shown only afterwards."""
    prompt, learner = _prompt(key), learners.of(request)
    kept = progress.value(learner, _EXPLANATION, key)
    if request.method != "POST":
        return _write(request, prompt, _text(kept))
    text = request.POST.get("text", "").replace("\r\n", "\n").strip()
    if not text:
        return _write(request, prompt, "", "Write a sentence or two first; then compare.")
    if len(text) > _LONGEST:
        mistake = f"That is longer than {_LONGEST:,} letters. Say it shorter."
        return _write(request, prompt, text[:_LONGEST], mistake)
    progress.put(learners.ensure(request), _EXPLANATION, key, {"text": text, "ticked": []})
    return redirect("recall-compare", key)


def _prompt(key: str) -> Prompt:
    if (found := next((prompt for prompt in PROMPTS if prompt.key == key), None)) is None:
        raise Http404
    return found


def _write(request: HttpRequest, prompt: Prompt, text: str, mistake: str = "") -> HttpResponse:
    shown = {"prompt": prompt, "text": text, "mistake": mistake, "longest": _LONGEST}
    return render(request, "lab/recall/explain.html", shown, status=400 if mistake else 200)


def _text(kept: Any) -> str:
    """The learner's words; what was imported may be anything."""
    text = kept.get("text") if isinstance(kept, dict) else None
    return text[:_LONGEST] if isinstance(text, str) else ""


def _ticked(prompt: Prompt, kept: Any) -> list[int] | None:
    """Indices of the points that are ticked; ``None`` when nothing was explained."""
    if not _text(kept):
        return None
    ticked = kept.get("ticked")
    return [i for i in range(len(prompt.points)) if isinstance(ticked, list) and i in ticked]


@require_safe
def compare(request: HttpRequest, key: str) -> HttpResponse:
    """The learner's words beside ours, and the points to tick off."""
    prompt, learner = _prompt(key), learners.of(request)
    kept = progress.value(learner, _EXPLANATION, key)
    if (ticked := _ticked(prompt, kept)) is None:
        return redirect("recall-explain", key)
    shown = {
        "prompt": prompt,
        "text": _text(kept),
        "points": [(index, point, index in ticked) for index, point in enumerate(prompt.points)],
        "ticked": len(ticked),
        "shown_by": [find_question(name) for name in prompt.shown_by],
        "next": _after(prompt, progress.values(learner, _EXPLANATION)),
    }
    return render(request, "lab/recall/compare.html", shown)


def _after(prompt: Prompt, explained: dict[str, Any]) -> Prompt | None:
    """The next prompt that was not explained yet, beginning anew after the last."""
    start = PROMPTS.index(prompt) + 1
    turned = (*PROMPTS[start:], *PROMPTS[: start - 1])
    return next((other for other in turned if other.key not in explained), None)


@require_POST
def tick(request: HttpRequest, key: str) -> HttpResponse:
    """Which points the learner's words have in them."""
    prompt, learner = _prompt(key), learners.ensure(request)
    sent = request.POST.getlist("point")
    known = [str(index) for index in range(len(prompt.points))]
    if not set(sent) <= set(known):
        text = "Go back to your explanation and tick the points that are listed there."
        return sorry(request, "There is no such point", text, status=400)
    if not _text(progress.value(learner, _EXPLANATION, key)):
        return redirect("recall-explain", key)
    ticked = [index for index, text in enumerate(known) if text in sent]
    progress.change(learner, _EXPLANATION, key, lambda value: {**value, "ticked": ticked})
    return redirect("recall-compare", key)


urlpatterns = [
    path("", overview, name="recall"),
    path("review/", review, name="recall-review"),
    path("explain/<str:key>/", explain, name="recall-explain"),
    path("explain/<str:key>/compare/", compare, name="recall-compare"),
    path("explain/<str:key>/points/", tick, name="recall-points"),
]
