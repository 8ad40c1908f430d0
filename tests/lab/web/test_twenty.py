"""Twenty learners' browsers at once: each gets what it asked for, and keeps what it did."""

from __future__ import annotations

from playwright.sync_api import Page, expect
from tests.lab.web.conftest import NewPage
from tests.support.asked import by_keyboard

from twogate.lab.asking import Asked
from twogate.lab.bank import ONE, all_questions
from twogate.lab.watching import SCENARIOS

LEARNERS = 20
WATCHED = [key for _ in range(LEARNERS) for key in SCENARIOS][:LEARNERS]
ASKED = [question for question in all_questions() if question.kind == ONE][:LEARNERS]


def test_nothing_is_lost_and_nothing_is_mixed_up(new_page: NewPage) -> None:
    pages = [new_page(reduced_motion="reduce") for _ in range(LEARNERS)]
    for page, scenario in zip(pages, WATCHED, strict=True):
        page.goto("/watch/")
        page.locator(f"input[value={scenario}]").check(force=True)
    for page in pages:
        page.get_by_role("button", name="Run").click()  # nobody waits for the others
    for page, scenario in zip(pages, WATCHED, strict=True):
        expect(page.locator("#asked")).to_contain_text(SCENARIOS[scenario].path, timeout=60_000)
    for page, question in zip(pages, ASKED, strict=True):
        page.goto(f"/practise/question/{question.key}/")
        asked = Asked(question, int(page.locator("[name=seed]").input_value()))
        by_keyboard(page, asked, question.answer)
        expect(page.locator(".verdict")).to_contain_text("Right.")
    assert [_kept(page) for page in pages] == [
        {"seen": [scenario], "answer": [(question.key, True)]}
        for scenario, question in zip(WATCHED, ASKED, strict=True)
    ]


def _kept(page: Page) -> dict[str, list[object]]:
    kept: dict[str, list[object]] = {}
    for row in page.request.get("/learner/export/").json()["progress"]:
        done = (row["key"], row["value"]["right"] > 0) if row["kind"] == "answer" else row["key"]
        kept.setdefault(row["kind"], []).append(done)
    return kept
