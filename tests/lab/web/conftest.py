"""A running lab, and Chromium to visit it.

The browser is of one test only: while Playwright is up, its event loop counts as running in this
thread, and other tests want loops of their own. The lab is one for all tests of a process; each
page has a context, and so a learner, of its own.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, TypeAlias
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, ProxyHandler, Request, build_opener

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page
from tests.system.conftest import Console, chromium, environment

START_TIMEOUT = 30.0
_AXE = Axe()
#: Widths of windows in pixels: the narrowest phone and a desktop.
WIDTHS = (360, 1600)


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that runs.

    :ivar url: its address, without a slash at the end.
    :ivar data: the folder of what learners have done.
    """

    url: str
    data: Path
    process: subprocess.Popen[str]


def start_lab(data: Path, *arguments: str) -> Lab:
    """Start ``twogate lab`` and wait until it says where it is."""
    command = [sys.executable, "-m", "twogate", "lab", "--no-browser", "--data", str(data)]
    process = subprocess.Popen(
        [*command, "--bind", "127.0.0.1:0", *arguments],
        env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        return Lab(_address(process), data, process)
    except BaseException:
        stop_lab(process)
        raise


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    deadline = time.monotonic() + START_TIMEOUT
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(max(0.0, deadline - time.monotonic())), "the lab did not start"
    line = process.stdout.readline()
    found = re.search(r"http://[^\s/]+", line)
    assert found is not None, f"the lab said: {line!r}"
    return found[0]


def stop_lab(process: subprocess.Popen[str]) -> int:
    """End the lab and what is left of it; its exit status."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(15)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait(5)
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of the test process."""
    lab = start_lab(tmp_path_factory.mktemp("lab") / "data")
    yield lab
    assert stop_lab(lab.process) == 0


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Chromium, for one test."""
    with chromium() as launched:
        yield launched


class Visitor:
    """A client without a browser that keeps its cookies and answers Django's CSRF protection.

    :ivar cookies: those it has been given.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.cookies = CookieJar()
        self._opener = build_opener(ProxyHandler({}), HTTPCookieProcessor(self.cookies))

    def get(self, path: str, **headers: str) -> Answer:
        """Ask for a page."""
        return self._send(Request(self._lab.url + path, headers=headers))

    def post(self, path: str, data: Any, **headers: str) -> Answer:
        """Send an object as JSON, or bytes as they are, or a form's fields as ``str`` pairs."""
        if not any(cookie.name == "twogate_lab_csrf" for cookie in self.cookies):
            self.get("/learner/")
        token = next(c.value for c in self.cookies if c.name == "twogate_lab_csrf")
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        sent = {"Content-Type": "application/json", "X-CSRFToken": str(token), **headers}
        return self._send(Request(self._lab.url + path, body, sent))

    def submit(self, path: str, **fields: str) -> Answer:
        """Send a form."""
        kind = "application/x-www-form-urlencoded"
        return self.post(path, urlencode(fields).encode(), **{"Content-Type": kind})

    def upload(self, path: str, name: str, content: bytes) -> Answer:
        """Send a form with one file."""
        head = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="it"\r\n\r\n'
        body = head.encode() + content + b"\r\n--b--\r\n"
        return self.post(path, body, **{"Content-Type": "multipart/form-data; boundary=b"})

    def _send(self, request: Request) -> Answer:
        try:
            with self._opener.open(request, timeout=60) as response:
                return Answer(response.status, dict(response.headers), response.read().decode())
        except HTTPError as error:
            with error:
                return Answer(error.status or 0, dict(error.headers), error.read().decode())


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; redirects were followed."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def data(self) -> Any:
        """The JSON in it."""
        return json.loads(self.text)


@pytest.fixture
def visitor(lab: Lab) -> Visitor:
    """A new learner without a browser."""
    return Visitor(lab)


NewPage: TypeAlias = Callable[..., Page]
"""``new_page(width=360, …)`` opens a page of a new learner; keywords are those of a context."""


@pytest.fixture
def new_page(browser: Browser, lab: Lab) -> Iterator[NewPage]:
    """Pages whose consoles must stay empty and which load nothing from elsewhere."""
    console = Console()
    contexts: list[BrowserContext] = []

    def open_page(width: int = 1280, **more: Any) -> Page:
        size: Any = {"width": width, "height": 900}
        contexts.append(browser.new_context(base_url=lab.url, viewport=size, **more))
        contexts[-1].set_default_timeout(20_000)
        page = contexts[-1].new_page()
        console.watch(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert console.complaints == []


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """One page of a new learner."""
    return new_page()


CheckPage: TypeAlias = Callable[[Page, str], None]


@pytest.fixture
def check_page() -> CheckPage:
    """``check_page(page, name)``: what is shown fits phones and desktops, light and dark, and is
    accessible; with ``LAB_SHOTS`` in the environment, that folder gets pictures of it."""
    return _check_page


def _check_page(page: Page, name: str) -> None:
    before = page.viewport_size
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} pixels wide at {width}"
            if folder := os.environ.get("LAB_SHOTS"):
                Path(folder).mkdir(exist_ok=True)
                page.screenshot(path=f"{folder}/{name}-{scheme}-{width}.png", full_page=True)
            if (scheme == "light") == (width == WIDTHS[0]):  # each of both once
                assert _barriers(page) == [], f"{name}, {scheme}, {width}"
    if before is not None:
        page.set_viewport_size(before)
    page.emulate_media(color_scheme="light")


def _barriers(page: Page) -> list[str]:
    """What axe finds that is serious or worse."""
    found = _AXE.run(page).response["violations"]
    return [
        f"{one['id']}: {node['html']} ({node['failureSummary']})"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
