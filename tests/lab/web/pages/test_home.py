"""The first page, in Chromium."""

from __future__ import annotations

from playwright.sync_api import Page
from tests.lab.web.conftest import CheckPage


def test_it_shows_what_there_is(page: Page, check_page: CheckPage) -> None:
    page.goto("/")
    assert page.title() == "Twogate lab"
    assert page.get_by_role("heading", level=1).count() == 1
    menu = page.get_by_role("navigation").get_by_role("link").all_inner_texts()
    assert page.locator(".cards-of-home h2").all_inner_texts() == menu
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    check_page(page, "home")
