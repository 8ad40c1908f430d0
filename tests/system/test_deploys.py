"""A deploy under real clients: WebSockets, streams of events and pages, while SIGHUP rolls."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from .conftest import Serve, Site
from .workers import asleep

SOCKETS = 200
ENDLESS = 5  # streams of each kind
SUBSCRIBERS = 10
WINDOW = 3.0
GRACE = 30.0

SETTINGS = """
SECRET_KEY = "deploys"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "site_urls"
ASGI_APPLICATION = "site_asgi.application"
INSTALLED_APPS = ["channels"]
TWOGATE_TOPICS = {"allow": "site_urls.may_subscribe", "folder": %r}
"""
URLS = """
import asyncio, os, time

from django.core.signals import request_finished
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

from twogate.django.topics import events, publish


def note(what):
    with open("notes", "a") as notes:
        notes.write(f"{what} {os.getpid()}\\n")


def may_subscribe(request, topic):
    return True


def say(request):
    publish("news", request.GET["text"])
    return HttpResponse("said")


def page(request):
    time.sleep(0.2)
    return HttpResponse("page")


def sync_stream(request):
    def pieces():
        try:
            while True:
                yield b"data: tick\\n\\n"
                time.sleep(0.1)
        finally:
            note("sync-closed")

    return StreamingHttpResponse(pieces(), content_type="text/event-stream")


async def async_stream(request):
    async def pieces():
        try:
            yield b"data: begun\\n\\n"
            await asyncio.Event().wait()
        finally:
            note("async-closed")

    return StreamingHttpResponse(pieces(), content_type="text/event-stream; charset=utf-8")


async def quiet_stream(request):
    async def pieces():
        note("quiet-begun")
        try:
            await asyncio.Event().wait()
            yield b""
        finally:
            note("quiet-closed")

    return StreamingHttpResponse(pieces(), content_type="text/event-stream")


def finished(**_):
    note("finished")


request_finished.connect(finished)
urlpatterns = [
    path("events/", events),
    path("say/", say),
    path("page/", page),
    path("sync/", sync_stream),
    path("async/", async_stream),
    path("quiet/", quiet_stream),
]
"""
ASGI = """
import os

from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
http = get_asgi_application()

from site_urls import note


class Consumer(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        await self.send(str(os.getpid()))

    async def disconnect(self, code):
        note(f"disconnect-{code}")


class SyncConsumer(WebsocketConsumer):
    def connect(self):
        self.accept()
        self.send(str(os.getpid()))

    def disconnect(self, code):
        note(f"disconnect-{code}")


routes = [path("socket/", Consumer.as_asgi()), path("sync/", SyncConsumer.as_asgi())]
application = ProtocolTypeRouter({"http": http, "websocket": URLRouter(routes)})
"""
MANAGE = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")\n'


@contextmanager
def served(serve: Serve, folder: Path, *options: str) -> Iterator[Site]:
    # The names of sockets may not be long, so the runtime folder is not in the test's own.
    with tempfile.TemporaryDirectory(prefix="tg-") as runtime:
        for name, text in (
            ("site_settings", SETTINGS % runtime),
            ("site_urls", URLS),
            ("site_asgi", ASGI),
            ("manage", MANAGE),
        ):
            (folder / f"{name}.py").write_text(text)
        with serve(folder, "--access-logfile=off", *options) as site:
            yield site


def notes(folder: Path) -> Counter[str]:
    """How often each thing was noted."""
    file = folder / "notes"
    lines = file.read_text().splitlines() if file.exists() else []
    return Counter(line.split()[0] for line in lines)


def run(main: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(90):
            await main

    asyncio.run(bounded())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


class Stream:
    """A response that is read piece by piece, and whether it ended as it should."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.clean = False

    async def open(self, path: str, *headers: str) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._site.host, self._site.port)
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
        self._writer.write("\r\n".join(lines).encode())

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        return await self._reader.read()

    async def begin(self) -> None:
        """Read the head."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        self._chunked = b"chunked" in head

    async def chunk(self) -> bytes:
        """The next piece; nothing at a clean end, after which the server has closed."""
        if not self._chunked:
            assert await self._reader.read() == b""
        else:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            data = (await self._reader.readexactly(size + 2))[:-2]
            if data:
                return data
            assert await self._reader.read() == b""
        self.clean = True
        return b""

    async def to_the_end(self) -> None:
        with self:
            await self.begin()
            while await self.chunk():
                pass

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()


class Subscriber:
    """What a browser's ``EventSource`` does: it comes back with the number of its last event."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.got: list[str] = []
        self.connected = 0
        self.ready = False
        self._last = ""

    async def follow(self) -> None:
        while True:
            stream = Stream(self._site)
            headers = [f"Last-Event-ID: {self._last}"] if self._last else []
            await stream.open("/events/?topic=news", *headers)
            with stream:
                await stream.begin()
                self.connected += 1
                await self._read(stream)

    async def _read(self, stream: Stream) -> None:
        rest = b""
        while data := await stream.chunk():
            self.ready = True
            *events, rest = (rest + data).split(b"\n\n")
            for event in events:
                self._take(event.decode())

    def _take(self, event: str) -> None:
        fields = dict(line.split(": ", 1) for line in event.splitlines())
        if "id" in fields:
            self._last = fields["id"]
        if "id" in fields and "event" not in fields:
            self.got.append(fields["data"].rpartition(":")[2].strip('"}'))


class Pages:
    """Somebody who reads page after page."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.read = 0

    async def ask(self, path: str) -> None:
        stream = Stream(self._site)
        await stream.open(path, "Connection: close")
        with stream:
            answer = await stream.rest()
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        assert b"\r\npage\r\n" in answer or b"\r\nsaid\r\n" in answer, answer
        self.read += 1

    async def for_ever(self) -> None:
        while True:
            await self.ask("/page/")


class Crowd:
    """WebSockets, and how each of them ended."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.ends: list[tuple[int, str, float]] = []  # code, worker, when
        self._worker = ""  # the one that answered last

    @asynccontextmanager
    async def opened(self, count: int) -> AsyncIterator[None]:
        async with self._open(count):
            yield

    @asynccontextmanager
    async def opened_on_two(self, count: int) -> AsyncIterator[None]:
        """Half of them on the one worker, half on the other."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._open(1))
            with asleep({int(self._worker)}):
                await stack.enter_async_context(self._open(count // 2))
            with asleep({int(self._worker)}):
                await stack.enter_async_context(self._open(count - count // 2 - 1))
            yield

    @asynccontextmanager
    async def _open(self, count: int) -> AsyncIterator[None]:
        tasks = []
        ready = asyncio.Semaphore(0)
        for number in range(count):
            path = "sync" if number % 10 == 9 else "socket"
            tasks.append(asyncio.create_task(self._one(path, ready)))
            if number % 20 == 19 or number == count - 1:
                for _ in range(number % 20 + 1):
                    await ready.acquire()
        try:
            yield
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _one(self, path: str, ready: asyncio.Semaphore) -> None:
        url = f"ws://{self._site.host}:{self._site.port}/{path}/"
        async with connect(url, open_timeout=30, compression=None) as socket:
            worker = self._worker = str(await socket.recv())
            ready.release()
            try:
                await socket.recv()
            except ConnectionClosed as end:
                code = end.rcvd.code if end.rcvd is not None else 1006
                self.ends.append((code, worker, time.monotonic()))


def spread(crowd: Crowd) -> dict[str, float]:
    """Seconds between the first and the last end, for each worker."""
    times = defaultdict(list)
    for _, worker, when in crowd.ends:
        times[worker].append(when)
    return {worker: max(all_) - min(all_) for worker, all_ in times.items()}


def test_a_reload_ends_sockets_and_streams_gently_and_loses_nothing(
    serve: Serve, tmp_path: Path
) -> None:
    async def main(site: Site) -> None:
        crowd, pages = Crowd(site), Pages(site)
        subscribers = [Subscriber(site) for _ in range(SUBSCRIBERS)]
        streams = [Stream(site) for _ in range(2 * ENDLESS)]
        async with crowd.opened_on_two(SOCKETS), asyncio.TaskGroup() as group:
            following = [group.create_task(each.follow()) for each in subscribers]
            reading = [group.create_task(pages.for_ever()) for _ in range(4)]
            for number, stream in enumerate(streams):
                await stream.open(("/sync/", "/async/")[number % 2])
            ending = [group.create_task(stream.to_the_end()) for stream in streams]
            await until(lambda: all(each.ready for each in subscribers))
            site.process.send_signal(signal.SIGHUP)
            told = time.monotonic()
            said = 0
            while len(crowd.ends) < SOCKETS or not all(stream.clean for stream in streams):
                await pages.ask(f"/say/?text={said}")
                said += 1
                await asyncio.sleep(0.02)
            await until(lambda: "reloaded" in site.log)
            # One worker after the other, and each long before its time is over.
            assert time.monotonic() - told < 2 * GRACE / 3
            await pages.ask(f"/say/?text={said}")
            said += 1
            await until(lambda: all(len(each.got) >= said for each in subscribers))
            for task in [*following, *reading]:
                task.cancel()
            await asyncio.wait(ending)
        assert Counter(code for code, *_ in crowd.ends) == {1012: SOCKETS}
        widths = spread(crowd)
        assert len(widths) == 2
        assert all(0.5 * WINDOW < width < 2 * WINDOW for width in widths.values()), widths
        assert notes(tmp_path)["disconnect-1012"] == SOCKETS
        assert notes(tmp_path)["sync-closed"] == notes(tmp_path)["async-closed"] == ENDLESS
        assert [each.got for each in subscribers] == [[str(n) for n in range(said)]] * SUBSCRIBERS
        assert all(each.connected > 1 for each in subscribers)
        assert pages.read > said

    options = ("--workers=2", f"--graceful-timeout={GRACE:g}", f"--websocket-close-window={WINDOW}")
    with served(serve, tmp_path, *options) as site:
        run(main(site))


def test_with_little_time_all_are_told_at_once(serve: Serve, tmp_path: Path) -> None:
    async def main(site: Site) -> None:
        crowd = Crowd(site)
        async with crowd.opened(SOCKETS):
            site.process.send_signal(signal.SIGTERM)
        assert Counter(code for code, *_ in crowd.ends) == {1012: SOCKETS}
        await until(lambda: site.process.poll() is not None)
        assert notes(tmp_path)["disconnect-1012"] == SOCKETS

    with served(serve, tmp_path, "--workers=1", "--graceful-timeout=0") as site:
        run(main(site))


def test_a_worker_that_has_served_enough_says_goodbye_too(serve: Serve, tmp_path: Path) -> None:
    async def main(site: Site) -> None:
        crowd, pages = Crowd(site), Pages(site)
        async with crowd.opened(20):
            for _ in range(5):
                await pages.ask("/page/")
        assert Counter(code for code, *_ in crowd.ends) == {1012: 20}
        await until(lambda: notes(tmp_path)["disconnect-1012"] == 20)

    with served(serve, tmp_path, "--workers=1", "--max-requests=5") as site:
        run(main(site))


def test_a_stream_that_has_said_nothing_yet_ends_too(serve: Serve, tmp_path: Path) -> None:
    async def main(site: Site) -> None:
        stream = Stream(site)
        await stream.open("/quiet/")
        await until(lambda: notes(tmp_path)["quiet-begun"])
        begun = time.monotonic()
        site.process.send_signal(signal.SIGTERM)
        await stream.to_the_end()
        await until(lambda: site.process.poll() is not None)
        assert time.monotonic() - begun < GRACE / 2
        assert notes(tmp_path)["quiet-closed"] == notes(tmp_path)["finished"] == 1

    with served(serve, tmp_path, f"--graceful-timeout={GRACE:g}") as site:
        run(main(site))


@pytest.mark.parametrize("gateway", ["wsgi", "asgi"])
def test_a_sync_stream_ends_through_either_gateway(
    serve: Serve, tmp_path: Path, gateway: str
) -> None:
    async def main(site: Site) -> None:
        stream = Stream(site)
        await stream.open("/sync/")
        await stream.begin()
        assert await stream.chunk() == b"data: tick\n\n"
        begun = time.monotonic()
        site.process.send_signal(signal.SIGTERM)
        with stream:
            while await stream.chunk():
                pass
        await until(lambda: site.process.poll() is not None)
        assert time.monotonic() - begun < GRACE / 2
        assert notes(tmp_path)["sync-closed"] == notes(tmp_path)["finished"] == 1

    options = (f"--gateway={gateway}", f"--graceful-timeout={GRACE:g}")
    with served(serve, tmp_path, *options) as site:
        run(main(site))
