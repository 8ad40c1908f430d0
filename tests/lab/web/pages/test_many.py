"""Many at once: in Chromium, and what clients without one get."""

from __future__ import annotations

import http.client
import json
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect
from tests.lab.web.conftest import CheckPage, Lab, Visitor

#: Milliseconds for an experiment on a busy machine.
PATIENCE = 30_000
QUICK: dict[str, Any] = {
    "clients": 2, "work": "wait", "milliseconds": 0, "is_async": True, "threads": 1,
}  # fmt: skip
#: Takes 20 seconds, if it is let.
LONG = {**QUICK, "clients": 9, "milliseconds": 2000}


def _run(visitor: Visitor, **more: Any) -> list[dict[str, Any]]:
    answer = visitor.post("/many/run/", {**QUICK, **more})
    assert answer.status == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_the_learner_moves_sliders_and_sees_who_waits(page: Page, check_page: CheckPage) -> None:
    page.goto("/many/")
    run = page.get_by_role("button", name="Run", exact=True)
    idle = page.locator("#run[aria-disabled=false]")
    # A hundred that wait, as the page proposes; the time by the keyboard, on the slider.
    slider = page.get_by_label("Milliseconds, slider")
    slider.press("Home")
    for _ in range(30):
        slider.press("ArrowRight")
    assert page.get_by_label("Milliseconds that the view").input_value() == "30"
    assert page.get_by_label("Clients", exact=True).input_value() == "100"
    run.press("Enter")
    verdict = page.locator("#verdict")
    expect(verdict).to_contain_text("ASGI is the better door here.", timeout=PATIENCE)
    expect(page.locator(".lanes[data-gateway=wsgi] .lane")).to_have_count(4)
    expect(page.locator(".lanes[data-gateway=asgi] .lane")).to_have_count(1)
    for gateway in ("wsgi", "asgi"):
        assert page.locator(f".lanes[data-gateway={gateway}] .work:not(.back)").count() == 101
    # One client's times are told by the slider, by the pointer and in the table.
    expect(page.locator("#run")).to_be_focused()
    page.get_by_label("Look at one client").press("End")
    expect(page.locator("#who-is-it")).to_have_text("The visitor who came later")
    page.locator(".lanes[data-gateway=asgi] svg").hover()
    expect(page.locator("#who-is-it")).to_contain_text("of 100")
    expect(page.locator("#details")).to_contain_text("on event loop")
    page.get_by_text("All times as a table").click()
    assert page.locator("#times tbody tr").count() == 101
    # The second: few that compute, and then a plot.
    page.get_by_role("radio", name="computes").check()
    page.get_by_label("Clients, slider").press("Home")
    page.get_by_label("Clients, slider").press("ArrowRight")
    expect(page.locator("#code")).to_contain_text("async def async_compute")
    run.click()
    works = page.locator(".lanes[data-gateway=asgi] .work:not(.back)")
    expect(works).to_have_count(3, timeout=PATIENCE)
    expect(page.locator("#shows")).to_contain_text("60 ms of computing")
    expect(idle).to_have_count(1, timeout=PATIENCE)
    page.get_by_role("button", name="Plot growing numbers").click()
    expect(page.locator(".plots canvas")).to_have_count(2, timeout=PATIENCE)
    page.get_by_text("The plots as a table").click()
    assert page.locator("#points tbody tr").count() == 2
    check_page(page, "many")
    # What cannot be run is told; what was tried is remembered.
    page.get_by_role("radio", name="waits").check()
    page.get_by_label("Milliseconds that the view").fill("2000")
    page.get_by_label("Clients", exact=True).fill("200")
    run.click()
    expect(page.get_by_role("alert")).to_contain_text("Lower the time that the view waits to")
    page.reload()
    assert page.get_by_role("radio", name="computes").is_checked()
    # And what takes too long for the learner can be stopped.
    page.get_by_role("radio", name="waits").check()
    page.get_by_label("Milliseconds that the view").fill("2000")
    run.click()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#news")).to_have_text("Stopped.")


def test_learners_wait_for_their_turn_and_may_leave(lab: Lab, visitor: Visitor) -> None:
    visitor.get("/many/")
    begun = time.monotonic()
    first = _open(lab, LONG, "running")
    second = _open(lab, QUICK, "waiting")
    third: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: third.extend(_run(visitor)))
    thread.start()
    for left in (second, first):
        left.close()
    thread.join(60)
    assert third[-1]["state"] == "done"
    assert time.monotonic() - begun < 19, "those who left were waited for"


def _open(lab: Lab, experiment: dict[str, Any], state: str) -> http.client.HTTPConnection:
    """Another learner, who has come so far, and leaves when the connection is closed."""
    visitor = Visitor(lab)
    visitor.get("/many/")
    cookies = {cookie.name: cookie.value for cookie in visitor.cookies}
    connection = http.client.HTTPConnection(urlsplit(lab.url).netloc, timeout=30)
    headers = {
        "Content-Type": "application/json",
        "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        "X-CSRFToken": str(cookies["twogate_lab_csrf"]),
    }
    connection.request("POST", "/many/run/", json.dumps(experiment), headers)
    response = connection.getresponse()
    while json.loads(response.readline())["state"] != state:
        pass
    return connection


def test_a_run_is_told_line_by_line(visitor: Visitor) -> None:
    *running, done = _run(visitor)
    said = [news["what"] for news in running if news["state"] == "running"]
    assert said == ["2 clients through WSGI", "2 clients through ASGI"]
    assert len(done["result"]["wsgi"]["requests"]) == 2
    assert done["shows"]["sentences"]
    done = _run(visitor, sweep=True)[-1]
    assert [point["clients"] for point in done["result"]["points"]] == [1, 2]
    kept = visitor.get("/learner/export/").data["progress"]
    assert [row["value"] for row in kept] == [{"times": 2, "experiment": QUICK}]


def test_what_cannot_be_run_is_refused_at_once(visitor: Visitor) -> None:
    for wrong, sentence in (
        ({"clients": 1000}, "Clients: choose a whole number from 1 to 200."),
        ({"clients": 1, "sweep": True}, "A plot needs more than one client"),
    ):
        (news,) = _run(visitor, **wrong)
        assert news["state"] == "failed"
        assert sentence in news["error"]
    assert visitor.post("/many/run/", b"[]").status == 400
    assert visitor.get("/many/run/").status == 405
