"""Real projects, a real `twogate serve`, a real browser.

Everything here runs in the test's process, except the server and the commands that build projects.
A missing part is a failure, never a skip.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Response,
    expect,
    sync_playwright,
)

import twogate

START_TIMEOUT = 30.0
STOP_TIMEOUT = 15.0
COMMAND_TIMEOUT = 180.0
ACCOUNT = {
    "DJANGO_SUPERUSER_USERNAME": "editor",
    "DJANGO_SUPERUSER_EMAIL": "editor@example.com",
    "DJANGO_SUPERUSER_PASSWORD": "a-long-enough-secret",
}
BROWSER_NAMES = ("chromium", "google-chrome")
# Five seconds are too few while other tests use all processors.
expect.set_options(timeout=20_000)
#: No sandbox, because containers rarely allow one; and nothing that talks to the outside.
BROWSER_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@dataclass(slots=True)
class Site:
    """A project that is being served.

    :ivar url: its address, without a slash at the end.
    :ivar log_file: what the server has written so far, both streams.
    """

    host: str
    port: int
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")


class Serve(Protocol):
    """``with serve(folder, "--wsgi=hello:app") as site:`` runs `twogate serve` in the folder."""

    def __call__(
        self, folder: Path, *arguments: str, **environment: str
    ) -> contextlib.AbstractContextManager[Site]: ...


class Manage(Protocol):
    """``manage(folder, "migrate")`` runs the project's `manage.py`."""

    def __call__(self, folder: Path, *arguments: str, **environment: str) -> None: ...


def environment(**more: str) -> dict[str, str]:
    """Ours, without any settings of Django's, and with Twogate importable if not installed."""
    source = str(Path(twogate.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))
    kept = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **more}


def run(command: Sequence[str], folder: Path, **more: str) -> None:
    """Run a command to its end; its output is shown if it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_TIMEOUT,
    )
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until_ready(site: Site) -> None:
    """Wait for the server to take connections."""
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        assert site.process.poll() is None, f"the server ended by itself:\n{site.log}"
        assert time.monotonic() < deadline, f"the server did not start in time:\n{site.log}"
        try:
            socket.create_connection((site.host, site.port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return


def stop(site: Site) -> None:
    """Ask the server to leave, and see that it leaves in peace."""
    site.process.send_signal(signal.SIGTERM)
    try:
        status = site.process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        pytest.fail(f"the server did not leave after SIGTERM:\n{site.log}")
    assert status == 0, f"the server left with status {status}:\n{site.log}"
    assert "Traceback" not in site.log, f"the server logged an error:\n{site.log}"


@contextlib.contextmanager
def serving(log_file: Path, folder: Path, *arguments: str, **more: str) -> Iterator[Site]:
    port = free_port()
    command = [sys.executable, "-m", "twogate", "serve", f"--bind=127.0.0.1:{port}", *arguments]
    with log_file.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    site = Site("127.0.0.1", port, process, log_file)
    try:
        wait_until_ready(site)
        yield site
        stop(site)
    finally:
        # The group is ours alone: whatever is left of it after a failure goes with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """See :class:`Serve`."""

    def start(
        folder: Path, *arguments: str, **more: str
    ) -> contextlib.AbstractContextManager[Site]:
        log_file = tmp_path_factory.mktemp("log") / "server.log"
        return serving(log_file, folder, *arguments, **more)

    return start


@pytest.fixture
def manage() -> Manage:
    """See :class:`Manage`."""

    def call(folder: Path, *arguments: str, **more: str) -> None:
        run([sys.executable, "manage.py", *arguments], folder, **more)

    return call


@pytest.fixture
def start_project(tmp_path: Path) -> Path:
    """What `django-admin startproject mysite .` makes, untouched."""
    folder = tmp_path / "plain"
    folder.mkdir()
    run([sys.executable, "-m", "django", "startproject", "mysite", "."], folder)
    return folder


@pytest.fixture(scope="session")
def _wagtail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once for all processes of a test run: Wagtail has hundreds of migrations."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # which the processes share
    folder, ready = base / "wagtail", base / "wagtail-ready"
    with (base / "wagtail-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)  # one that was not finished
            _make_wagtail(folder)
            ready.touch()
    return folder


def _make_wagtail(folder: Path) -> None:
    folder.mkdir()
    run([sys.executable, "-m", "wagtail.bin.wagtail", "start", "mysite", "."], folder)
    for command in (["migrate", "--verbosity=0"], ["createsuperuser", "--noinput"]):
        run([sys.executable, "manage.py", *command], folder, **ACCOUNT)


@pytest.fixture
def wagtail_project(_wagtail: Path, tmp_path: Path) -> Path:
    """What `wagtail start mysite .` makes, untouched, with its tables and the user of ACCOUNT."""
    return Path(shutil.copytree(_wagtail, tmp_path / "wagtail"))


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium, as the distribution packages it, else the one that Playwright installed.

    For one test only: while Playwright is up, its event loop counts as running in this thread, and
    other tests want loops of their own.
    """
    found = next(filter(None, map(shutil.which, BROWSER_NAMES)), None)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=BROWSER_FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def browser() -> Iterator[Browser]:
    """See :func:`chromium`."""
    with chromium() as launched:
        yield launched


class Console:
    """Everything a careful developer would see in the browser's console.

    Two things are left out. Pages that ask other hosts (Wagtail looks for updates and portraits)
    get no answer, for tests stay on this machine; and an icon nobody offers may be missing.
    """

    def __init__(self, origin_prefix: str = "http://127.0.0.1:") -> None:
        self.complaints: list[str] = []
        self._ours = origin_prefix

    def watch(self, page: Page) -> None:
        page.route(self._foreign, lambda route: route.abort())
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("console", self._message)
        page.on("response", self._response)

    def _foreign(self, url: str) -> bool:
        return url.startswith("http") and not url.startswith(self._ours)

    def _message(self, message: ConsoleMessage) -> None:
        where = message.location["url"]
        foreign = self._foreign(where) or "https://" in message.text
        if message.type in ("error", "warning") and not foreign and "favicon.ico" not in where:
            self.complaints.append(f"{where}: {message.text}")

    def _response(self, response: Response) -> None:
        if response.status >= 400 and not response.url.endswith("/favicon.ico"):
            self.complaints.append(f"{response.status} {response.url}")


class NewPage(Protocol):
    """``new_page()`` opens a page with a session of its own."""

    def __call__(self) -> Page: ...


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Pages whose consoles must stay empty."""
    console = Console()
    contexts: list[BrowserContext] = []

    def open_page() -> Page:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        console.watch(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not console.complaints, "the browser complained:\n" + "\n".join(console.complaints)


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """One such page."""
    return new_page()
