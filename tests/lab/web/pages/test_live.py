"""The Live page in Chromium: two people talk, ring and stream, and see what the server recorded."""

from __future__ import annotations

import re

from playwright.sync_api import FrameLocator, Locator, Page, expect
from tests.lab.web.conftest import CheckPage

PATIENCE = 20_000
expect.set_options(timeout=PATIENCE)


def say(window: FrameLocator, text: str, way: str) -> None:
    window.get_by_label(way).check()
    window.get_by_label("Message").fill(text)
    window.get_by_role("button", name="Send").press("Enter")


#: Keeps all that is said in a place.
COLLECT = """place => {
    place.said = [];
    const note = (changes) => {
        for (const { addedNodes } of changes)
            for (const text of addedNodes) place.said.push(text.textContent);
    };
    new MutationObserver(note).observe(place, { childList: true });
}"""


def collected(place: Locator) -> list[str]:
    said: list[str] = place.evaluate("place => place.said.filter((text) => text.includes('Piece'))")
    return said


def row(page: Page, request: str) -> Locator:
    return page.locator("#traces > li", has_text=request).first


def test_two_windows_and_the_tracer(page: Page, check_page: CheckPage) -> None:
    page.goto("/live/")
    ada, lin = (page.frame_locator(f"iframe[title^='{name}']") for name in ("Ada", "Lin"))
    expect(ada.locator("#here")).to_have_text("Here: Ada (you), Lin")

    say(ada, "Hello, Lin", "POST to a sync view")
    expect(lin.locator("#log")).to_contain_text("Ada Hello, Lin through a sync view")
    say(lin, "Hello, <b>Ada</b>", "WebSocket to a consumer")
    expect(ada.locator("#log")).to_contain_text("Lin Hello, <b>Ada</b> through a consumer")

    ada.get_by_role("button", name="Ring").click()
    expect(lin.get_by_role("alert")).to_have_text("Ada rings.")
    expect(ada.get_by_role("alert")).to_have_count(0)

    told = lin.locator("#streaming p")
    told.evaluate(COLLECT)
    lin.get_by_role("button", name="Stream (async)").click()
    expect(told).to_contain_text("Piece 8 of 8")
    came = [re.findall(r"Piece (\d) of 8 came after ([\d.]+) s", one) for one in collected(told)]
    assert [number for ((number, _),) in came if number] == list("12345678")
    assert len({after for ((_, after),) in came}) > 1
    expect(row(page, "GET /stream/")).to_contain_text("went on for")

    ada.get_by_label("Name").fill("Grace")
    ada.get_by_role("button", name="Change").click()
    expect(lin.locator("#here")).to_have_text(re.compile("Grace"))

    posted = row(page, "POST /say/")
    expect(posted).to_contain_text(
        re.compile(r"A sync view, called through the WSGI gateway on the")
    )
    expect(posted).to_contain_text("Its message left through 2 WebSockets of the ASGI gateway")
    expect(row(page, "GET /talk/")).to_contain_text("ASGI gateway")
    expect(row(page, "GET /talk/")).to_contain_text("still open. Messages: 1 in, 1 out")
    expect(page.locator("[data-path='/ring/'] .answer")).to_contain_text("WSGI gateway")
    with page.context.expect_page() as opened:
        posted.get_by_role("link").click()
    expect(opened.value.get_by_role("heading", level=1)).to_contain_text("/say/")
    opened.value.close()

    page.get_by_role("button", name="Pause").click()
    page.get_by_text("The consumer", exact=True).click()
    expect(page.locator("pre", has_text="async def receive")).to_be_visible()
    check_page(page, "live")

    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(page.locator("iframe").first.get_attribute("src") or "")
    expect(page.locator("#status")).to_have_text("online by WebSocket")
    page.get_by_role("button", name="Ring").click()
    expect(page.locator("#log")).to_contain_text("You rang.")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    check_page(page, "live-window")
