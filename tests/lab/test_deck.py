"""Which cards are due, and when the others come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from twogate.lab.deck import Deck, in_words
from twogate.lab.recall import CARDS
from twogate.lab.schedule import AGAIN, EASY, fresh

NOW = datetime(2030, 5, 5, 12, tzinfo=UTC)


def test_all_are_new_at_first() -> None:
    deck = Deck({})
    assert deck.due(NOW) == list(CARDS)
    assert deck.next(NOW) is None
    assert sum(deck.forecast(NOW)) == 0


def test_what_is_due_comes_before_what_is_new() -> None:
    deck = Deck(
        {
            CARDS[5].key: fresh(NOW).review(AGAIN, NOW),
            CARDS[6].key: fresh(NOW).review(EASY, NOW),
            "no-such-card": fresh(NOW),
        }
    )
    assert CARDS[5] not in deck.due(NOW)
    assert deck.next(NOW) == deck.memory(CARDS[5], NOW).due
    later = NOW + timedelta(hours=1)
    assert deck.due(later)[0] == CARDS[5]
    assert CARDS[6] not in deck.due(later)
    assert deck.forecast(later)[0] == 1
    assert deck.due(NOW + timedelta(days=100))[:2] == [CARDS[5], CARDS[6]]
    assert deck.forecast(NOW + timedelta(days=100))[0] == 2


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(seconds=5), "less than a minute"),
        (timedelta(seconds=50), "1 minute"),
        (timedelta(minutes=10), "10 minutes"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(days=3, hours=5), "3 days"),
        (timedelta(days=65), "2 months"),
        (timedelta(days=800), "2 years"),
    ],
)
def test_spans_are_told_in_words(span: timedelta, words: str) -> None:
    assert in_words(span) == words
