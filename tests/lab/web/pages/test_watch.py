"""The Watch page in Chromium: every scenario, the player, steps, key moments, 500 events."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect
from tests.lab.web.conftest import CheckPage, NewPage, Visitor

from twogate.lab.watching import SCENARIOS

expect.set_options(timeout=30_000)


def run(page: Page, scenario: str) -> None:
    page.locator(f"input[value={scenario}]").check(force=True)
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#asked")).to_contain_text(SCENARIOS[scenario].path)


def go_to_end(page: Page) -> None:
    page.locator("#scrubber").press("End")
    expect(page.locator("#end")).to_be_visible()


def go_near_end(page: Page) -> None:
    page.locator("#scrubber").press("End")
    page.locator("#scrubber").press("PageDown")
    expect(page.locator("#end")).to_be_hidden()


def rows(page: Page, lane: str) -> list[str]:
    """The steps that the execution table of a lane shows so far."""
    shown = page.locator(f'[data-run="{lane}"] .steps tbody tr:not([hidden]):not(.opened) button')
    return shown.all_inner_texts()


def test_every_scenario_on_a_desktop(page: Page, check_page: CheckPage) -> None:
    page.goto("/watch/")
    expect(page.locator("#stage")).to_be_hidden()
    check_page(page, "watch-first")
    page.locator("#speed").evaluate("select => { select.value = '4'; }")
    for scenario in reversed(SCENARIOS.values()):
        run(page, scenario.key)
        expect(page.locator("#moment")).to_be_visible()  # the play has stopped there by itself
        expect(page.locator("#question")).to_contain_text("?")
        go_to_end(page)
        for lane in page.locator("#lanes article").all():
            assert "client has the" in lane.locator(".steps tbody").inner_text()
        assert page.locator(f"label:has([value={scenario.key}]) .seen").is_visible()
        if scenario.key == "websocket":
            refused = page.locator('[data-run="ws-wsgi"]')
            expect(refused.locator(".now")).to_contain_text("501 Not Implemented")
            expect(refused.locator('[data-stop="gateway"]')).to_have_class("refused")
            check_page(page, "watch-websocket")
    _step_and_open(page)
    _meet_a_moment(page, check_page)
    page.reload()
    assert page.locator(".seen:visible").count() == len(SCENARIOS)


def _step_and_open(page: Page) -> None:
    page.locator("#scrubber").press("Home")
    expect(page.locator("#clock")).to_contain_text("0 µs of")
    assert rows(page, "wsgi") + rows(page, "asgi") == []
    page.locator("#stops").uncheck()
    page.locator("#play").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    before = rows(page, "wsgi") + rows(page, "asgi")
    assert len(before) == 3
    page.keyboard.press("ArrowLeft")
    assert len(rows(page, "wsgi") + rows(page, "asgi")) == 2
    page.locator("#forward").click()
    assert rows(page, "wsgi") + rows(page, "asgi") == before
    go_near_end(page)
    page.locator("h1").click()
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_text("Pause")
    expect(page.locator("#end")).to_be_visible()  # it plays to its end
    view = page.locator('[data-run="wsgi"] .steps tr.view button')
    view.click()
    opened = page.locator('[data-run="wsgi"] .opened')
    for fact in ("pages.views.page", "thread-1", "pages/views.py:", "def page(request):", "Lasted"):
        expect(opened).to_contain_text(fact)
    view.click()
    expect(opened).to_be_hidden()


def _meet_a_moment(page: Page, check_page: CheckPage) -> None:
    page.locator("#scrubber").press("Home")
    page.locator("#stops").check()
    page.locator("#play").click()
    asked = []
    for _ in range(3):
        expect(page.locator("#moment")).to_be_visible()
        asked.append(page.locator("#question").inner_text())
        if asked[-1] == "What does a sync view cost under ASGI?":
            check_page(page, "watch-moment")
            page.get_by_role("button", name="Open its step").click()
            opened = page.locator('[data-run="asgi"] .opened')
            expect(opened).to_contain_text("Chain._complete")
            expect(page.locator('[data-run="asgi"] [aria-expanded="true"]')).to_be_focused()
        page.get_by_role("button", name="Go on").click()
    assert sorted(asked) == [
        "What does a sync view cost under ASGI?",
        "What does a synchronous call mean?",
        "What does an asynchronous call mean?",
    ]
    expect(page.locator("#end")).to_be_visible()


def test_a_phone_with_less_motion(new_page: NewPage) -> None:
    page = new_page(width=360, reduced_motion="reduce", has_touch=True)
    page.goto("/watch/")
    run(page, "async-page")
    expect(page.locator("#moment")).to_be_visible()
    expect(page.locator("#question")).to_be_in_viewport()
    page.locator("#stops").uncheck()
    go_near_end(page)
    page.locator("#play").tap()
    expect(page.locator("#end")).to_be_visible()
    assert page.locator('[data-run="wsgi"] .steps').is_hidden()
    page.locator('[data-run="wsgi"] summary').tap()
    assert "crossing to a loop" in rows(page, "wsgi")
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_five_hundred_events_play_smoothly(page: Page, visitor: Visitor) -> None:
    played = visitor.post("/watch/run/", {"scenario": "page"}).data
    for lane in played["lanes"]:
        _fill(lane, 250)
    page.goto("/watch/")
    page.locator("#stops").evaluate("box => { box.checked = false; }")
    page.locator("#speed").evaluate("select => { select.value = '4'; }")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def costs() -> dict[str, float]:
        found = session.send("Performance.getMetrics")["metrics"]
        return {metric["name"]: metric["value"] for metric in found}

    page.evaluate(_COUNT_FRAMES)
    page.evaluate(
        "async played => { (await import('/static/lab/watch.js')).show(played); }", played
    )
    assert page.locator(".steps tbody tr").count() == 500
    go_near_end(page)
    page.locator("#scrubber").press("PageDown")
    frames = page.evaluate("window.frames_seen")
    before = costs()
    page.locator("#play").click()
    expect(page.locator("#end")).to_be_visible()
    after = costs()
    frames = page.evaluate("window.frames_seen") - frames
    spent = {name: after[name] - before[name] for name in after}
    # Processor time, so that a busy machine does not matter: a frame must fit its 16 ms.
    assert (spent["TaskDuration"] - spent["DevToolsCommandDuration"]) / frames < 0.016
    # Tables are laid out when a step is shown, not for every frame.
    assert spent["LayoutCount"] < 2 * 500


_COUNT_FRAMES = """() => {
    window.frames_seen = 0;
    const count = () => { window.frames_seen += 1; requestAnimationFrame(count); };
    count();
}"""


def _fill(lane: dict[str, Any], count: int) -> None:
    """Repeat a step until there are so many."""
    steps = lane["steps"]
    model = next(step for step in steps if step["kind"] == "view")
    last = steps.pop()
    for number in range(count - len(steps) - 1):
        at = last["at_us"] + 10 * number
        span = 1000 + number
        steps.append({**model, "span": span, "at_us": at, "end_us": at + 8, "variables": None})
    end = steps[-1]["end_us"] + 1
    steps.append({**last, "at_us": end, "end_us": end})
