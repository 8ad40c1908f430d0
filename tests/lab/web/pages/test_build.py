"""The Build page: in Chromium, and what may be sent to it."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from html import unescape
from pathlib import Path

from playwright.sync_api import Page, expect
from tests.lab.web.conftest import CheckPage, Visitor
from tests.system.conftest import environment

from twogate.lab.exercises.course import EXERCISES, STEPS
from twogate.lab.exercises.exercise import MOST_CODE
from twogate.lab.web.folder import make_folder

#: Milliseconds within which a busy machine runs a check.
PATIENCE = 60_000
CONSUMER = next(exercise for exercise in EXERCISES if exercise.key == "consumer")


def write(page: Page, code: str, anew: bool = True) -> None:
    """Type code in the editor, at the end of what is there or in its place. The indentation that
    the editor makes by itself is typed over."""
    page.get_by_role("textbox", name="Code of").focus()
    page.keyboard.press("Control+A" if anew else "Control+End")
    for line in code.splitlines():
        page.keyboard.type(line)
        page.keyboard.press("Enter")
        page.keyboard.press("Shift+Home")
    page.keyboard.press("Delete")


def passes(page: Page) -> None:
    expect(page.locator("#sentence")).to_contain_text("Done.", timeout=PATIENCE)


def test_a_project_is_built_by_typing(page: Page, check_page: CheckPage) -> None:
    page.goto("/build/")
    expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "0")
    fails_and_reads_the_hints(page)
    check_page(page, "build-hints")
    leaves_the_editor_by_keyboard(page)

    for number, step in enumerate(STEPS, 1):
        # What passed is what the next step goes on from.
        write(page, step.solution, anew=number == 1)
        page.keyboard.press("Control+Enter")
        passes(page)
        expect(page.locator("[data-count=steps]")).to_have_text(str(number))
        if number < len(STEPS):
            page.get_by_role("link", name=f"Next: {STEPS[number].title}").click()
            expect(page.get_by_role("heading", level=1)).to_have_text(STEPS[number].title)
    expect(page.locator("#talk tbody tr")).to_have_text(
        [
            "GET /WSGI200 · A page. The request's class is WSGIRequest.",
            "GET /wait/ASGI200 · Done waiting. The request's class is ASGIRequest.",
        ]
    )
    a_consumer_is_talked_to(page)
    check_page(page, "build-consumer")
    downloads_and_starts_again(page)


def fails_and_reads_the_hints(page: Page) -> None:
    write(page, STEPS[0].solution.replace("settings_module", "settings"))
    page.keyboard.press("Control+Enter")
    expect(page.locator("#sentence")).to_have_text(
        "Not yet. django_project has no key 'settings_module', but it has 'settings'.",
        timeout=PATIENCE,
    )
    page.get_by_role("button", name="Go to line 3").click()
    expect(page.locator(".cm-activeLine")).to_contain_text('"settings"')
    for number, name in enumerate(("A hint", "Another hint", "Another hint"), 1):
        page.get_by_role("button", name=name).click()
        expect(page.locator("#hints li")).to_have_count(number)
    expect(page.locator("#hints li:focus")).to_contain_text("django_project = {'name'")
    page.get_by_role("button", name="Show the solution").click()
    expect(page.locator("#solved code")).to_have_text(STEPS[0].solution)


def leaves_the_editor_by_keyboard(page: Page) -> None:
    """By Escape, then Tab; Tab alone indents."""
    page.get_by_role("textbox", name="Code of").focus()
    page.keyboard.press("Tab")
    expect(page.locator(".cm-content")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Check")).to_be_focused()


def a_consumer_is_talked_to(page: Page) -> None:
    page.get_by_role("link", name=CONSUMER.title).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(CONSUMER.title)
    write(page, CONSUMER.solution)
    page.get_by_role("button", name="Check").click()
    passes(page)
    expect(page.locator("#talk")).to_contain_text("received 'hello'")
    expect(page.locator("#printed")).to_contain_text("A client has gone, with the code 1000")


def downloads_and_starts_again(page: Page) -> None:
    page.reload()
    expect(page.locator(".cm-content")).to_contain_text("A client has gone")
    expect(page.locator("#done")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the project").click()
    with zipfile.ZipFile(download.value.path()) as zipped:
        text = zipped.read("myproject/myproject/consumers.py").decode()
    assert text.strip() == CONSUMER.solution.strip()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Start again").click()
    expect(page.locator(".cm-content")).not_to_contain_text("A client has gone")


def test_who_waits_for_a_check_holds_no_thread(tmp_path: Path) -> None:
    # A middleware that is sync alone would keep a worker thread while the async view waits.
    program = """
import django
from django.conf import settings
from django.utils.module_loading import import_string
django.setup()
print([name for name in settings.MIDDLEWARE if not import_string(name).async_capable])
"""
    make_folder(tmp_path)
    there = environment(
        DJANGO_SETTINGS_MODULE="twogate.lab.web.settings", TWOGATE_LAB_DATA=str(tmp_path)
    )
    assert subprocess.check_output([sys.executable, "-c", program], env=there) == b"[]\n"


def test_each_exercise_is_shown(visitor: Visitor) -> None:
    for exercise in EXERCISES:
        page = visitor.get(f"/build/{exercise.key}/")
        assert page.status == 200 and f"{exercise.title} · Build" in unescape(page.text)
        for hint in exercise.hints:
            assert hint[-30:] not in unescape(page.text)
    assert visitor.get("/build/nothing/").status == 404


def test_what_may_not_be_sent(visitor: Visitor) -> None:
    for data, sentence in (
        ({}, "There is no code in what was sent."),
        ({"code": 1}, "There is no code in what was sent."),
        ({"code": "#" * (MOST_CODE + 1)}, "more than 20000 characters"),
        ({"code": "a\0"}, "no file of Python can hold"),
    ):
        for order in ("check", "keep"):
            answer = visitor.post(f"/build/facts/{order}/", data)
            assert answer.status == 400 and sentence in answer.data["error"]
    for _ in EXERCISES[0].hints:
        assert visitor.post("/build/facts/hint/", {}).status == 200
    assert visitor.post("/build/facts/hint/", {}).status == 400
    assert visitor.post("/build/nothing/check/", {"code": ""}).status == 404


def test_what_was_imported_may_be_anything(visitor: Visitor) -> None:
    strange = [1, [], {"code": 5, "hints": -1, "done": "yes"}, {"code": "x" * 30_000}]
    rows = [
        {"kind": "step", "key": exercise.key, "value": value}
        for exercise, value in zip(EXERCISES, strange, strict=False)
    ]
    document = {"format": "twogate-lab/1", "learner": "Ada", "progress": rows}
    assert visitor.upload("/learner/import/", "file", json.dumps(document).encode()).status == 200
    page = visitor.get("/build/facts/")
    assert page.status == 200 and 'aria-valuenow="0"' in page.text
