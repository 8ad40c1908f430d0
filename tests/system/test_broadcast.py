"""Broadcasts in a real project under `twogate serve`: consumers that join, views that speak."""

from __future__ import annotations

import asyncio
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from twogate.protocol.websocket import encode_frame, encode_message

from .conftest import Serve, Site
from .crowd import ask, crowd, resident, run, until

CROWD = 1000

CONSUMERS = """
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer

from twogate.realtime import broadcast, join, leave


class Room(AsyncWebsocketConsumer):
    async def connect(self):
        join(self, "room")
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        if text_data == "leave":
            leave(self, "room")
        await self.send(text_data=text_data)


class SyncRoom(WebsocketConsumer):
    def connect(self):
        join(self, "room")
        self.accept()

    def receive(self, text_data=None, bytes_data=None):
        if text_data == "leave":
            leave(self, "room")
            self.send(text_data="left")
        else:
            broadcast("room", text_data)
"""

VIEWS = """
from django.http import HttpResponse

from twogate.realtime import broadcast


def say(request):
    for number in range(int(request.GET["times"])):
        broadcast("room", f"{number} {request.GET['text']}")
    return HttpResponse("said")


async def asay(request):
    return say(request)


def flood(request):
    for _ in range(int(request.GET["times"])):
        broadcast("room", bytes(65536))
    return HttpResponse("said")
"""

URLS = """
from django.urls import path

from mysite import views

urlpatterns = [path(f"{name}/", getattr(views, name)) for name in ("say", "asay", "flood")]
"""

ASGI = """
import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
http = get_asgi_application()

from mysite.consumers import Room, SyncRoom

routes = [path("room/", Room.as_asgi()), path("sync/", SyncRoom.as_asgi())]
application = ProtocolTypeRouter({"http": http, "websocket": URLRouter(routes)})
"""

SETTINGS = """
INSTALLED_APPS += ["channels"]
ASGI_APPLICATION = "mysite.asgi.application"
"""


@pytest.fixture
def room_project(start_project: Path) -> Path:
    package = start_project / "mysite"
    for name, text in {
        "consumers": CONSUMERS, "views": VIEWS, "urls": URLS, "asgi": ASGI,
    }.items():  # fmt: skip
        (package / f"{name}.py").write_text(text)
    with (package / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    return start_project


@pytest.fixture(autouse=True)
def _many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_crowd_receives_the_same_in_order_from_threads_and_from_the_loop(
    room_project: Path, serve: Serve
) -> None:
    async def main(site: Site) -> None:
        async with crowd(site, CROWD) as members:
            said = b""
            for view, text in (("say", "from a thread"), ("asay", "from the loop ☃")):
                await ask(site, view, text=text, times=20)
                said += b"".join(encode_message(f"{number} {text}") for number in range(20))
                await until(lambda: all(len(each.received) >= len(said) for each in members))  # noqa: B023
            assert {bytes(member.received) for member in members} == {said}

    with serve(room_project, "--access-logfile=off") as site:
        run(main(site))


def test_sockets_that_close_in_the_middle_disturb_nobody(room_project: Path, serve: Serve) -> None:
    async def main(site: Site) -> None:
        async with crowd(site, 200) as members:
            saying = asyncio.ensure_future(ask(site, "say", text="x", times=2000))
            await until(lambda: any(member.received for member in members))
            leaving, staying = members[::2], members[1::2]
            for number, member in enumerate(leaving):
                if number % 2:
                    member.transport.write(b"\x88\x82" + bytes(4) + b"\x03\xe8")
                else:
                    member.transport.abort()
            await saying
            said = b"".join(encode_message(f"{number} x") for number in range(2000))
            await until(lambda: all(len(each.received) >= len(said) for each in staying))
            assert {bytes(member.received) for member in staying} == {said}
            await until(lambda: all(member.closed for member in leaving))

    with serve(room_project, "--access-logfile=off") as site:
        run(main(site))


@pytest.mark.parametrize("policy", ["close", "drop-oldest"])
def test_a_subscriber_that_stops_reading_is_bounded_and_the_others_are_served(
    room_project: Path, serve: Serve, policy: str
) -> None:
    rounds = 100  # of 256 KiB each: far more than the kernel's buffers and ours hold
    burst = 4 * len(encode_frame(2, bytes(65536)))

    async def main(site: Site) -> None:
        async with crowd(site, 20) as members, crowd(site, 1) as (stuck,):
            stuck.transport.pause_reading()
            before = resident(worker(site))
            for _ in range(rounds):
                await ask(site, "flood", times=4)
                await until(lambda: all(len(member.received) == burst for member in members))
                for member in members:
                    member.received.clear()
            assert resident(worker(site)) - before < 8 << 20
            await until(lambda: "Broadcasts: " in site.log)
            await ask(site, "say", text="after all that", times=1)
            last = encode_message("0 after all that")
            await until(lambda: all(member.received.endswith(last) for member in members))
            stuck.transport.resume_reading()
            if policy == "close":
                end = encode_frame(8, b"\x03\xf5this client reads too slowly")
                await until(lambda: stuck.received.endswith(end))
                assert counted(site)[1] == 1
            else:
                await until(lambda: stuck.received.endswith(last))
                assert counted(site)[1] == 0
            assert counted(site)[0] > 0
            assert len(stuck.received) < rounds * burst / 2

    options = ("--access-logfile=off", f"--websocket-slow-reader={policy}")
    with serve(room_project, *options, "--websocket-broadcast-buffer=300K") as site:
        run(main(site))


def worker(site: Site) -> int:
    """The only child of the supervisor."""
    task = f"/proc/{site.process.pid}/task/{site.process.pid}/children"
    (child,) = Path(task).read_text().split()
    return int(child)


def counted(site: Site) -> tuple[int, int]:
    """The first numbers of messages dropped and of sockets closed in the log."""
    found = re.search(r"(\d+) messages were dropped and (\d+) WebSockets closed", site.log)
    assert found is not None
    return int(found[1]), int(found[2])


def test_sync_and_async_consumers_join_with_the_same_line(room_project: Path, serve: Serve) -> None:
    async def main(site: Site) -> None:
        base = f"ws://{site.host}:{site.port}"
        async with (
            connect(f"{base}/room/", proxy=None) as one,
            connect(f"{base}/sync/", proxy=None) as other,
        ):
            await other.send("hello")
            assert [await one.recv(), await other.recv()] == ["hello", "hello"]
            await one.send("leave")
            assert await one.recv() == "leave"
            await other.send("still here?")
            assert await other.recv() == "still here?"
            await other.send("leave")
            assert await other.recv() == "left"
            await one.send("and nothing in between")
            assert await one.recv() == "and nothing in between"

    with serve(room_project) as site:
        run(main(site))


def test_under_another_way_of_serving_it_says_what_to_do(room_project: Path, serve: Serve) -> None:
    """What a middleware that drops the extensions makes of it is what another server is like."""
    asgi = room_project / "mysite" / "asgi.py"
    with asgi.open("a") as file:
        file.write(
            "\nrouter = application\n"
            "async def application(scope, receive, send):\n"
            "    scope.pop('extensions', None)\n"
            "    await router(scope, receive, send)\n"
        )

    async def main(site: Site) -> None:
        with pytest.raises(InvalidStatus, match="500"):
            await connect(f"ws://{site.host}:{site.port}/room/", proxy=None)
        await until(lambda: "Serve the project with “twogate serve”" in site.log)

    with serve(room_project) as site:
        run(main(site))
        site.log_file.write_text("")  # it holds the traceback that was wanted
