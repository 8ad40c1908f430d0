"""Cards and explanations: in Chromium by keyboard, and what a form may send."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect
from tests.lab.web.conftest import CheckPage, Visitor

from twogate.lab.recall import CARDS, PROMPTS


def test_cards_are_reviewed_and_something_is_explained(page: Page, check_page: CheckPage) -> None:
    page.goto("/recall/")
    expect(page.get_by_role("heading", name=f"{len(CARDS)} cards now")).to_be_visible()
    page.get_by_role("link", name="Begin").click()
    review(page, check_page)
    page.goto("/recall/")
    expect(page.get_by_role("heading", name=f"{len(CARDS) - 2} cards now")).to_be_visible()
    coming = page.locator(".forecast td:last-child").all_inner_texts()
    assert sorted(coming) == [*"000000", "1"]
    check_page(page, "recall")
    explain(page, check_page)


def review(page: Page, check_page: CheckPage) -> None:
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text(CARDS[0].question)
    page.wait_for_load_state()  # keys want the script
    expect(page.get_by_text(CARDS[0].answer)).to_be_hidden()
    page.keyboard.press("3")  # not before the answer is shown
    page.keyboard.press("Space")
    expect(page.get_by_text(CARDS[0].answer)).to_be_visible()
    expect(page.get_by_role("button", name="Good in 10 minutes")).to_be_visible()
    expect(page.get_by_role("button", name="Easy in 8 days")).to_be_visible()
    check_page(page, "recall-card")
    page.keyboard.press("3")
    expect(heading).to_have_text(CARDS[1].question)
    page.get_by_text("Show the answer").click()
    page.get_by_role("button", name="Easy").click()
    expect(heading).to_have_text(CARDS[2].question.replace("`", ""))
    page.wait_for_load_state()
    page.keyboard.press("Space")
    page.get_by_role("link", name="See it run").click()
    page.get_by_role("button", name="Run the proof").click()
    expect(page.get_by_text("This is the answer that is marked as right.")).to_be_visible()


def explain(page: Page, check_page: CheckPage) -> None:
    prompt = PROMPTS[0]
    page.get_by_role("link", name=prompt.text.replace("`", "")).click()
    expect(page.get_by_text(prompt.ours.split("`")[0])).to_have_count(0)
    page.get_by_label("Your explanation").fill("A call.\nAnd an <await>.")
    check_page(page, "recall-explain")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".words")).to_have_text("A call.\nAnd an <await>.")
    expect(page.get_by_text(prompt.ours.split("`")[0])).to_be_visible()
    page.get_by_role("checkbox").nth(1).press("Space")
    expect(page.locator(".points")).to_contain_text(f"1 of {len(prompt.points)} points, kept.")
    page.reload()
    expect(page.get_by_role("checkbox").nth(1)).to_be_checked()
    check_page(page, "recall-compare")
    page.get_by_role("link", name="Write it anew").click()
    expect(page.get_by_label("Your explanation")).to_have_value("A call.\nAnd an <await>.")


def kept(visitor: Visitor) -> dict[str, Any]:
    rows = visitor.get("/learner/export/").data["progress"]
    return {row["key"]: row["value"] for row in rows}


def test_a_review_counts_once(visitor: Visitor) -> None:
    card, path = CARDS[0], "/recall/review/"
    visitor.submit(path, card=card.key, rating="good", asked="new")
    once = kept(visitor)
    visitor.submit(path, card=card.key, rating="easy", asked="new")
    assert kept(visitor) == once
    for fields in (
        {"card": "no-such", "rating": "good", "asked": "new"},
        {"card": card.key, "rating": "best", "asked": "new"},
        {"card": card.key, "asked": "new"},
    ):
        answer = visitor.submit(path, **fields)
        assert answer.status == 400
        assert "press one of its four buttons" in answer.text


def test_when_all_are_known_the_next_is_told(visitor: Visitor) -> None:
    for card in CARDS:
        visitor.submit("/recall/review/", card=card.key, rating="easy", asked="new")
    assert "The next one comes in 8 days." in visitor.get("/recall/review/").text
    assert "No card is due now" in visitor.get("/recall/").text


def test_what_explanations_may_be(visitor: Visitor) -> None:
    path = f"/recall/explain/{PROMPTS[0].key}/"
    for text, sentence in ((" \n", "Write a sentence or two first"), ("x" * 10_001, "longer than")):
        answer = visitor.submit(path, text=text)
        assert answer.status == 400
        assert sentence in answer.text
    assert "Your explanation" in visitor.get(f"{path}compare/").text
    assert "Your explanation" in visitor.submit(f"{path}points/", point="0").text
    assert visitor.submit(f"{path}points/", point="99").status == 400
    assert visitor.get("/recall/explain/no-such/").status == 404
    assert visitor.submit("/recall/explain/no-such/points/").status == 404
    visitor.submit(path, text="Mine")
    visitor.submit(f"{path}points/", point="2")
    assert kept(visitor) == {PROMPTS[0].key: {"text": "Mine", "ticked": [2]}}
