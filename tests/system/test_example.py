"""The bundled example: every page through the gate it promises, live, with a silent console."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .conftest import NewPage, Serve, Site

EXAMPLE = Path(__file__).parents[2] / "examples" / "gates"
PATHS = ("/", "/waits/", "/ticks/", "/chat/", "/chat/garden/")


@pytest.fixture
def site(tmp_path: Path, serve: Serve) -> Iterator[Site]:
    """A copy, so that a database left by somebody who tries the example plays no part."""
    folder = tmp_path / "gates"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("*.sqlite3*", "__pycache__"))
    with serve(folder) as site:
        yield site


def gate(page: Page) -> str:
    return page.locator(".pass-gate").inner_text()


def test_each_page_tells_the_gate_it_came_through(site: Site, page: Page) -> None:
    page.goto(site.url)
    assert gate(page) == "WSGI"
    page.get_by_role("link", name="Three waits at once").click()
    expect(page.locator("h1")).to_have_text("Three waits at once")
    assert gate(page) == "ASGI"
    page.goto(f"{site.url}/chat/")
    assert gate(page) == "WSGI"


def test_ticks_arrive_one_by_one_and_can_be_stopped(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/ticks/")
    expect(page.locator("#number")).to_have_text("1")
    expect(page.locator("#number")).to_have_text("2")
    expect(page.locator("#status")).to_contain_text("through the ASGI gate")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#status")).to_have_text("Stopped.")


def test_people_in_a_room_hear_each_other(site: Site, new_page: NewPage) -> None:
    ada, grace = new_page(), new_page()
    for page in ada, grace:
        page.goto(f"{site.url}/chat/garden/")
    for page in ada, grace:
        expect(page.locator("#status")).to_have_text("2 people here")
    ada.get_by_label("Your name").fill("Ada")
    ada.get_by_role("textbox", name="Message").fill("<b>Tea?</b>")
    ada.get_by_role("textbox", name="Message").press("Enter")
    for page in ada, grace:
        expect(page.locator("#log li")).to_have_text("Ada<b>Tea?</b>")
    ada.close()
    expect(grace.locator("#status")).to_have_text("You are alone here")


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_no_page_is_wider_than_the_screen(site: Site, page: Page, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    for path in PATHS:
        page.goto(f"{site.url}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], path
