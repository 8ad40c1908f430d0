"""A learner's recall cards: what is due, what comes when, in words.

The states of cards are those of :mod:`twogate.lab.schedule`, by the card's key. Reads no clock and
keeps nothing: times are handed in, in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from twogate.lab.recall import CARDS, Card
from twogate.lab.schedule import Memory, fresh

__all__ = ["DAYS", "Deck", "in_words"]

#: Days that a forecast looks ahead, today included.
DAYS = 7


@dataclass(frozen=True, slots=True)
class Deck:
    """All cards and what is known of the learner's memory of them.

    :ivar memories: by key; a card that is not in it is new, and due.
    """

    memories: Mapping[str, Memory]

    def memory(self, card: Card, now: datetime) -> Memory:
        """What is known of a card."""
        return self.memories.get(card.key) or fresh(now)

    def due(self, now: datetime) -> list[Card]:
        """Cards to be asked now: those seen before first, the longest due of them first; then new
        ones, in the order of learning."""
        seen = [card for card in CARDS if card.key in self.memories]
        again = [card for card in seen if self.memories[card.key].is_due(now)]
        return sorted(again, key=lambda card: self.memories[card.key].due) + self.new

    @property
    def new(self) -> list[Card]:
        """Cards that were never asked."""
        return [card for card in CARDS if card.key not in self.memories]

    def next(self, now: datetime) -> datetime | None:
        """When the next card comes that is not yet due, or ``None``."""
        times = [memory.due for memory in self._known() if not memory.is_due(now)]
        return min(times, default=None)

    def forecast(self, now: datetime) -> list[int]:
        """How many seen cards come on each of the next days, counted from midnight of ``now``'s
        time zone; what is overdue comes today."""
        days = [0] * DAYS
        for memory in self._known():
            day = max(0, (memory.due.astimezone(now.tzinfo).date() - now.date()).days)
            if day < DAYS:
                days[day] += 1
        return days

    def _known(self) -> list[Memory]:
        return [self.memories[card.key] for card in CARDS if card.key in self.memories]


_UNITS = (
    (timedelta(days=365), "year"),
    (timedelta(days=30), "month"),
    (timedelta(days=1), "day"),
    (timedelta(hours=1), "hour"),
    (timedelta(minutes=1), "minute"),
)


def in_words(span: timedelta) -> str:
    """A span of time in its largest unit, rounded: ``3 days``."""
    for unit, name in _UNITS:
        if span >= unit:
            number = round(span / unit)
            return f"{number} {name}{'' if number == 1 else 's'}"
    return "less than a minute" if span < timedelta(seconds=30) else "1 minute"
