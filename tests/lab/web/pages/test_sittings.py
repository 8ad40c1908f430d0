"""Tests and challenges: taken in Chromium, and judged by the server whatever is sent."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

from playwright.sync_api import Page, expect
from tests.lab.web.conftest import Answer, CheckPage, NewPage, Visitor
from tests.support.asked import by_keyboard, form, wrong

from twogate.lab.asking import Asked
from twogate.lab.sitting import Sitting, restore

NAME = "Grace & <Joan>"


def test_the_test_and_the_challenge_are_taken(new_page: NewPage, check_page: CheckPage) -> None:
    page = new_page()
    take_the_test(page, check_page)
    page.goto("/practise/")
    expect(page.get_by_text("You have 1.")).to_be_visible()
    page.get_by_text("Your last tests").click()
    expect(page.get_by_role("link", name=re.compile("^Test of"))).to_be_visible()
    take_the_challenge(page, check_page)


def take_the_test(page: Page, check_page: CheckPage) -> None:
    page.goto("/learner/")
    page.get_by_label("Name", exact=True).fill(NAME)
    page.get_by_role("button", name="Continue as this name").click()
    page.goto("/practise/")
    page.get_by_role("button", name="Begin the test").click()
    for number in range(1, 11):
        expect(page.get_by_text(f"Question {number} of 10")).to_be_visible()
        asked = next_of(page)
        by_keyboard(page, asked, asked.question.answer)
    expect(page.get_by_role("heading", level=1)).to_have_text("10 of 10 right")
    badge = page.get_by_role("img", name=f"Badge: {NAME} answered 10 of 10")
    expect(badge).to_be_visible()
    page.locator(".review summary").first.click()
    page.locator(".review details[open]").get_by_role("button", name="Run the proof").click()
    expect(page.get_by_text("This is the answer that is marked as right.")).to_be_visible()
    check_page(page, "practise-result")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the badge").click()
    saved = ElementTree.parse(download.value.path())
    assert NAME in list(saved.getroot().itertext())


def take_the_challenge(page: Page, check_page: CheckPage) -> None:
    """One right answer, one wrong, one that is not given in time; then no more."""
    page.goto("/practise/")
    page.get_by_role("button", name="Begin the challenge").click()
    clock = page.get_by_role("timer")
    expect(clock).to_contain_text(re.compile(r"\d+ seconds left of \d+"))
    check_page(page, "practise-challenge")
    asked = next_of(page)
    by_keyboard(page, asked, asked.question.answer)
    expect(page.get_by_text("Question 2 of 10")).to_be_visible()
    asked = next_of(page)
    by_keyboard(page, asked, wrong(asked))
    expect(page.get_by_text("Question 3 of 10")).to_be_visible()
    # What the page believes is not what counts: its clock is at the end, the server's is not.
    page.goto("/practise/")
    earlier(page, seconds=500)
    page.get_by_role("link", name="Go on with question 3").click()
    expect(page.get_by_text("Question 4 of 10")).to_be_visible()  # sent by itself
    page.get_by_role("button", name="Give up").click()
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_contain_text(re.compile(r"1 of 10 right, [1-9]\d+ points"))
    expect(page.get_by_text("Not answered").nth(7)).to_be_visible()
    page.locator(".review > li").nth(1).locator("summary").first.click()
    expect(page.locator(".review details[open] h3", has_text="Why")).to_be_visible()


def exported(page: Page) -> Any:
    response = page.request.get("/learner/export/")
    return response.json()


def next_of(page: Page) -> Asked:
    """The question that is on the page."""
    key = page.url.rstrip("/").rpartition("/")[2]
    return asked_of(exported(page), key)


def earlier(page: Page, seconds: float) -> None:
    """What runs was shown so long ago."""
    document = json.dumps(before(exported(page), seconds)).encode()
    page.goto("/learner/")
    file = {"name": "it.json", "mimeType": "application/json", "buffer": document}
    page.get_by_label("Import a file").set_input_files(file)  # type: ignore[arg-type]
    page.get_by_role("button", name="Import, in place").click()
    page.goto("/practise/")


def asked_of(document: Any, key: str) -> Asked:
    sitting = sitting_of(document, key)
    return Asked(sitting.question, sitting.seed)


def sitting_of(document: Any, key: str) -> Sitting:
    return restore(next(row["value"] for row in document["progress"] if row["key"] == key))


def before(document: Any, seconds: float) -> Any:
    for row in document["progress"]:
        if row["kind"] == "test" and row["value"]["asked"] is not None:
            row["value"]["asked"] -= seconds
    return document


class Learner:
    """A visitor in a test or challenge."""

    def __init__(self, visitor: Visitor, mode: str) -> None:
        self.visitor = visitor
        visitor.submit("/practise/test/", mode=mode)
        rows = visitor.get("/learner/export/").data["progress"]
        self.key = next(row["key"] for row in rows if row["kind"] == "test")
        self.path = f"/practise/test/{self.key}/"

    @property
    def sitting(self) -> Sitting:
        return sitting_of(self.visitor.get("/learner/export/").data, self.key)

    def send(self, number: object, *, right: bool = True) -> Answer:
        asked = Asked(self.sitting.question, self.sitting.seed)
        given = asked.question.answer if right else wrong(asked)
        fields = {"number": [str(number)], **form(asked, given)}
        kind = "application/x-www-form-urlencoded"
        body = urlencode(fields, doseq=True).encode()
        return self.visitor.post(self.path, body, **{"Content-Type": kind})

    def wait(self, seconds: float) -> None:
        """Let time pass, by putting back what is kept."""
        document = before(self.visitor.get("/learner/export/").data, seconds)
        self.visitor.upload("/learner/import/", "file", json.dumps(document).encode())


def test_each_question_is_answered_once(visitor: Visitor) -> None:
    learner = Learner(visitor, "test")
    assert learner.send(1, right=False).status == 200
    for number in (1, 3, 0, "x", ""):
        again = learner.send(number)
        assert again.status == 409
        assert "the first answer counts" in again.text
    assert learner.sitting.score.total.right == 0
    assert len(learner.sitting.answers) == 1
    answer = visitor.submit(learner.path, number="2")
    assert answer.status == 400
    assert re.search("Nothing is chosen yet|none of the answers", answer.text)
    assert visitor.submit("/practise/test/", mode="challenge").text.count("Question 2 of 10")
    visitor.submit(f"{learner.path}end/")
    assert learner.sitting.ended is not None
    assert "0 of 10 right" in visitor.get(learner.path).text
    assert visitor.submit(learner.path, number="2", skip="yes").status == 409
    assert visitor.get(f"{learner.path}badge.svg").status == 404


def test_the_clock_of_the_server_decides(visitor: Visitor) -> None:
    learner = Learner(visitor, "challenge")
    learner.send(1)
    learner.wait(20)
    assert "seconds left" in visitor.get(learner.path).text  # showing it again gives no new time
    learner.send(2)
    learner.wait(500)
    assert 'data-left="0' in visitor.get(learner.path).text
    learner.send(3)
    learner.wait(500)
    assert visitor.submit(learner.path, number="4").status == 200  # nothing was chosen in time
    first, second, late, none = learner.sitting.answers
    assert first.right and second.right
    assert first.seconds < second.seconds
    assert second.seconds >= 20
    assert late.given == none.given == ()


def test_nobody_gets_at_the_test_of_another(lab: Any, visitor: Visitor) -> None:
    learner, stranger = Learner(visitor, "test"), Visitor(lab)
    for path in (learner.path, f"{learner.path}badge.svg", "/practise/test/nothing/"):
        assert stranger.get(path).status == 404
    assert stranger.submit(learner.path, number="1", skip="yes").status == 404
    assert stranger.submit(f"{learner.path}end/").status == 404
    assert stranger.submit("/practise/test/", mode="exam").status == 400
    assert stranger.submit("/practise/test/").status == 400
    assert learner.sitting.answers == ()
