"""Joining by the extension, and broadcasting from any thread to every loop of this process."""

from __future__ import annotations

import asyncio
import functools
import logging
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from twogate.errors import RealtimeError
from twogate.protocol.websocket import encode_message
from twogate.realtime import broadcast, join, leave, topics
from twogate.realtime.hub import Hub


def on_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **fixtures: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await test(*args, **fixtures)

        asyncio.run(bounded())

    return run


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    topics.carry(None)
    yield
    topics.carry(None)
    assert topics._inboxes == ()


class Reader:
    """A sink that keeps the text of what it takes, and the thread it was offered on."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.threads: set[int] = set()

    def offer(self, frame: bytes) -> bool:
        self.texts.append(frame[2:].decode())
        self.threads.add(threading.get_ident())
        return True


class Notes:
    """A carrier that notes what it is asked."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes]] = []
        self.listened = 0

    def publish(self, topic: str, frame: bytes) -> None:
        self.published.append((topic, frame))

    def listen(self) -> None:
        self.listened += 1

    def statistics(self) -> int:
        return len(self.published)


class Site:
    """A hub attached to the running loop, with one reader of the topic ``t``."""

    def __init__(self) -> None:
        self.hub, self.reader = Hub(), Reader()
        self.hub.join("t", self.reader)
        self.detach = topics.attach(self.hub, asyncio.get_running_loop())

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *exception: object) -> None:
        self.detach()


# Joining.


def scope_with(calls: list[tuple[str, str]]) -> dict[str, Any]:
    functions = {name: functools.partial(_note, calls, name) for name in ("join", "leave")}
    return {"type": "websocket", "extensions": {"twogate.broadcast": functions}}


def _note(calls: list[tuple[str, str]], name: str, topic: str) -> None:
    calls.append((name, topic))


def test_a_consumer_joins_by_the_extension_of_its_scope() -> None:
    calls: list[tuple[str, str]] = []
    consumer = SimpleNamespace(scope=scope_with(calls))
    join(consumer, "a")
    leave(consumer.scope, "b")
    assert calls == [("join", "a"), ("leave", "b")]


@pytest.mark.parametrize(
    "scope", [{"type": "websocket"}, {"type": "websocket", "extensions": {}}, None]
)
def test_another_server_is_an_error_that_says_what_to_do(scope: object) -> None:
    for function in (join, leave):
        with pytest.raises(RealtimeError, match=r"twogate\.broadcast.*twogate serve"):
            function(SimpleNamespace(scope=scope), "a")


def test_a_page_cannot_join() -> None:
    with pytest.raises(RealtimeError, match=r"Only a WebSocket .* type 'http'"):
        join({"type": "http", "extensions": {}}, "a")


# Broadcasting.


def say(name: str, count: int) -> None:
    for number in range(count):
        broadcast("t", f"{name}{number}")


@on_loop
async def test_on_its_own_loop_it_is_there_at_once() -> None:
    with Site() as site:
        broadcast("t", "now")
        assert site.reader.texts == ["now"]


@on_loop
async def test_from_threads_it_is_handed_over_in_each_thread_s_order() -> None:
    with Site() as site:
        await asyncio.gather(*(asyncio.to_thread(say, name, 200) for name in "abc"))
        await until(lambda: len(site.reader.texts) == 600)
        for name in "abc":
            said = [text for text in site.reader.texts if text.startswith(name)]
            assert said == [f"{name}{number}" for number in range(200)]
        assert site.reader.threads == {threading.get_ident()}


@on_loop
async def test_what_a_thread_has_said_before_stays_before() -> None:
    with Site() as site:
        thread = threading.Thread(target=broadcast, args=("t", "first"))
        thread.start()
        thread.join()  # the loop has not seen it yet
        broadcast("t", "second")
        assert site.reader.texts == []
        await until(lambda: len(site.reader.texts) == 2)
        assert site.reader.texts == ["first", "second"]


@on_loop
async def test_every_loop_of_the_process_is_reached() -> None:
    heard, ready, done = [], threading.Event(), threading.Event()

    async def other_server() -> None:
        with Site() as site:
            ready.set()
            await until(lambda: site.reader.texts)
            heard.extend(site.reader.texts)
        done.set()

    thread = threading.Thread(target=asyncio.run, args=(other_server(),))
    thread.start()
    await asyncio.to_thread(ready.wait, 10)
    with Site() as site:
        broadcast("t", "both")
        await asyncio.to_thread(done.wait, 10)
        thread.join(10)
        assert heard == site.reader.texts == ["both"]


@on_loop
async def test_a_flood_gives_others_their_turn() -> None:
    with Site() as site:
        for _ in range(5):
            site.hub.join("t", Reader())
        thread = threading.Thread(target=say, args=("", 2000))
        thread.start()
        thread.join()  # this loop has had no turn yet
        turns = 0
        while len(site.reader.texts) < 2000:
            await asyncio.sleep(0)
            turns += 1
        assert turns > 5
        assert site.hub.statistics().delivered == 12_000


@on_loop
async def test_a_flood_is_bounded_and_what_is_lost_is_counted() -> None:
    with Site() as site:

        def flood() -> None:
            for _ in range(40):
                broadcast("t", b"x" * (1 << 20))

        thread = threading.Thread(target=flood)
        thread.start()
        thread.join()
        await until(lambda: len(site.reader.texts) + site.hub.statistics().lost == 40)
        assert len(site.reader.texts) == 15
        broadcast("t", "and on it goes")
        assert site.reader.texts[-1] == "and on it goes"


@on_loop
async def test_other_processes_are_reached_by_what_was_handed_in() -> None:
    carrier = Notes()
    topics.carry(carrier)
    with Site() as site:
        broadcast("t", "to all")
        topics.deliver_here("t", encode_message("from another process"))
        assert carrier.published == [("t", encode_message("to all"))]
        assert site.reader.texts == ["to all", "from another process"]
    assert topics.statistics() == 1


@on_loop
async def test_it_listens_once_somebody_has_joined_and_looks_after_it() -> None:
    carrier = Notes()
    topics.carry(carrier)
    hub, one, other = Hub(), Reader(), Reader()
    detach = topics.attach(hub, asyncio.get_running_loop())
    hub.tick(1.0)
    assert carrier.listened == 0
    hub.join("t", one)
    hub.join("u", other)
    assert carrier.listened == 1
    hub.tick(2.0)
    assert carrier.listened == 2
    hub.drop(one)
    hub.drop(other)
    hub.tick(3.0)
    assert carrier.listened == 2
    hub.join("t", one)
    assert carrier.listened == 3
    hub.drop(one)
    detach()


PROJECT = """
import sys
from twogate.realtime import topics
assert topics._find_carrier() is None and "django" not in sys.modules
from django.conf import settings
assert topics._find_carrier() is None and topics.statistics() is None  # not yet
settings.configure(SECRET_KEY="x")
carrier = topics._find_carrier()
assert carrier is not None and topics._find_carrier() is carrier
assert topics.statistics() == carrier.statistics()
topics.carry(None)
assert topics._find_carrier() is None
"""


def test_a_django_project_has_a_carrier_once_there_are_settings() -> None:
    subprocess.run([sys.executable, "-c", PROJECT], check=True, timeout=15)


FORK = """
import asyncio, os, warnings
from twogate.realtime import broadcast, topics
from twogate.realtime.hub import Hub
published = []
class Carrier:
    def publish(self, topic, frame): published.append(topic)
topics.carry(Carrier())
loop = asyncio.new_event_loop()
topics.attach(Hub(), loop)
with topics._changing, topics._inboxes[0]._lock:  # as if other threads were at it
    child = os.fork()
    if child == 0:
        broadcast("t", "from the child")
        os._exit(published != ["t"] or topics._inboxes != ())
    assert os.waitpid(child, 0)[1] == 0
loop.close()
"""


def test_a_fork_has_none_of_its_parent_s_loops() -> None:
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=15)


def test_where_nobody_can_hear_it_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "_silence_told", False)
    with caplog.at_level(logging.WARNING, "twogate.realtime"):
        broadcast("t", "hello?")
        broadcast("t", "hello?")
    assert [message[:28] for message in caplog.messages] == ["broadcast() reaches nobody: "]


@pytest.mark.parametrize(
    ("topic", "message", "error"),
    [
        (5, "x", TypeError),
        ("", "x", ValueError),
        ("t", {"a": 1}, TypeError),
        ("t", None, TypeError),
        ("t", "\ud800", ValueError),
        ("t", b"x" * topics.MAX_FRAME, ValueError),
    ],
)
def test_mistakes_are_told_to_who_makes_them(
    topic: Any, message: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        broadcast(topic, message)


def test_a_loop_that_is_closed_is_no_error() -> None:
    detach = topics.attach(Hub(), asyncio.new_event_loop())
    loop = topics._inboxes[0]._loop
    loop.close()
    broadcast("t", "too late")
    detach()
