"""The browser client in a real browser, on workers that are killed, reloaded and cut off."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from websockets.sync.client import ClientConnection, connect

from .conftest import Manage, Serve, Site

SETTINGS = """
from pathlib import Path
SECRET_KEY = "live"
DEBUG = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "site_urls"
ASGI_APPLICATION = "site_asgi.application"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "twogate", "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).with_name("db.sqlite3"),
}}
STATIC_URL = "/static/"
TWOGATE_TOPICS = {
    "allow": "site_urls.may_subscribe", "presence": "site_urls.member", "folder": %r,
    "grace": %r,
}
"""
URLS = """
import json
import os

from django.contrib.auth import login
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.urls import path

from twogate.django.topics import events, here, publish


def may_subscribe(request, topic):
    return topic != "secret" and (topic != "members" or request.user.is_authenticated)


def member(request, topic):
    if "name" in request.GET:
        return {"name": request.GET["name"], "pid": os.getpid()}
    if request.user.is_authenticated:
        return {"id": request.user.pk, "name": request.user.username, "pid": os.getpid()}


def page(request):
    return HttpResponse("<!doctype html><title>Live</title><link rel=icon href='data:,'>")


def log_in(request, name):
    user, _ = User.objects.get_or_create(username=name)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return page(request)


def say(request, topic):
    for text in request.GET.getlist("text"):
        publish(topic, text)
    return HttpResponse("said")


def who(request, topic):
    return HttpResponse(json.dumps(here(topic)))


urlpatterns = [
    path("", page), path("log-in/<name>/", log_in), path("say/<topic>/", say),
    path("who/<topic>/", who), path("events/", events),
]
"""
ASGI = """
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path
django_application = get_asgi_application()
from twogate.django.subscriptions import subscriptions

async def refuse(scope, receive, send):
    await receive()
    await send({"type": "websocket.close"})


urls = [path("live/", subscriptions), path("refused/", refuse)]
application = ProtocolTypeRouter({"http": django_application, "websocket": URLRouter(urls)})
"""
CONNECT = """
async ({url, options, topics}) => {
    const { connect } = await import("/static/twogate/live.js");
    window.got = []; window.here = {}; window.moves = []; window.statuses = [];
    window.resets = []; window.refused = {};
    window.live = connect(url, {...options, status: (status) => statuses.push(status)});
    window.add = (topic) => live.subscribe(topic, (data, message) => got.push(data), {
        presence: (now, change) => {
            here[topic] = now.map((each) => each.name).sort();
            moves.push(change);
        },
        reset: () => resets.push(topic),
        denied: (reason) => { refused[topic] = reason; },
    });
    for (const topic of topics) add(topic);
}
"""
PATIENCE = 20.0


class Tab:
    """A page of a browser that is connected."""

    def __init__(self, page: Page, site: Site) -> None:
        self.page = page
        self._site = site

    def connect(self, *topics: str, url: str = "/live/", **options: Any) -> Tab:
        self.page.evaluate(CONNECT, {"url": url, "options": options, "topics": topics})
        return self

    def until(self, condition: str) -> None:
        """Wait for a condition in JavaScript."""
        try:
            self.page.wait_for_function(condition, timeout=PATIENCE * 1000, polling=20)
        except Exception as error:
            seen = self.page.evaluate("JSON.stringify({got, here, statuses, resets, refused})")
            raise AssertionError(f"{condition}: {seen}\n{self._site.log[-3000:]}") from error

    def value(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def got(self, *data: str) -> None:
        """Wait until just this has come."""
        self.until(f"got.length >= {len(data)}")
        assert self.value("got") == list(data)


class Visitors:
    """Opens tabs, each in a browser of its own."""

    def __init__(self, browser: Browser, site: Site) -> None:
        self._browser = browser
        self.site = site
        self.contexts: list[BrowserContext] = []

    def tab(self, name: str = "", context: BrowserContext | None = None) -> Tab:
        if context is None:
            context = self._browser.new_context()
            context.set_default_timeout(PATIENCE * 1000)
            self.contexts.append(context)
        page = context.new_page()
        page.goto(f"{self.site.url}/log-in/{name}/" if name else self.site.url)
        return Tab(page, self.site)

    def say(self, *texts: str, topic: str = "room") -> None:
        query = "&".join(f"text={text}" for text in texts)
        get(f"{self.site.url}/say/{topic}/?{query}")

    def workers(self) -> set[int]:
        children = Path(f"/proc/{self.site.process.pid}/task/{self.site.process.pid}/children")
        return set(map(int, children.read_text().split()))

    def roll(self) -> list[str]:
        """Replace all workers, and say something all the while; returns what."""
        before, said = self.workers(), list[str]()
        self.site.process.send_signal(signal.SIGHUP)
        while len(self.workers() - before) < 2 or self.workers() & before:
            said.append(f"{min(before)}-{len(said)}")
            self.say(said[-1])
            time.sleep(0.02)  # no more than are kept
        return said


def get(url: str) -> str:
    """Ask until a worker answers: one may just have been killed."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as response:
                return str(response.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def serving(
    serve: Serve, manage: Manage, folder: Path, browser: Browser, grace: float
) -> Iterator[Visitors]:
    with tempfile.TemporaryDirectory(prefix="tg-") as runtime:
        (folder / "site_settings.py").write_text(SETTINGS % (runtime, grace))
        (folder / "site_urls.py").write_text(URLS)
        (folder / "site_asgi.py").write_text(ASGI)
        (folder / "manage.py").write_text(
            "import os, sys\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site_settings')\n"
            "from django.core.management import execute_from_command_line\n"
            "execute_from_command_line(sys.argv)\n"
        )
        manage(folder, "migrate", "--verbosity=0")
        with serve(folder, "--workers=2", "--graceful-timeout=3") as site:
            visitors = Visitors(browser, site)
            yield visitors
            for context in visitors.contexts:
                context.close()


@pytest.fixture
def visitors(serve: Serve, manage: Manage, tmp_path: Path, browser: Browser) -> Iterator[Visitors]:
    with serving(serve, manage, tmp_path, browser, grace=0.3) as visitors:
        yield visitors


@pytest.fixture
def patient(serve: Serve, manage: Manage, tmp_path: Path, browser: Browser) -> Iterator[Visitors]:
    """The same, where who goes away may take time to come back."""
    with serving(serve, manage, tmp_path, browser, grace=15) as visitors:
        yield visitors


def on_two_workers(visitors: Visitors) -> tuple[Tab, Tab]:
    """Two people who are served by different workers."""
    ada = visitors.tab("ada").connect("room")
    ada.until("here.room?.length === 1")
    for _ in range(50):
        bob = visitors.tab("bob").connect("room")
        bob.until("here.room?.includes('bob')")
        members = get(f"{visitors.site.url}/who/room/")
        if len({each["pid"] for each in json.loads(members)}) == 2:
            return ada, bob
        bob.page.context.close()
        ada.until("here.room.length === 1")
    raise AssertionError("one worker took them all")


def test_two_people_on_two_workers_through_a_kill(visitors: Visitors) -> None:
    ada, bob = on_two_workers(visitors)
    ada.until("here.room.join() === 'ada,bob'")
    bob.until("here.room.join() === 'ada,bob'")
    before = visitors.workers()
    sent: list[str] = []
    for victim in before:
        sent.append(f"before-{victim}")
        visitors.say(sent[-1])
        os.kill(victim, signal.SIGKILL)
        sent.append(f"after-{victim}")
        visitors.say(sent[-1])
        eventually(lambda: len(visitors.workers() - before) == len(sent) // 2)
    for tab in ada, bob:
        tab.got(*sent)
        tab.until("here.room.join() === 'ada,bob'")
    bob.page.context.close()
    ada.until("here.room.join() === 'ada'")
    assert ada.value("resets") == []


def test_nothing_is_lost_or_doubled_by_reloads_and_nobody_flickers(patient: Visitors) -> None:
    visitors = patient
    ada, bob = visitors.tab("ada").connect("room", "hall"), visitors.tab("bob").connect("room")
    for tab in ada, bob:
        tab.until("here.room?.length === 2")
    sent = [*visitors.roll(), *visitors.roll()]
    for tab in ada, bob:
        tab.got(*sent)
        tab.until("statuses.at(-1)?.state === 'online'")
        assert tab.value("resets") == []
        # Whose description has changed, by the number of the process, goes and comes at once.
        assert tab.value("moves.every(({joined, left}) => left.length <= joined.length)")


def test_who_was_on_a_killed_worker_has_left(visitors: Visitors) -> None:
    with ExitStack() as stack:
        url = f"ws://{visitors.site.host}:{visitors.site.port}/live/?name="
        pids: dict[int, ClientConnection] = {}
        for number in range(100):
            socket = stack.enter_context(connect(url + str(number), close_timeout=1))
            socket.send('{"type":"subscribe","topics":["room"],"presence":true}')
            assert json.loads(socket.recv(PATIENCE))["type"] == "subscribed"
            members = json.loads(socket.recv(PATIENCE))["here"]
            here = {each["name"]: each["pid"] for each in members}
            pids[here[str(number)]] = socket
            if len(pids) == 2:
                break
        victim, survivor = pids
        gone = {name for name, pid in here.items() if pid == victim}
        os.kill(victim, signal.SIGKILL)
        while gone:
            said = json.loads(pids[survivor].recv(PATIENCE))
            gone -= {each["name"] for each in said.get("left", ())}


def test_who_was_away_for_too_long_is_told(visitors: Visitors) -> None:
    tab = visitors.tab().connect("room")
    tab.until("here.room")
    visitors.say("first")
    tab.got("first")
    tab.page.context.set_offline(True)
    tab.value("live.carrier.over({code: 1006})")
    tab.until("statuses.at(-1)?.state === 'offline'")
    for _ in range(15):
        visitors.say(*map(str, range(100)))
    tab.page.context.set_offline(False)
    tab.until("got.at(-1) === '99' && got.length > 100")
    assert tab.value("resets") == ["room"]


def test_what_is_not_allowed_is_said_for_each_topic(visitors: Visitors) -> None:
    tab = visitors.tab().connect("room", "secret", "members", "twogate.presence.room")
    tab.until("Object.keys(refused).length === 3")
    visitors.say("hello")
    tab.got("hello")
    member = visitors.tab("ada").connect("members")
    member.until("here.members?.length === 1")


def test_several_tabs_are_one_person(visitors: Visitors) -> None:
    ada = visitors.tab("ada").connect("room")
    again = visitors.tab("ada", ada.page.context).connect("room")
    eve = visitors.tab("eve").connect("room")
    eve.until("here.room?.join() === 'ada,eve'")
    again.page.close()
    bob = visitors.tab("bob").connect("room")
    eve.until("here.room.join() === 'ada,bob,eve'")
    ada.value("live.close()")
    eve.until("here.room.join() === 'bob,eve'")
    assert ada.value("statuses.at(-1)") == {"state": "closed"}
    bob.page.reload()  # it is back too late, or in time: in the end it is right
    bob.connect("room")
    bob.until("here.room?.join() === 'bob,eve'")


def test_streams_of_events_where_no_websocket_gets_through(visitors: Visitors) -> None:
    ada = visitors.tab("ada").connect("room", "secret", url="/refused/", events="/events/")
    ada.until("statuses.at(-1)?.via === 'events' && here.room?.length === 1")
    ada.until("refused.secret")
    visitors.say("one")
    ada.got("one")
    ada.value("void add('hall')")
    visitors.say("two")
    ada.got("one", "two")
    ada.until("'hall' in here")
    visitors.say("three", topic="hall")
    ada.got("one", "two", "three")
    bob = visitors.tab("bob").connect("room")
    ada.until("here.room.join() === 'ada,bob'")
    bob.until("here.room?.join() === 'ada,bob'")
    sent = visitors.roll()
    ada.got("one", "two", "three", *sent)
    bob.got(*sent)


@pytest.mark.parametrize("url", ["/live/", "/refused/"], ids=["websocket", "events"])
def test_beginning_anew_amid_messages_gives_none_twice(visitors: Visitors, url: str) -> None:
    tab = visitors.tab().connect(url=url, events="/events/")
    tab.value("void live.subscribe('room', (data) => got.push(data), {after: 0})")
    tab.until("statuses.at(-1)?.state === 'online'")
    # Who watches and who does not are different subscriptions for the server.
    tab.value("""void setInterval(() => {
        const end = live.subscribe('room', () => {}, {presence: () => {}});
        setTimeout(end, 7);
    }, 15)""")
    sent = [str(number) for number in range(400)]
    for begin in range(0, 400, 10):
        visitors.say(*sent[begin : begin + 10])
    tab.got(*sent)


def test_a_refusal_for_good_ends_it(visitors: Visitors) -> None:
    tab = visitors.tab().connect("room")
    tab.until("statuses.at(-1)?.state === 'online'")
    tab.value("live.carrier.send('nonsense')")
    tab.until("statuses.at(-1)?.state === 'closed'")
    assert tab.value("statuses.at(-1).code") == 4400
    assert "JSON object" in tab.value("statuses.at(-1).reason")
