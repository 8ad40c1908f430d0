"""Broadcasts across two workers and other processes of a project: nothing is configured, a process
dies, one floods, a client stops reading; the others are served and the counters tell the truth."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from twogate.protocol.websocket import encode_frame, encode_message

from .conftest import Serve, Site, environment
from .crowd import Subscriber, ask, crowd, run, until
from .workers import asleep

FILES = {
    "mysite/consumers.py": """
import asyncio
import os

from channels.generic.websocket import AsyncWebsocketConsumer

from twogate.realtime import broadcast, join


class Room(AsyncWebsocketConsumer):
    async def connect(self):
        join(self, self.scope["path"])
        await self.accept()
        await self.send(str(os.getpid()))

    async def receive(self, text_data):
        times, text = text_data.split(" ", 1)
        for number in range(int(times)):
            broadcast("/room/", f"{number} {text}")
            if number % 50 == 49:
                await asyncio.sleep(0.005)
""",
    "mysite/asgi.py": """
import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
http = get_asgi_application()

from mysite.consumers import Room

routes = [path(f"{room}/", Room.as_asgi()) for room in ("room", "other")]
application = ProtocolTypeRouter({"http": http, "websocket": URLRouter(routes)})
""",
    "mysite/urls.py": """
import os
from dataclasses import asdict

from django.http import HttpResponse, JsonResponse
from django.urls import path

from twogate.realtime import broadcast, topics

def say(request):
    size = int(request.GET.get("size", 0))
    topic = request.GET.get("topic", "/room/")
    broadcast(topic, bytes(size) if size else request.GET["text"])
    return HttpResponse()

def numbers(request):
    (inbox,) = topics._inboxes
    hub, carried = asdict(inbox._hub.statistics()), asdict(topics.statistics())
    return JsonResponse({"pid": os.getpid(), "hub": hub, "carried": carried})

urlpatterns = [path("say/", say), path("numbers/", numbers)]
""",
    "mysite/management/commands/say.py": """
import json
from dataclasses import asdict

from django.core.management.base import BaseCommand

from twogate.realtime import broadcast, topics

class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("topic")
        parser.add_argument("--times", type=int, default=1)
        parser.add_argument("--size", type=int)
        parser.add_argument("text")

    def handle(self, topic, times, size, text, **options):
        for number in range(times):
            broadcast(topic, bytes(size) if size else text)
        topics._carrier.close()
        print(json.dumps(asdict(topics.statistics())))
""",
}

SETTINGS = """
INSTALLED_APPS += ["channels", "mysite"]
ASGI_APPLICATION = "mysite.asgi.application"
TWOGATE_TOPICS = {{"folder": {folder!r}}}
"""

OPTIONS = ("--access-logfile=off", "--workers=2")
_TIMES = 3000


@pytest.fixture
def folder() -> Iterator[Path]:
    """For the runtime folder; pytest's own has too long a path for sockets."""
    with tempfile.TemporaryDirectory(prefix="twogate-") as name:
        yield Path(name)


@pytest.fixture
def project(start_project: Path, folder: Path) -> Path:
    for name, text in FILES.items():
        (start_project / name).parent.mkdir(parents=True, exist_ok=True)
        (start_project / name).write_text(text)
    with (start_project / "mysite/settings.py").open("a") as settings:
        settings.write(SETTINGS.format(folder=str(folder)))
    return start_project


@asynccontextmanager
async def crowds(
    site: Site, each: int, room: str = "room"
) -> AsyncIterator[dict[int, list[Subscriber]]]:
    """So many sockets on each of two workers, by the worker's process."""
    async with contextlib.AsyncExitStack() as stack:
        found: dict[int, list[Subscriber]] = {}
        while len(found) < 2 or min(map(len, found.values())) < each:
            with asleep(pid for pid, members in found.items() if len(members) == each):
                (member,) = await stack.enter_async_context(crowd(site, 1, f"/{room}/"))
                await until(lambda: len(member.received) > 2)  # noqa: B023
            found.setdefault(int(take_frame(member)), []).append(member)
        yield found


def take_frame(member: Subscriber) -> bytes:
    """The first frame, which is short and complete."""
    end = 2 + member.received[1]
    assert len(member.received) >= end
    text = bytes(member.received[2:end])
    del member.received[:end]
    return text


async def numbers(site: Site) -> dict[int, Any]:
    """What the workers have counted, by process."""
    found: dict[int, Any] = {}
    while len(found) < 2:
        reader, writer = await asyncio.open_connection(site.host, site.port)
        writer.write(b"GET /numbers/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        told = json.loads(answer.partition(b"\r\n\r\n")[2])
        found[told.pop("pid")] = told
    return found


async def command(project: Path, *arguments: str) -> dict[str, Any]:
    """Run ``manage.py say``; what it has counted when it had closed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "manage.py",
        "say",
        *arguments,
        cwd=project,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    told: dict[str, Any] = json.loads(said)
    return told


def everybody(members: dict[int, list[Subscriber]]) -> list[Subscriber]:
    return [member for crowd in members.values() for member in crowd]


async def all_hear(members: list[Subscriber], expected: bytes) -> None:
    await until(lambda: all(len(member.received) >= len(expected) for member in members))
    assert {bytes(member.received) for member in members} == {expected}
    for member in members:
        member.received.clear()


def speak(member: Subscriber, times: int, text: str) -> None:
    message = f"{times} {text}".encode()
    member.transport.write(bytes([0x81, 0x80 | len(message)]) + bytes(4) + message)


def test_all_workers_are_reached_from_everywhere(project: Path, folder: Path, serve: Serve) -> None:
    async def main(site: Site) -> None:
        async with crowds(site, 5) as members:
            everyone = everybody(members)
            await ask(site, "say", text="from a sync view ☃")
            await all_hear(everyone, encode_message("from a sync view ☃"))
            for crowd in members.values():
                speak(crowd[0], 200, "from an async consumer")
                said = [encode_message(f"{n} from an async consumer") for n in range(200)]
                await all_hear(everyone, b"".join(said))
            told = await command(project, "/room/", "--times=100", "from a command")
            assert told["sent"] == 100 and told["peers"] == 0 and told["failed"] == 0
            assert set(told["dropped"].values()) == {0}
            await all_hear(everyone, encode_message("from a command") * 100)
            counted = await numbers(site)
            assert counted.keys() == members.keys()
            assert sum(each["carried"]["sent"] for each in counted.values()) == 401
            assert sum(each["carried"]["received"] for each in counted.values()) == 401 + 200
            for each in counted.values():
                assert each["hub"]["delivered"] == 5 * 501
                assert each["hub"]["dropped"] == each["hub"]["lost"] == 0

    with serve(project, *OPTIONS) as site:
        assert list(folder.glob("*/*.sock")) == [], "nobody has joined yet"
        run(main(site))
    assert list(folder.glob("*/*.sock")) == []


@pytest.mark.parametrize("victim", ["speaker", "listener"])
def test_a_worker_killed_in_the_middle_of_a_fan_out_leaves_the_others_served(
    project: Path, serve: Serve, victim: str
) -> None:
    said = [encode_message(f"{number} x") for number in range(_TIMES)]
    everything = b"".join(said)

    async def main(site: Site) -> None:
        async with crowds(site, 10) as members:
            speaker, listener = members
            doomed = speaker if victim == "speaker" else listener
            survivor = listener if victim == "speaker" else speaker
            speak(members[speaker][0], _TIMES, "x")
            await until(lambda: any(len(each.received) > 4000 for each in members[listener]))
            os.kill(doomed, signal.SIGKILL)
            await until(lambda: all(member.closed for member in members[doomed]))
            assert all(everything.startswith(each.received) for each in members[doomed])
            assert min(len(each.received) for each in members[doomed]) < len(everything)
            if survivor == speaker:
                await until(lambda: len(members[survivor][0].received) == len(everything))
            again = await command(project, "/room/", "after a death")
            assert again["peers"] == 0
            last = encode_message("after a death")
            left = members[survivor]
            await until(lambda: all(each.received.endswith(last) for each in left))
            (heard,) = {bytes(each.received.removesuffix(last)) for each in left}
            assert everything.startswith(heard)
            for member in left:
                member.received.clear()

            async with crowds(site, 3) as fresh:
                assert survivor in fresh and doomed not in fresh
                await command(project, "/room/", "and on it goes")
                await all_hear([*left, *everybody(fresh)], encode_message("and on it goes"))
                counted = (await numbers(site))[survivor]
            frames = heard.count(b" x")
            assert counted["hub"]["delivered"] == 10 * (frames + 1) + 13
            assert counted["hub"]["dropped"] == counted["hub"]["lost"] == 0
            assert counted["carried"]["failed"] == counted["carried"]["backlog"] == 0
            if survivor == speaker:
                assert frames == counted["carried"]["sent"] == _TIMES
                assert counted["carried"]["received"] == 2
            else:
                assert 0 < frames < _TIMES
                assert counted["carried"]["received"] == frames + 2

    with serve(project, *OPTIONS) as site:
        run(main(site))


def test_a_flood_is_bounded_and_every_message_is_accounted_for(project: Path, serve: Serve) -> None:
    times, size = 2000, 65536
    frame = len(encode_message(bytes(size)))

    async def main(site: Site) -> None:
        async with crowds(site, 3) as members, crowds(site, 2, "other") as others:
            before = {pid: peak(pid) for pid in members}
            flood = asyncio.ensure_future(
                command(project, "/room/", f"--times={times}", f"--size={size}", "-")
            )
            served = 0
            while not flood.done():
                await ask(site, "say", topic="/other/", text="still here?")
                await all_hear(everybody(others), encode_message("still here?"))
                served += 1
            told = await flood
            assert told["sent"] == times and told["backlog"] == 0
            assert all(peak(pid) - before[pid] < 64 << 20 for pid in members)
            # Of what passed the sender's bounds, each is delivered, dropped or lost by its worker.
            settled = await settle(site)
            received = sum(each["carried"]["received"] for each in settled.values())
            lost_by_sender = sum(told["dropped"].values())
            assert received + lost_by_sender == 2 * times + served
            for pid, each in settled.items():
                hub, carried = each["hub"], each["carried"]
                others_said = len(others[pid]) * served
                got = sum(len(member.received) for member in members[pid]) // frame
                assert hub["delivered"] == got + others_said
                passed = carried["received"] - hub["lost"] - (served - carried["sent"])
                assert hub["delivered"] + hub["dropped"] == 3 * passed + others_said
                assert hub["closed"] == 0

    options = (*OPTIONS, "--websocket-slow-reader=drop-oldest")
    with serve(project, *options) as site:
        run(main(site))


def peak(pid: int) -> int:
    """The most memory that was ever resident, in bytes."""
    (found,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found) * 1024


async def settle(site: Site) -> dict[int, Any]:
    """The workers' numbers once nothing changes or waits any more."""
    before = await numbers(site)
    while True:
        await asyncio.sleep(0.1)
        after = await numbers(site)
        if after == before and not any(each["hub"]["waiting"] for each in after.values()):
            return after
        before = after


@pytest.mark.parametrize("policy", ["close", "drop-oldest"])
def test_who_stops_reading_is_bounded_on_its_worker_and_the_others_get_everything(
    project: Path, serve: Serve, policy: str
) -> None:
    rounds = 60  # of 256 KiB each: far more than the kernel's buffers and ours hold
    burst = encode_frame(2, bytes(65536)) * 4

    async def main(site: Site) -> None:
        async with crowds(site, 6) as members:
            speaker, listener = members
            stuck = members[listener].pop()
            stuck.transport.pause_reading()
            for _ in range(rounds):
                for _ in range(4):
                    await ask(site, "say", size=65536)
                await all_hear(everybody(members), burst)
            await until(lambda: "Broadcasts: " in site.log)
            await ask(site, "say", text="after all that")
            last = encode_message("after all that")
            await all_hear(everybody(members), last)
            stuck.transport.resume_reading()
            end = encode_frame(8, b"\x03\xf5this client reads too slowly")
            await until(lambda: stuck.received.endswith(end if policy == "close" else last))
            counted = {pid: each["hub"] for pid, each in (await numbers(site)).items()}
            assert counted[listener]["closed"] == (policy == "close")
            assert counted[speaker]["closed"] == counted[speaker]["dropped"] == 0
            got = len(stuck.received.removesuffix(end).removesuffix(last)) // (len(burst) // 4)
            got += stuck.received.endswith(last)
            assert counted[listener]["delivered"] == 5 * (4 * rounds + 1) + got
            if policy == "drop-oldest":
                assert got + counted[listener]["dropped"] == 4 * rounds + 1
            assert re.search(r"[1-9]\d* messages were dropped", site.log)

    options = (*OPTIONS, f"--websocket-slow-reader={policy}")
    with serve(project, *options, "--websocket-broadcast-buffer=300K") as site:
        run(main(site))
