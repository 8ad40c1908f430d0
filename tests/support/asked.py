"""Answers to questions, as forms send them and as hands give them."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page

from twogate.lab.asking import Asked
from twogate.lab.bank import ALL, LINE, ORDER


def form(asked: Asked, given: tuple[int, ...]) -> dict[str, list[str]]:
    """The fields that a browser sends for an answer in the bank's form."""
    if not given:
        return {"skip": ["yes"]}
    places = {choice.index: choice.place for choice in asked.choices}
    if asked.question.kind == ORDER:
        return {f"place-{places[index]}": [str(n)] for n, index in enumerate(given, 1)}
    if asked.question.kind == LINE:
        return {"choice": [str(given[0])]}
    return {"choice": [str(places[index]) for index in given]}


def wrong(asked: Asked) -> tuple[int, ...]:
    """An answer that is not the marked one."""
    answer = asked.question.answer
    if asked.question.kind == LINE:
        return (1 if answer[0] > 1 else 2,)
    if asked.question.kind == ORDER:
        return answer[::-1]
    return tuple(i for i in range(len(asked.question.options)) if i not in answer)[:1]


def by_keyboard(page: Page, asked: Asked, given: tuple[int, ...]) -> None:
    """Choose an answer with keys alone, and send it."""
    question = asked.question
    places = {choice.index: choice.place for choice in asked.choices}
    page.wait_for_load_state()  # keys that move steps want the script
    if question.kind == ORDER:
        for target, index in enumerate(given):
            _put(page.locator(f"li:has(#place-{places[index]})"), target)
    elif question.kind == ALL:
        for index in given:
            page.locator("[name=choice]").nth(places[index] - 1).press("Space")
    else:
        page.locator("[name=choice]").first.press("Space")
        place = given[0] if question.kind == LINE else places[given[0]]
        for _ in range(place - 1):
            page.keyboard.press("ArrowDown")
    page.get_by_role("button", name=re.compile("^Answer")).press("Enter")


def _put(item: Locator, target: int) -> None:
    """Move a step up to its place; those above are in theirs."""
    place = item.evaluate("item => [...item.parentNode.children].indexOf(item)")
    item.locator("[data-move]:enabled").first.focus()
    for _ in range(place - target):
        item.page.keyboard.press("ArrowUp")
