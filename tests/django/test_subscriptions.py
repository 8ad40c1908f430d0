"""The WebSocket endpoint for topics, on a real server, asked by a client nobody here wrote."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.http import HttpRequest
from tests.support.http import PATIENCE, Serving, eventually, get, serving
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .conftest import Database

BACKEND = f"{__name__}.Backend"
SECRET = "not for you"


def public(request: HttpRequest, topic: str) -> bool:
    return topic != SECRET


async def public_async(request: HttpRequest, topic: str) -> bool:
    return topic != SECRET


def only_ada(request: Any, topic: str) -> bool:
    return bool(request.user.get_username() == "ada")


async def only_ada_async(request: Any, topic: str) -> bool:
    return bool((await request.auser()).get_username() == "ada")


threads_seen: set[str] = set()


def asks_the_database(request: HttpRequest, topic: str) -> bool:
    from django.db import connection

    threads_seen.add(threading.current_thread().name)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchone() == (1,))


def by_name(request: HttpRequest, topic: str) -> Any:
    return request.GET.get("name") and {"name": request.GET["name"]}


class Backend:
    """Users without a database."""

    def get_user(self, pk: int) -> Any:
        from django.contrib.auth.models import User

        return User(pk=pk, username="ada") if pk == 5 else None

    async def aget_user(self, pk: int) -> Any:
        return self.get_user(pk)


class Browser:
    """One WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def say(self, **request: Any) -> None:
        self.socket.send(json.dumps(request))

    def subscribe(self, *topics: str, **more: Any) -> dict[str, int]:
        """Subscribe to what it may have; returns where each begins."""
        self.say(type="subscribe", topics=topics, **more)
        answer = self.next()
        assert answer["type"] == "subscribed", answer
        positions: dict[str, int] = answer["topics"]
        return positions

    def next(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.socket.recv(PATIENCE))
        return answer

    def data(self) -> Any:
        answer = self.next()
        assert answer["type"] == "message", answer
        return answer["data"]

    def end(self) -> tuple[int, str]:
        """Code and reason, after all that comes before."""
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                self.socket.recv(PATIENCE)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code, closed.value.rcvd.reason


class Site:
    """A server with the endpoint, and the module to publish with."""

    def __init__(self, server: Serving, topics: Any, sockets: ExitStack) -> None:
        self.server = server
        self.topics = topics
        self._sockets = sockets

    def open(self, path: str = "/", **headers: str) -> Browser:
        host, port = self.server.address
        url = f"ws://{host}:{port}{path}"
        connection = connect(url, additional_headers=headers, compression=None, close_timeout=1)
        return Browser(self._sockets.enter_context(connection))

    def drain(self) -> None:
        feed_of = self.topics.feed_of
        self.server.run(lambda: feed_of(*self.topics._channel.open()).close())

    def publish(self, *data: Any, topic: str = "a") -> None:
        for each in data:
            self.topics.publish(topic, each)


class Begin:
    """``begin(allow=…)`` serves the endpoint with these settings for topics."""

    def __init__(self, urlconf: Callable[..., None], stack: ExitStack, patch: Any) -> None:
        self._urlconf = urlconf
        self._stack = stack
        self._patch = patch

    def __call__(
        self, wrap: Callable[[Any], Any] | None = None, others: Any = None, **options: Any
    ) -> Site:
        # The names of sockets may not be long, so the folder is not the test's own.
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="tg-"))
        options = {"folder": folder, "allow": f"{__name__}.public", **options}
        self._urlconf(TWOGATE_TOPICS=options, **(others or {}))
        from twogate.django import topics
        from twogate.django.subscriptions import subscriptions

        channel = topics._Channel()
        self._patch.setattr(topics, "_channel", channel)
        self._stack.callback(_close, channel)
        application = wrap(subscriptions) if wrap else subscriptions
        server = self._stack.enter_context(serving(asgi=application))
        site = Site(server, topics, self._stack)
        self._stack.callback(site.drain)
        return site


def _close(channel: Any) -> None:
    channel.close()


@pytest.fixture
def begin(urlconf: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    with ExitStack() as stack:
        yield Begin(urlconf, stack, monkeypatch)


@pytest.fixture
def site(begin: Begin) -> Site:
    return begin()


def test_each_gets_the_topics_it_has(site: Site) -> None:
    one, both = site.open(), site.open()
    one.subscribe("a")
    both.subscribe("a", "b")
    site.publish(1, {"text": "hé\n"})
    site.publish(2, topic="b")
    site.publish(3, topic="c")
    assert [one.data(), one.data()] == [1, {"text": "hé\n"}]
    assert [both.data(), both.data(), both.data()] == [1, {"text": "hé\n"}, 2]
    both.say(type="unsubscribe", topics=["a"])
    both.say(type="ping")
    assert both.next() == {"type": "pong"}
    site.publish(4)
    site.publish(5, topic="b")
    message = both.next()
    assert message == {"type": "message", "id": message["id"], "topic": "b", "data": 5}
    assert one.data() == 4


def test_a_browser_that_comes_back_gets_what_it_missed_once(site: Site) -> None:
    first = site.open()
    began = first.subscribe("a")
    site.publish(1)
    last = first.next()["id"]
    first.socket.close()
    site.publish(2, 3)
    again = site.open()
    assert again.subscribe("a", after=last) == {"a": last}
    site.publish(4)
    assert [again.data() for _ in range(3)] == [2, 3, 4]
    # One that got nothing knows where it began.
    idle = site.open()
    idle.subscribe("a", after=began["a"])
    assert [idle.data() for _ in range(4)] == [1, 2, 3, 4]
    # Beginning anew with a topic gives nothing twice that still waits.
    idle.say(type="subscribe", topics=["a"], after=last)
    assert idle.next()["type"] == "subscribed"
    assert [idle.data() for _ in range(3)] == [2, 3, 4]


def test_several_topics_are_replayed_in_the_order_of_their_messages(site: Site) -> None:
    before = site.open().subscribe("a")["a"]
    for number in range(10):
        site.publish(number, topic="ab"[number % 2])
    browser = site.open()
    browser.subscribe("a", "b", after=before)
    assert [browser.data() for _ in range(10)] == list(range(10))


def test_who_was_away_for_too_long_is_told_which_topic_has_a_hole(begin: Begin) -> None:
    site = begin(keep=10)
    began = site.open().subscribe("a")["a"]
    site.publish(*range(200))
    browser = site.open()
    browser.subscribe("a", after=began)
    assert browser.next() == {"type": "reset", "topic": "a"}
    assert browser.data() > 0
    other = site.open()
    assert other.subscribe("b", after=began) == {"b": began}
    other.say(type="ping")
    assert other.next() == {"type": "pong"}


@pytest.mark.parametrize("allow", ["public", "public_async"])
def test_who_may_not_is_told_so_and_keeps_the_rest(begin: Begin, allow: str) -> None:
    browser = begin(allow=f"{__name__}.{allow}").open()
    browser.say(type="subscribe", topics=[SECRET, "a", "twogate.presence.a"])
    refused = [browser.next(), browser.next()]
    assert [(answer["type"], answer["topic"]) for answer in refused] == [
        ("denied", SECRET),
        ("denied", "twogate.presence.a"),
    ]
    assert "server's own" in refused[1]["reason"]
    assert list(browser.next()["topics"]) == ["a"]


def test_fifty_topics_are_the_most_for_one_socket(site: Site) -> None:
    browser = site.open()
    browser.subscribe(*map(str, range(50)))
    browser.say(type="subscribe", topics=["one more"])
    assert browser.next() == {
        "type": "denied", "topic": "one more", "reason": "50 topics are the most.",
    }  # fmt: skip
    browser.say(type="unsubscribe", topics=["0"])
    browser.subscribe("one more", "1")


@pytest.mark.parametrize(
    ("message", "code", "says"),
    [
        ("{", 4400, "not JSON"),
        ("[]", 4400, "JSON object"),
        ('{"type":"publish"}', 4400, '"subscribe"'),
        (b"{}", 1003, "text"),
        (json.dumps({"type": "ping", "more": "x" * 70_000}), 4400, "65536"),
    ],
)
def test_what_is_no_request_closes_with_a_reason(
    site: Site, message: str | bytes, code: int, says: str
) -> None:
    browser = site.open()
    browser.socket.send(message)
    closed, reason = browser.end()
    assert closed == code
    assert says in reason


@pytest.mark.parametrize("allow", ["only_ada", "only_ada_async"])
def test_the_user_is_who_logged_in_with_a_page(begin: Begin, allow: str) -> None:
    site = begin(
        allow=f"{__name__}.{allow}",
        others={
            "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
            "AUTHENTICATION_BACKENDS": [BACKEND],
            "MIDDLEWARE": [
                "django.contrib.sessions.middleware.SessionMiddleware",
                "django.middleware.csrf.CsrfViewMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
            ],
        },
    )
    ada, stranger = site.open(Cookie=f"sessionid={log_in()}"), site.open()
    ada.subscribe("a")
    stranger.say(type="subscribe", topics=["a"])
    assert stranger.next()["type"] == "denied"


def log_in() -> str:
    """The cookie of ada's session."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.signed_cookies import SessionStore

    session = SessionStore()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = "5", BACKEND
    session[HASH_SESSION_KEY] = User(pk=5, username="ada").get_session_auth_hash()
    session.save()
    return str(session.session_key)


def test_it_fits_into_channels_routing(begin: Begin) -> None:
    from channels.routing import URLRouter
    from django.contrib.auth.models import User
    from django.urls import path

    def routed(application: Any) -> Any:
        inner = URLRouter([path("live/", application)])

        async def logged_in(scope: Any, receive: Any, send: Any) -> None:
            await inner({**scope, "user": User(username="ada")}, receive, send)

        return logged_in

    for allow in "only_ada", "only_ada_async":
        browser = begin(routed, allow=f"{__name__}.{allow}").open("/live/")
        browser.subscribe("a")


def test_an_ordinary_request_is_told_what_the_address_is_for(site: Site) -> None:
    answer = site.server.ask(get("/"))
    assert answer.status == 426
    assert b"for WebSockets" in answer.body


def test_sockets_share_threads_and_connections(begin: Begin, database: Database) -> None:
    threads_seen.clear()
    site = begin(allow=f"{__name__}.asks_the_database")
    browsers = [site.open() for _ in range(60)]
    for browser in browsers:
        browser.subscribe("a")
    assert 0 < len(threads_seen) <= 10
    assert database.has_at_most(10)
    site.publish("all")
    assert [browser.data() for browser in browsers] == ["all"] * 60


def test_who_does_not_read_is_closed_with_the_number_to_come_back_from(begin: Begin) -> None:
    site = begin(keep=10_000)
    slow, quick = site.open(), site.open()
    slow.subscribe("a")
    quick.subscribe("a")
    numbers = []
    for number in range(2500):
        site.publish([number, "x" * 10_000])
        assert quick.data()[0] == number
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            numbers.append(json.loads(slow.socket.recv(PATIENCE)))
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013
    assert closed.value.rcvd.reason.endswith(f"subscribe again after {numbers[-1]['id']}")
    again = site.open()
    again.subscribe("a", after=numbers[-1]["id"])
    got = [number["data"][0] for number in numbers]
    while len(got) < 2500:
        got.append(again.data()[0])
    assert got == list(range(2500))


def test_a_server_that_drains_says_so(site: Site) -> None:
    browser, late = site.open(), site.open()
    browser.subscribe("a")
    site.publish("last")
    assert browser.data() == "last"
    site.drain()
    assert browser.end() == (1012, "the server is restarting")
    late.say(type="subscribe", topics=["a"])
    assert late.end()[0] == 1012


# Presence.


@pytest.fixture
def hall(begin: Begin) -> Site:
    return begin(presence=f"{__name__}.by_name", grace=0.2)


def enter(site: Site, name: str) -> Browser:
    browser = site.open(f"/?name={name}")
    browser.subscribe("hall", presence=True)
    return browser


def names(browser: Browser, *known: str) -> Iterator[set[str]]:
    """Who is here, after each thing that a browser is told."""
    here = set(known)
    while True:
        answer = browser.next()
        assert (answer["type"], answer["topic"]) == ("presence", "hall"), answer
        if "here" in answer:
            here = {each["name"] for each in answer["here"]}
        else:
            here -= {each["name"] for each in answer["left"]}
            here |= {each["name"] for each in answer["joined"]}
        yield here


def wait_for(told: Iterator[set[str]], *expected: str) -> None:
    for here in told:
        if here == set(expected):
            return


def test_who_is_here_is_told_to_who_wants_to_know(hall: Site) -> None:
    ada = enter(hall, "ada")
    told = names(ada)
    wait_for(told, "ada")
    bob, again = enter(hall, "bob"), enter(hall, "bob")
    wait_for(told, "ada", "bob")
    assert hall.topics.here("hall") == [{"name": "ada"}, {"name": "bob"}]
    assert asyncio.run(hall.topics.ahere("elsewhere")) == []
    bob.socket.close()
    again.say(type="unsubscribe", topics=["hall"])
    wait_for(told, "ada")
    hall.open().subscribe("hall")  # has no name
    eve = hall.open("/?name=eve")
    eve.subscribe("hall")  # does not want to know, but is here
    wait_for(told, "ada", "eve")
    eve.say(type="ping")
    assert eve.next() == {"type": "pong"}


def test_coming_back_at_once_is_no_news(begin: Begin) -> None:
    site = begin(presence=f"{__name__}.by_name", grace=60)
    ada = enter(site, "ada")
    told = names(ada)
    wait_for(told, "ada")
    bob = enter(site, "bob")
    wait_for(told, "ada", "bob")
    bob.socket.close()
    bob = enter(site, "bob")
    enter(site, "eve")
    assert next(told) == {"ada", "bob", "eve"}


def test_a_member_may_be_known_by_an_id(begin: Begin) -> None:
    site = begin(presence=f"{__name__}.by_id")
    watcher = site.open("/?mood=calm")
    watcher.subscribe("hall", presence=True)
    site.open("/?mood=glad").subscribe("hall")
    eventually(lambda: site.topics.here("hall") == [{"id": 7, "mood": "glad"}])


def by_id(request: HttpRequest, topic: str) -> Any:
    return {"id": 7, "mood": request.GET["mood"]}
