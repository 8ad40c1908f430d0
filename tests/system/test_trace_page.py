"""The page of a trace, opened from disk in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from tests.trace.pages import large, usual

from twogate.trace.page import render

#: Milliseconds.
LONGEST_TASK = 200


@pytest.fixture
def problems() -> list[str]:
    return []


def _open(browser: Browser, problems: list[str], file: Path, width: int, scheme: Any) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url)
            if not request.url.startswith(("file:", "data:")) else None)  # fmt: skip
    page.goto(file.as_uri())
    return page


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "trace.html"
    file.write_text(render(usual()), encoding="utf-8")
    return file


@pytest.fixture
def page(browser: Browser, problems: list[str], file: Path) -> Iterator[Page]:
    page = _open(browser, problems, file, 1600, "light")
    yield page
    page.close()
    assert problems == []


@pytest.mark.parametrize("width", [360, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_any_window(
    browser: Browser, problems: list[str], file: Path, width: int, scheme: str
) -> None:
    page = _open(browser, problems, file, width, scheme)
    assert page.locator("canvas").count() == 4
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, back[4:-1].split(","))) < 300) == (scheme == "dark")
    page.close()
    assert problems == []


def _painted(page: Page) -> bool:
    """Whether the first timeline shows anything."""
    return bool(
        page.evaluate("""() => {
        const canvas = document.querySelector("canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return data.some((value) => value !== 0);
    }""")
    )


def test_the_keyboard_goes_through_the_steps(page: Page) -> None:
    page.wait_for_function("true")
    page.locator("canvas").first.focus()
    details = page.locator("#details")
    page.keyboard.press("ArrowRight")
    assert "GET /polls/" in details.inner_text()
    page.keyboard.press("ArrowDown")
    assert "read the head" in details.inner_text()
    page.keyboard.press("ArrowRight")
    assert "sync view polls.views.index" in details.inner_text()
    page.keyboard.press("ArrowUp")
    assert "GET /polls/" in details.inner_text()
    assert _painted(page)


def test_the_pointer_shows_and_selects(page: Page) -> None:
    canvas = page.locator("canvas").first
    canvas.scroll_into_view_if_needed()
    canvas.hover(position={"x": 100, "y": 48})
    tip = page.locator("#tip")
    assert tip.is_visible()
    assert tip.inner_text() == "GET /polls/ (request), 900 µs"
    canvas.click(position={"x": 100, "y": 48})
    assert "900 µs" in page.locator("#details").inner_text()


def test_steps_of_the_tables_are_found_in_the_timeline(page: Page) -> None:
    page.get_by_role("button", name="View").first.click()
    assert "polls.views.index" in page.locator("#details").inner_text()
    assert page.evaluate("document.activeElement.tagName") == "CANVAS"


def test_finding_by_name(page: Page) -> None:
    page.get_by_label("Find").fill("select")
    assert page.locator("#found").inner_text() == "3 steps"
    page.keyboard.press("Enter")
    assert "SELECT <all> FROM polls" in page.locator("#details").inner_text()


def test_five_thousand_steps_stay_fluid(
    browser: Browser, problems: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "large.html"
    file.write_text(render(large(5000)), encoding="utf-8")
    page = _open(browser, problems, file, 1600, "light")
    # Each action is done, and drawn, before it is timed; the browser's own clock, so that the
    # machine's other work counts only if it falls into the very same milliseconds, and the best of
    # three is taken.
    longest = page.evaluate("""async () => {
        const canvas = document.querySelector("canvas");
        const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        const press = (key) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key }));
        const wheel = () => canvas.dispatchEvent(
            new WheelEvent("wheel", { deltaY: -40, ctrlKey: true, cancelable: true }));
        const hover = (x) => canvas.dispatchEvent(
            new PointerEvent("pointermove", { clientX: x, clientY: 300 }));
        const actions = [() => press("+"), () => press("0"), () => press("ArrowRight"), wheel,
                         () => hover(500), () => press("-")];
        let longest = 0;
        for (const action of actions) {
            let best = Infinity;
            for (let turn = 0; turn < 3; turn += 1) {
                const began = performance.now();
                action();
                await frame();
                best = Math.min(best, performance.now() - began);
            }
            longest = Math.max(longest, best);
        }
        return longest;
    }""")
    page.close()
    assert longest < LONGEST_TASK
    assert problems == []
