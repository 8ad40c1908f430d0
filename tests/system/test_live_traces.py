"""``twogate serve --trace`` with a real browser that watches, and where it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.support.shell import PROJECT, Shell, says


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path)
    shell.write(PROJECT)
    return shell


def test_requests_of_all_workers_appear_and_open(shell: Shell, browser: Browser) -> None:
    problems: list[str] = []
    with shell.serving("--workers", "2", "--trace=20") as served:
        served.wait_for("the last 20 requests, at /__twogate__/traces/")
        page = browser.new_page(viewport={"width": 360, "height": 800})
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{served.url}/__twogate__/traces/")
        page.get_by_text("Waiting for requests.").wait_for()
        for _ in range(6):
            served.get("/")
            served.get("/live/")
        page.locator("tbody tr").nth(11).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.get_by_text("12 requests").count() == 1
        page.get_by_role("searchbox").fill("/live/")
        assert page.locator("tbody tr:visible").count() == 6
        page.get_by_role("link", name="GET /live/").first.click()
        page.wait_for_load_state()
        assert "/live/" in page.content()
        assert page.locator("canvas").count() > 0
        page.close()
        said = served.wait_for("the last 20")
    assert problems == []
    assert "__twogate__/traces/list" not in said


def test_it_needs_debug(shell: Shell) -> None:
    settings = PROJECT["mysite/settings.py"].replace("DEBUG = True", "DEBUG = False")
    shell.write({"mysite/settings.py": settings})
    done = shell("serve", "-w", "0", "-b", "127.0.0.1:0", "--trace")
    says(done, 1, "--trace", "DEBUG = True")


def test_it_needs_an_address_of_this_machine(shell: Shell) -> None:
    done = shell("serve", "-w", "0", "-b", "0.0.0.0:0", "--trace", "5")
    says(done, 1, "--trace keeps what requests carry", "127.0.0.1")


def test_it_needs_django(shell: Shell) -> None:
    shell.write({"plain.py": "def application(environ, start_response): ...\n"})
    done = shell("serve", "-w", "0", "-b", "127.0.0.1:0", "--wsgi", "plain", "--trace")
    says(done, 1, "--trace", "a Django project")


def test_the_number_is_checked(shell: Shell) -> None:
    says(shell("serve", "--trace=many"), 2, "--trace", "a whole number from 0 to 200")
