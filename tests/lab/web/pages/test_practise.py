"""Questions one at a time: by keyboard in Chromium, and what a form may send."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from playwright.sync_api import Locator, Page, expect
from tests.lab.web.conftest import CheckPage, Lab, Visitor
from tests.support.asked import by_keyboard, wrong

from twogate.lab.asking import Asked
from twogate.lab.bank import ALL, LINE, ONE, ORDER, PRINTS, all_questions, find_question
from twogate.lab.web.templatetags.lab_code import with_code

FIRST = "wsgi.how_wsgi_is_called"


def test_questions_are_answered_by_keyboard(page: Page, check_page: CheckPage) -> None:
    page.goto("/practise/?level=easy")
    expect(page.get_by_role("heading", level=1)).to_have_text("Practise")
    check_page(page, "practise")

    asked = ask(page, FIRST)
    page.locator("summary", has_text="Hint").press("Enter")
    expect(page.get_by_text("PEP 3333 names two arguments")).to_be_visible()
    by_keyboard(page, asked, wrong(asked))
    expect(verdict(page)).to_contain_text("Not right.")
    expect(page.get_by_text("A WSGI call is an ordinary function call.")).to_be_visible()
    page.get_by_role("button", name="Run the proof").press("Enter")
    expect(page.get_by_text("This is the answer that is marked as right.")).to_be_visible()
    assert "awaited: False" in page.get_by_label("Output").inner_text()
    expect(page.get_by_text("a moment ago.").first).to_be_visible()
    page.get_by_text("The program", exact=True).click()
    check_page(page, "practise-answer")

    for kind in (ONE, ALL, PRINTS, ORDER, LINE):
        question = next(question for question in all_questions() if question.kind == kind)
        asked = ask(page, question.key)
        if kind in (ORDER, LINE):
            check_page(page, f"practise-{kind}")
        by_keyboard(page, asked, question.answer)
        expect(verdict(page)).to_contain_text("Right.")
    page.goto("/practise/#wsgi")
    expect(page.locator("#wsgi summary")).to_contain_text("4 of 5 right")
    expect(page.locator("#wsgi")).to_have_attribute("open", "")


def ask(page: Page, key: str) -> Asked:
    """Open a question."""
    page.goto(f"/practise/question/{key}/")
    question = find_question(key)
    assert question is not None
    return Asked(question, int(page.locator("[name=seed]").input_value()))


def verdict(page: Page) -> Locator:
    return page.locator(".verdict")


def test_a_page_does_not_hold_its_answer(visitor: Visitor) -> None:
    """Only places are sent, and nothing that is said after the answer."""
    for question in all_questions():
        text = visitor.get(f"/practise/question/{question.key}/").text
        assert "/proof/" not in text
        for said in (*question.because, *question.mistakes):
            assert str(with_code(said)) not in text


def test_what_a_form_may_not_send(visitor: Visitor) -> None:
    path = f"/practise/question/{FIRST}/"
    for fields, sentence in (
        ({}, "Nothing is chosen yet."),
        ({"seed": "-1", "choice": "1"}, ""),
        ({"seed": "9" * 5000, "choice": "x"}, "none of the answers on the page"),
        ({"seed": "3", "choice": "77"}, "none of the answers on the page"),
    ):
        answer = visitor.submit(path, **fields)
        assert answer.status == (400 if sentence else 200)
        assert sentence in answer.text
    for path in ("question/wsgi.no_such/", "proof/x/", "question/wsgi.no_such/answer/"):
        assert visitor.get(f"/practise/{path}").status == 404
    assert visitor.submit("/practise/proof/x/").status == 404
    assert visitor.get("/practise/?level=none").status == 200


def test_twenty_learners_run_proofs_at_once(lab: Lab) -> None:
    kinds = (PRINTS, ORDER, LINE, ALL)
    keys = [next(q.key for q in all_questions() if q.kind == kind) for kind in kinds]
    visitors = [(Visitor(lab), key) for key in (*keys, *keys[:1] * 16)]
    with ThreadPoolExecutor(20) as pool:
        texts = list(
            pool.map(lambda one: one[0].submit(f"/practise/proof/{one[1]}/").text, visitors)
        )
    for text, (_, key) in zip(texts, visitors, strict=True):
        assert "This is the answer that is marked as right." in text, key
        assert f"/practise/proof/{key}/" in text
