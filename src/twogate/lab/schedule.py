"""When a recall card comes again: FSRS, behind a few functions and one value.

The one module that knows the ``fsrs`` package. It reads no clock: the time is handed in, in UTC.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import fsrs

__all__ = ["AGAIN", "EASY", "GOOD", "HARD", "RATINGS", "Memory", "fresh", "intervals", "restore"]

#: How well a card was remembered.
AGAIN, HARD, GOOD, EASY = "again", "hard", "good", "easy"
RATINGS = (AGAIN, HARD, GOOD, EASY)

# Without the library's random shift of a day or two: what a button says is what happens.
_scheduler = fsrs.Scheduler(enable_fuzzing=False)


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of one learner's memory of one card. Immutable."""

    _card: fsrs.Card

    @property
    def due(self) -> datetime:
        """When it should be asked again, in UTC."""
        return self._card.due

    def is_due(self, now: datetime) -> bool:
        """Whether that time has come."""
        return self.due <= now

    def chance(self, now: datetime) -> float:
        """The estimated chance, from 0 to 1, that it would be remembered now; 0 if it is new."""
        return float(_scheduler.get_card_retrievability(self._card, now))

    def review(self, rating: str, now: datetime) -> Memory:
        """What is known after one more review.

        :param rating: one of :data:`RATINGS`.
        :raises ValueError: it is none of them, or the time is not in UTC.
        """
        if rating not in RATINGS:
            raise ValueError(f"a rating is one of {', '.join(RATINGS)} and not {rating!r}")
        card, _ = _scheduler.review_card(self._card, fsrs.Rating[rating.capitalize()], now)
        return Memory(card)

    def dump(self) -> str:
        """All of it as JSON, for :func:`restore`."""
        return self._card.to_json()


def fresh(now: datetime) -> Memory:
    """The memory of a card that was never asked; it is due at once."""
    return Memory(fsrs.Card(card_id=0, due=now))


def intervals(memory: Memory, now: datetime) -> dict[str, timedelta]:
    """For each rating, after what time the card would come again."""
    return {rating: memory.review(rating, now).due - now for rating in RATINGS}


def restore(text: str) -> Memory:
    """What :meth:`Memory.dump` wrote.

    :raises ValueError: the text is something else.
    """
    try:
        card = fsrs.Card.from_dict(json.loads(text))
        _check(card)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ValueError("this is not the state of a recall card") from error
    return Memory(card)


def _check(card: fsrs.Card) -> None:
    """What the library would trip over only later."""
    times = [card.due] if card.last_review is None else [card.due, card.last_review]
    reviewed = card.stability is not None and card.difficulty is not None
    in_steps = card.state in {fsrs.State.Learning, fsrs.State.Relearning}
    ok = (
        all(time.utcoffset() == timedelta(0) for time in times)
        and (reviewed or (card.stability is None and card.difficulty is None))
        and (reviewed or card.state == fsrs.State.Learning)
        and (not reviewed or card.last_review is not None)
        and (card.stability is None or 0 < card.stability < math.inf)
        and (card.difficulty is None or 1 <= card.difficulty <= 10)
        and (card.step in range(10) if in_steps else card.step is None)
    )
    if not ok:
        raise ValueError("a value that no review leaves behind")
