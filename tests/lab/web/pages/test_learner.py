"""Names, export, import and reset: in Chromium, and what a form may send."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Page
from tests.lab.web.conftest import CheckPage, Visitor

KEPT = [
    {"kind": "answer", "key": "wsgi.how_wsgi_is_called", "value": {"asked": 1, "right": 1}},
    {"kind": "seen", "key": "page", "value": {"times": 2}},
]
FILE = {"format": "twogate-lab/1", "learner": "Ada", "progress": KEPT}


def test_progress_is_imported_exported_and_reset(
    page: Page, check_page: CheckPage, tmp_path: Path
) -> None:
    file = tmp_path / "ada.json"
    file.write_text(json.dumps(FILE))
    page.goto("/learner/")
    page.get_by_label("Name", exact=True).fill("Ada  Lovelace")
    page.get_by_role("button", name="Continue as this name").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Ada Lovelace"
    page.get_by_label("Import a file").set_input_files(file)
    page.get_by_role("button", name="Import, in place").click()
    assert page.get_by_text("The file was imported.").is_visible()
    assert page.locator(".counts").inner_text().split() == ["watched", "1", "questions", "1"]
    check_page(page, "learner")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export as a file").click()
    exported = json.loads(download.value.path().read_text())
    assert exported == {**FILE, "learner": "Ada Lovelace"}
    page.get_by_label("Forget all").check()
    page.get_by_role("button", name="Reset").click()
    assert page.get_by_text("Nothing yet.").is_visible()


def test_what_a_form_may_not_send(visitor: Visitor) -> None:
    for path, fields, sentence in (
        ("become/", {"name": " "}, "A name has 1 to 40 letters."),
        ("become/", {"name": "x" * 41}, "A name has 1 to 40 letters."),
        ("rename/", {"name": "a\x07b"}, "A name has 1 to 40 letters."),
        ("reset/", {"sure": "no"}, "Tick the box first."),
        ("import/", {}, "Choose a file first."),
    ):
        answer = visitor.submit(f"/learner/{path}", **fields)
        assert answer.status == 400
        assert sentence in answer.text


def test_a_name_belongs_to_one_learner(visitor: Visitor) -> None:
    visitor.submit("/learner/become/", name="Grace")
    visitor.submit("/learner/become/", name="Joan")
    answer = visitor.submit("/learner/rename/", name="Grace")
    assert answer.status == 400
    assert "Somebody else has this name." in answer.text
    assert "<h1>Joan</h1>" in answer.text
    assert "<h1>Katherine</h1>" in visitor.submit("/learner/rename/", name="Katherine").text
