"""WebSockets end with the session they were opened with, in every worker, and only those."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.http import eventually
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from .conftest import Manage, Serve, Site
from .test_deploys import notes, run

SETTINGS = """
INSTALLED_APPS += ["channels"]
ASGI_APPLICATION = "mysite.asgi.application"
SESSION_ENGINE = "django.contrib.sessions.backends.%s"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
                      "LOCATION": BASE_DIR / "cache"}}
TWOGATE_TOPICS = {"folder": %r}
%s
"""
URLS = """
from django.contrib.auth import alogin, alogout, get_user_model, login, logout
from django.contrib.auth import update_session_auth_hash
from django.http import HttpResponse
from django.urls import path

User = get_user_model()


def log_in(request, name):
    login(request, User.objects.get_or_create(username=name)[0])
    if "seconds" in request.GET:
        request.session.set_expiry(int(request.GET["seconds"]))
    return HttpResponse("in")


def log_out(request):
    logout(request)
    return HttpResponse("out")


async def alog_out(request):
    await alogout(request)
    return HttpResponse("out")


def change_password(request):
    request.user.set_password(request.GET["to"])
    request.user.save()
    update_session_auth_hash(request, request.user)
    return HttpResponse("changed")


def rename(request):
    request.user.first_name = "Ann"
    request.user.save()
    return HttpResponse("renamed")


def extend(request):
    request.session.set_expiry(600)
    return HttpResponse("extended")


urlpatterns = [
    path("login/<name>/", log_in),
    path("logout/", log_out),
    path("alogout/", alog_out),
    path("password/", change_password),
    path("rename/", rename),
    path("extend/", extend),
]
"""
ASGI = """
import os

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
http = get_asgi_application()


class Consumer(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        await self.send(str(os.getpid()))

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data)

    async def disconnect(self, code):
        with open("notes", "a") as notes:
            notes.write(f"disconnect-{code} {os.getpid()}\\n")


application = ProtocolTypeRouter({"http": http, "websocket": Consumer.as_asgi()})
"""
LOGGED_OUT = (1008, "logged out")
EXPIRED = (1008, "session expired")


@pytest.fixture
def project(start_project: Path, manage: Manage) -> Iterator[Callable[..., Path]]:
    """Makes the project, with an engine for its sessions and more settings."""
    with tempfile.TemporaryDirectory(prefix="tg-") as runtime:

        def make(engine: str = "db", more: str = "") -> Path:
            package = start_project / "mysite"
            (package / "urls.py").write_text(URLS)
            (package / "asgi.py").write_text(ASGI)
            with (package / "settings.py").open("a") as settings:
                settings.write(SETTINGS % (engine, runtime, more))
            manage(start_project, "migrate", "--verbosity=0")
            return start_project

        yield make


class Browser:
    """A session of its own, and its WebSockets."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._cookie = ""
        self.sockets: list[ClientConnection] = []
        self.workers: Counter[str] = Counter()

    def get(self, path: str) -> str:
        connection = http.client.HTTPConnection(self._site.host, self._site.port, timeout=20)
        with contextlib.closing(connection):
            headers = {"Connection": "close"} | ({"Cookie": self._cookie} if self._cookie else {})
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read().decode()
            assert response.status == 200, body
            for given in response.headers.get_all("Set-Cookie", []):
                if given.startswith("sessionid="):
                    self._cookie = given.partition(";")[0]
            return body

    async def ask(self, path: str) -> None:
        await asyncio.to_thread(self.get, path)

    async def open(self, **options: Any) -> ClientConnection:
        headers = {"Cookie": f"other=1; {self._cookie}"} if self._cookie else {}
        url = f"ws://{self._site.host}:{self._site.port}/"
        socket = await connect(url, additional_headers=headers, open_timeout=20, **options)
        self.workers[str(await socket.recv())] += 1
        self.sockets.append(socket)
        return socket

    async def open_in_all_workers(self) -> None:
        while len(self.workers) < 2:  # several at a time, or one worker may get them all
            await asyncio.gather(*(self.open() for _ in range(8)))
            assert len(self.sockets) < 400

    async def ends(self) -> list[tuple[int | None, str | None]]:
        """Wait until all are closed."""
        for socket in self.sockets:
            await asyncio.wait_for(socket.wait_closed(), 20)
        return [(socket.close_code, socket.close_reason) for socket in self.sockets]

    async def are_open(self) -> None:
        for socket in self.sockets:
            await socket.send("still here")
            assert await asyncio.wait_for(socket.recv(), 20) == "still here"

    async def close(self) -> None:
        await asyncio.gather(*(socket.close() for socket in self.sockets))


@contextlib.asynccontextmanager
async def browsers(site: Site, count: int) -> AsyncIterator[list[Browser]]:
    found = [Browser(site) for _ in range(count)]
    try:
        yield found
    finally:
        for browser in found:
            await browser.close()


@pytest.mark.parametrize("logout", ["/logout/", "/alogout/"])
def test_a_logout_closes_the_sockets_of_that_session_in_every_worker(
    project: Callable[..., Path], serve: Serve, logout: str
) -> None:
    folder = project()

    async def main(site: Site) -> None:
        async with browsers(site, 4) as (laptop, phone, other, stranger):
            await laptop.ask("/login/ann/")
            await phone.ask("/login/ann/")
            await other.ask("/login/bob/")
            for browser in (laptop, phone, other, stranger):
                await browser.open_in_all_workers()
            await laptop.ask(logout)
            assert await laptop.ends() == [LOGGED_OUT] * len(laptop.sockets)
            for browser in (phone, other, stranger):
                await browser.are_open()
            assert notes(folder) == {"disconnect-1008": len(laptop.sockets)}

    with serve(folder, "--workers=2", "--websocket-per-user=0") as site:
        run(main(site))


def test_a_new_password_closes_the_sockets_of_all_other_sessions(
    project: Callable[..., Path], serve: Serve
) -> None:
    folder = project()

    async def main(site: Site) -> None:
        async with browsers(site, 3) as (laptop, phone, other):
            await laptop.ask("/login/ann/")
            await phone.ask("/login/ann/")
            await other.ask("/login/bob/")
            for browser in (phone, other):
                await browser.open_in_all_workers()
            await laptop.ask("/rename/")
            await laptop.ask("/password/?to=another")
            assert await phone.ends() == [LOGGED_OUT] * len(phone.sockets)
            # The one that changed it goes on with a new key, which the change did not harm.
            await laptop.open_in_all_workers()
            await other.are_open()
            await laptop.are_open()

    with serve(folder, "--workers=2", "--websocket-per-user=0") as site:
        run(main(site))


@pytest.mark.parametrize("engine", ["db", "cached_db", "cache"])
def test_a_session_that_expires_closes_its_sockets_unless_it_was_extended(
    project: Callable[..., Path], serve: Serve, engine: str
) -> None:
    folder = project(engine)

    async def main(site: Site) -> None:
        async with browsers(site, 2) as (short, extended):
            await short.ask("/login/ann/?seconds=3")
            await extended.ask("/login/bob/?seconds=3")
            for browser in (short, extended):
                await browser.open()
                await browser.open()
            await extended.ask("/extend/")
            assert await short.ends() == [EXPIRED] * 2
            await extended.are_open()
            await extended.ask("/logout/")
            assert await extended.ends() == [LOGGED_OUT] * 2

    with serve(folder) as site:
        run(main(site))


def test_a_project_may_want_them_to_go_on(project: Callable[..., Path], serve: Serve) -> None:
    folder = project("db", "TWOGATE_CLOSE_WITH_SESSION = False")

    async def main(site: Site) -> None:
        async with browsers(site, 1) as (browser,):
            await browser.ask("/login/ann/")
            await browser.open()
            await browser.open()
            with pytest.raises(InvalidStatus) as refused:
                await browser.open()
            assert refused.value.response.status_code == 429
            await browser.ask("/logout/")
            await browser.are_open()

    with serve(folder, "--websocket-per-user=2") as site:
        run(main(site))
        refused = "1 WebSocket handshake(s) were refused because their user has 2"
        eventually(lambda: refused in site.log)


def test_a_page_of_another_site_opens_nothing(project: Callable[..., Path], serve: Serve) -> None:
    folder = project()

    async def main(site: Site) -> None:
        async with browsers(site, 1) as (browser,):
            await browser.open(origin=f"http://localhost:{site.port}")
            with pytest.raises(InvalidStatus) as refused:
                await browser.open(origin="https://evil.example")
            assert refused.value.response.status_code == 403
            await browser.are_open()

    with serve(folder) as site:
        run(main(site))
        eventually(lambda: "'https://evil.example'" in site.log)

    with serve(folder, "--websocket-origins=https://evil.example") as site:

        async def listed() -> None:
            async with browsers(site, 1) as (browser,):
                await browser.open(origin="https://evil.example")

        run(listed())
