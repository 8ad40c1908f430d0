"""Recall cards and prompts; what they say is shown by the proofs of questions."""

from __future__ import annotations

from collections import Counter

import pytest

from twogate.lab.bank import find_question
from twogate.lab.recall import CARDS, PROMPTS, Card, Prompt


def test_there_are_enough_and_keys_are_unique() -> None:
    assert len(CARDS) >= 25
    assert len(PROMPTS) >= 10
    keys = Counter(item.key for item in CARDS)
    assert max(keys.values()) == 1
    assert max(Counter(prompt.key for prompt in PROMPTS).values()) == 1


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.key)
def test_a_card_is_whole_and_shown(card: Card) -> None:
    assert card.question.endswith("?")
    assert card.answer.strip() == card.answer != ""
    assert (card.question + card.answer).count("`") % 2 == 0
    assert find_question(card.shown_by) is not None


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.key)
def test_a_prompt_is_whole_and_shown(prompt: Prompt) -> None:
    assert len(prompt.points) >= 4
    assert len(set(prompt.points)) == len(prompt.points)
    assert 150 < len(prompt.ours) < 900
    assert all(text.count("`") % 2 == 0 for text in (prompt.text, prompt.ours, *prompt.points))
    assert prompt.shown_by
    assert [key for key in prompt.shown_by if find_question(key) is None] == []
