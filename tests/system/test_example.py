"""The bundled example: each page through the gate it promises, and a chat that people can trust."""

from __future__ import annotations

import re
import secrets
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from .conftest import Manage, NewPage, Serve, Site, run

EXAMPLE = Path(__file__).parents[2] / "examples" / "gates"
PATHS = ("/", "/waits/", "/ticks/", "/login/", "/chat/", "/chat/new/", "/chat/1/")
#: A middleware: no inline script or style, and nothing from elsewhere.
POLICY = """
from django.utils.deprecation import MiddlewareMixin

class ContentPolicy(MiddlewareMixin):
    def process_response(self, request, response):
        response["Content-Security-Policy"] = "default-src 'self'; img-src 'self' data:"
        return response
"""
#: What carries the real-time messages; each gives the value of TWOGATE_REALTIME_URL.
CARRIERS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "local": lambda: nullcontext("local"),
}
#: For ``manage.py shell``.
MANY_MESSAGES = """
from django.contrib.auth.models import User
from chat.models import Message, Room
room, author = Room.objects.get(name="Workshop"), User.objects.get(username="Grace")
Message.objects.bulk_create(Message(room=room, author=author, text=f"{n}.") for n in range(120))
"""
FEWER_MESSAGES = """
from chat.models import Message
Message.objects.filter(room__name="Workshop").delete()
"""


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with a database of its own, and in it the people and rooms of the demonstration."""
    folder = tmp_path_factory.mktemp("seeded") / "gates"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("*.sqlite3*", "__pycache__"))
    for command in ("migrate", "demo"):
        run([sys.executable, "manage.py", command, "--verbosity=0"], folder)
    return folder


@pytest.fixture
def project(seeded: Path, tmp_path: Path) -> Path:
    """A copy of that for one test."""
    return Path(shutil.copytree(seeded, tmp_path / "gates"))


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> Iterator[str]:
    with CARRIERS[request.param]() as url:
        yield url


@pytest.fixture
def site(project: Path, carrier: str, serve: Serve) -> Iterator[Site]:
    """Two workers, and topics that no other test hears: they depend on the secret key."""
    more = {"TWOGATE_REALTIME_URL": carrier, "GATES_SECRET_KEY": secrets.token_hex()}
    with serve(project, "--workers=2", "--graceful-timeout=2", **more) as site:
        yield site


def log_in(page: Page, site: Site, name: str) -> Page:
    page.goto(f"{site.url}/login/")
    page.get_by_role("button", name=f"Log in as {name}").click()
    expect(page.get_by_role("heading", name="Rooms")).to_be_visible()
    return page


def enter(page: Page, room: str) -> None:
    page.get_by_role("link", name=room).click()
    expect(page.get_by_role("heading", name=room)).to_be_visible()
    expect(page.locator("#passage")).to_contain_text("ASGI gate")


def say(page: Page, text: str) -> None:
    field = page.get_by_label("Message", exact=True)
    field.fill(text)
    field.press("Enter")


def said(page: Page) -> list[str]:
    return page.locator("#log .text").all_inner_texts()


def gate(page: Page) -> str:
    return page.locator(".pass-gate").inner_text()


# The two gates.


def test_each_page_tells_the_gate_it_came_through(site: Site, page: Page) -> None:
    page.goto(site.url)
    assert gate(page) == "WSGI"
    page.get_by_role("link", name="Three waits at once").click()
    expect(page.locator("h1")).to_have_text("Three waits at once")
    assert gate(page) == "ASGI"
    log_in(page, site, "Ada")
    assert gate(page) == "WSGI"
    page.goto(f"{site.url}/waits/")
    assert gate(page) == "ASGI"
    expect(page.locator(".who")).to_contain_text("Ada")


def test_ticks_arrive_one_by_one_and_can_be_stopped(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/ticks/")
    expect(page.locator("#number")).to_have_text("1")
    expect(page.locator("#number")).to_have_text("2")
    expect(page.locator("#status")).to_contain_text("through the ASGI gate")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#status")).to_have_text("Stopped.")


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_pages_fit_the_screen_and_a_strict_content_policy(
    project: Path, serve: Serve, page: Page, size: tuple[int, int]
) -> None:
    (project / "policy.py").write_text(POLICY)
    with (project / "gates" / "settings.py").open("a") as settings:
        settings.write('MIDDLEWARE.insert(0, "policy.ContentPolicy")\n')
    page.set_viewport_size({"width": size[0], "height": size[1]})
    with serve(project, "--graceful-timeout=2") as site:
        log_in(page, site, "Ada")
        for path in PATHS:
            response = page.goto(f"{site.url}{path}")
            assert response is not None and "content-security-policy" in response.headers
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0], path
        page.close()  # before the server: its sockets would be missed


# The chat.


def workers_of(page: Page, name: str) -> tuple[str, str]:
    """The workers that hold a person's two sockets: of the subscription, and of the room."""
    person = page.locator("#people li", has_text=name)
    expect(page.locator("#passage")).to_have_attribute("data-worker", re.compile(r"\d"))
    workers = [place.get_attribute("data-worker") for place in (person, page.locator("#passage"))]
    return workers[0] or "", workers[1] or ""


def on_different_workers(ada: Page, grace: Page) -> None:
    """Load Grace's page again until all she has is on another worker than all that Ada has."""
    for _ in range(100):
        for page in (ada, grace):
            expect(page.locator("#people li")).to_have_count(2)
        if set(workers_of(ada, "Ada")).isdisjoint(workers_of(grace, "Grace")):
            return
        grace.reload()
        if len(set(workers_of(ada, "Ada"))) == 2:
            ada.reload()
    pytest.fail("the two never were on different workers")


def test_two_on_different_workers_chat_through_a_reload(site: Site, new_page: NewPage) -> None:
    ada, grace = log_in(new_page(), site, "Ada"), log_in(new_page(), site, "Grace")
    enter(ada, "Kitchen")
    expect(ada.locator("#status")).to_have_text("You are alone here")
    enter(grace, "Kitchen")
    on_different_workers(ada, grace)
    for page in (ada, grace):
        expect(page.locator("#status")).to_have_text("2 people here")

    grace.get_by_label("Message", exact=True).press_sequentially("Te")
    expect(ada.locator("#typing")).to_have_text("Grace is typing…")
    say(grace, "<b>Tea?</b>")
    say(ada, "Yes, please.")
    for page in (ada, grace):
        expect(page.locator("#log .text")).to_have_text(["<b>Tea?</b>", "Yes, please."])
    expect(ada.locator("#typing")).to_be_empty()

    expected = ["<b>Tea?</b>", "Yes, please."]
    old = {*workers_of(ada, "Ada"), *workers_of(grace, "Grace")}
    site.process.send_signal(signal.SIGHUP)
    for number in range(20):
        say((ada, grace)[number % 2], f"{number}.")
        expected.append(f"{number}.")
        ada.wait_for_timeout(100)  # so that some are said before, some while the workers change
    for page, name in ((ada, "Ada"), (grace, "Grace")):
        for place in (page.locator("#people li", has_text=name), page.locator("#passage")):
            expect(place).not_to_have_attribute("data-worker", re.compile("|".join(old)))
    say(ada, "Still there?")
    expected.append("Still there?")
    for page in (ada, grace):
        expect(page.locator("#log .message")).to_have_count(len(expected))
        assert sorted(said(page)) == sorted(expected)
    assert said(ada) == said(grace)
    for page in (ada, grace):
        expect(page.locator("#status")).to_have_text("2 people here")

    ada.goto(f"{site.url}/chat/")
    expect(grace.locator("#status")).to_have_text("You are alone here")


@pytest.mark.parametrize("workers", [1, 4])
def test_the_number_of_workers_does_not_matter(
    project: Path, serve: Serve, new_page: NewPage, workers: int
) -> None:
    secret = {"GATES_SECRET_KEY": secrets.token_hex()}
    with serve(project, f"--workers={workers}", "--graceful-timeout=2", **secret) as site:
        pages = [log_in(new_page(), site, name) for name in ("Ada", "Grace", "Admin")]
        for page in pages:
            enter(page, "Garden")
        for page in pages:
            expect(page.locator("#status")).to_have_text("3 people here")
        for number, page in enumerate(pages):
            say(page, f"{number}.")
        for page in pages:
            new = page.locator("#log .text").filter(has_text=re.compile(r"^\d\.$"))
            expect(new).to_have_count(3)
        for page in pages:
            page.close()


def test_a_sync_admin_action_notifies_the_pages_that_are_open(
    site: Site, new_page: NewPage
) -> None:
    ada, grace, admin = (log_in(new_page(), site, name) for name in ("Ada", "Grace", "Admin"))
    ada.goto(f"{site.url}/ticks/")
    admin.goto(f"{site.url}/admin/auth/user/")
    admin.get_by_role("row", name="Ada").get_by_role("checkbox").check()
    notify(admin, "The soup is ready.")
    expect(admin.locator(".messagelist")).to_have_text("Sent to 1 people.")
    expect(ada.locator("#toasts > div")).to_contain_text("The soup is ready.")
    ada.get_by_role("button", name="Dismiss").click()
    expect(ada.locator("#toasts > div")).to_have_count(0)

    # A room means its members and its visitors: Ada is one of the first, Grace of neither.
    admin.goto(f"{site.url}/admin/chat/room/")
    admin.get_by_role("row", name="Attic").get_by_role("checkbox").check()
    notify(admin, "The attic leaks.")
    expect(ada.locator("#toasts > div")).to_contain_text("The attic leaks.")
    expect(grace.locator("#toasts > div")).to_have_count(0)


def notify(admin: Page, text: str) -> None:
    admin.get_by_label("Action:").select_option("Send notification")
    admin.get_by_role("button", name=re.compile("^(Go|Run)$")).click()  # Django 5.2, 6
    admin.get_by_label("What to tell them").fill(text)
    admin.get_by_role("button", name="Send").click()


def test_a_private_room_is_closed_to_others(site: Site, new_page: NewPage) -> None:
    ada, grace = log_in(new_page(), site, "Ada"), log_in(new_page(), site, "Grace")
    enter(ada, "Attic")
    expect(grace.get_by_role("link", name="Attic")).to_have_count(0)
    room = ada.url.rstrip("/").rsplit("/", 1)[1]
    cookies = "; ".join(f"{each['name']}={each['value']}" for each in grace.context.cookies())
    headers = {"Cookie": cookies, "Origin": site.url}

    for path in ("", "after/0/", "transcript/"):
        assert grace.request.get(f"{site.url}/chat/{room}/{path}").status == 404
    for topic in (f"room.{room}", f"here.{room}", "user.1", "room.", f"room.{'9' * 150}", "x"):
        assert grace.request.get(f"{site.url}/events/?topic={topic}").status == 403
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://{site.host}:{site.port}/ws/room/{room}/", additional_headers=headers)


def test_a_message_that_is_sent_twice_is_saved_once(site: Site, page: Page) -> None:
    log_in(page, site, "Ada")
    enter(page, "Kitchen")
    send = """async ([path, texts]) => {
        const socket = new WebSocket(path);
        await new Promise((resolve) => socket.addEventListener("open", resolve));
        for (const text of texts) {
            socket.send(JSON.stringify({ kind: "say", nonce: "0".repeat(32), text }));
        }
    }"""
    path = page.url.replace("/chat/", "/ws/room/").replace("http", "ws")
    # Rubbish first: it is refused, and the socket goes on.
    page.evaluate(send, [path, ["", 5, {"a": 1}, "x" * 3000, "Once.", "Once.", "Another."]])
    expect(page.locator("#log .text")).to_have_text(["5", "{'a': 1}", "Once.", "Another."])
    page.reload()
    expect(page.locator("#log .text")).to_have_text(["5", "{'a': 1}", "Once.", "Another."])


def test_a_full_disk_refuses_messages_and_nothing_else(
    project: Path, manage: Manage, serve: Serve, browser: Browser
) -> None:
    """SQLite has a limit of its own, which fails as a full disk does, with SQLITE_FULL."""
    manage(project, "shell", "-c", MANY_MESSAGES)
    pages = (project / "gates.sqlite3").stat().st_size // 4096 + 8
    with (project / "gates" / "settings.py").open("a") as settings:
        limit = f"PRAGMA max_page_count={pages};"
        settings.write(f'DATABASES["default"]["OPTIONS"]["init_command"] += "{limit}"\n')
    secret = {"GATES_SECRET_KEY": secrets.token_hex()}
    with serve(project, "--workers=2", "--graceful-timeout=2", **secret) as site:
        names = ("Ada", "Grace")
        ada, grace = (log_in(browser.new_context().new_page(), site, name) for name in names)
        for page in (ada, grace):
            enter(page, "Kitchen")
        problem = ada.locator("#problem")
        while not problem.inner_text():
            say(ada, "x" * 1900)
            expect(ada.locator("#outbox li")).to_have_count(0)
        expect(problem).to_contain_text("was not sent. Nothing can be saved at the moment.")
        expect(ada.get_by_label("Message", exact=True)).to_have_value("x" * 1900)
        kept = len(said(ada))
        expect(grace.locator("#log .text")).to_have_count(kept)
        grace.reload()
        expect(grace.locator("#log .text")).to_have_count(kept)

        manage(project, "shell", "-c", FEWER_MESSAGES)
        say(ada, "There is room again.")
        expect(grace.locator("#log .text").last).to_have_text("There is room again.")
        for page in (ada, grace):
            page.close()


def test_unread_messages_are_counted_as_they_come(site: Site, new_page: NewPage) -> None:
    ada, grace = log_in(new_page(), site, "Ada"), log_in(new_page(), site, "Grace")
    unread = ada.locator(".card", has_text="Workshop").locator(".unread")
    expect(unread).to_be_hidden()
    enter(grace, "Workshop")
    say(grace, "Look what I have made.")
    expect(unread).to_have_text("1 unread")
    ada.reload()
    expect(unread).to_have_text("1 unread")
    enter(ada, "Workshop")
    ada.go_back()
    ada.reload()
    expect(unread).to_be_hidden()


def test_old_messages_come_page_by_page(
    project: Path, manage: Manage, site: Site, page: Page
) -> None:
    manage(project, "shell", "-c", MANY_MESSAGES)
    log_in(page, site, "Ada")
    enter(page, "Workshop")
    messages = page.locator("#log .text")
    for count in (50, 100, 120):
        expect(messages).to_have_count(count)
        if count < 120:
            page.get_by_role("link", name="Load earlier messages").click()
    assert messages.all_inner_texts() == [f"{number}." for number in range(120)]
    expect(page.get_by_role("link", name="Load earlier messages")).to_have_count(0)
    lines = page.request.get(f"{page.url}transcript/").text().splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == [f"{number}." for number in range(120)]


def test_the_chat_works_without_javascript(
    project: Path, manage: Manage, site: Site, browser: Browser
) -> None:
    manage(project, "shell", "-c", MANY_MESSAGES)
    page = browser.new_context(java_script_enabled=False).new_page()
    log_in(page, site, "Ada")
    page.get_by_role("link", name="Workshop").click()
    page.get_by_label("Message", exact=True).fill("Said by a plain form.")
    page.get_by_role("button", name="Send").click()
    assert said(page)[-1] == "Said by a plain form."
    page.get_by_role("link", name="Load earlier messages").click()
    assert said(page)[-1] == "70."
    page.get_by_role("link", name="Back to the newest messages").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in")).to_be_visible()


def test_what_is_written_while_the_server_is_away_is_sent_later(
    project: Path, serve: Serve, browser: Browser
) -> None:
    page = browser.new_context().new_page()
    secret = {"GATES_SECRET_KEY": secrets.token_hex()}
    with serve(project, "--graceful-timeout=1", **secret) as site:
        log_in(page, site, "Ada")
        enter(page, "Kitchen")
        expect(page.locator("#status")).to_have_text("You are alone here")
    expect(page.locator("#lost")).to_contain_text("The connection was lost.")
    say(page, "Into the void.")
    expect(page.locator("#outbox li")).to_have_text("Into the void.")
    with serve(project, f"--bind=127.0.0.1:{site.port}", **secret):
        expect(page.locator("#lost")).to_be_hidden(timeout=60_000)
        expect(page.locator("#outbox li")).to_have_count(0, timeout=60_000)
        expect(page.locator("#log .text")).to_have_text("Into the void.")
