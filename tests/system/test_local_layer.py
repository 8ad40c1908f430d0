"""The local layer in a served project: two workers, a sync view and a management command."""

from __future__ import annotations

import os
import signal
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from .conftest import Manage, Serve, Site
from .workers import asleep

FILES = {
    "mysite/consumers.py": """
import os
from channels.generic.websocket import AsyncWebsocketConsumer

class News(AsyncWebsocketConsumer):
    groups = ["news"]

    async def connect(self):
        await self.accept()
        await self.send(str(os.getpid()))

    async def receive(self, text_data):
        await self.channel_layer.group_send("news", {"type": "news", "text": text_data})

    async def news(self, event):
        await self.send(event["text"])
""",
    "mysite/asgi.py": """
import os
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
django_application = get_asgi_application()
from mysite.consumers import News
application = ProtocolTypeRouter(
    {"http": django_application, "websocket": URLRouter([path("news/", News.as_asgi())])}
)
""",
    "mysite/urls.py": """
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.http import HttpResponse
from django.urls import path

def publish(request):
    layer = get_channel_layer()
    async_to_sync(layer.group_send)("news", {"type": "news", "text": request.GET["text"]})
    return HttpResponse()

urlpatterns = [path("publish/", publish)]
""",
    "mysite/management/commands/publish.py": """
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.core.management.base import BaseCommand

class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("text")

    def handle(self, text, **options):
        layer = get_channel_layer()
        async_to_sync(layer.group_send)("news", {"type": "news", "text": text})
""",
}

SETTINGS = """
INSTALLED_APPS += ["channels", "mysite"]
ASGI_APPLICATION = "mysite.asgi.application"
CHANNEL_LAYERS = {{"default": {{
    "BACKEND": "twogate.realtime.LocalChannelLayer", "CONFIG": {{"folder": {folder!r}}},
}}}}
"""

DEADLINE = 15.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """For the runtime folder; pytest's own has too long a path for sockets."""
    with tempfile.TemporaryDirectory(prefix="twogate-") as name:
        yield Path(name)


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listen(site: Site, sockets: ExitStack, count: int) -> dict[int, ClientConnection]:
    """One socket on each of so many workers, by the worker's process."""
    url = f"ws://{site.host}:{site.port}/news/"
    found: dict[int, ClientConnection] = {}
    while len(found) < count:
        with asleep(found):
            socket = sockets.enter_context(connect(url, compression=None))
            pid = int(socket.recv(DEADLINE))
        assert pid not in found
        found[pid] = socket
    return found


def test_workers_views_and_commands_reach_each_other(
    start_project: Path, serve: Serve, manage: Manage, sockets: ExitStack, folder: Path
) -> None:
    for name, text in FILES.items():
        (start_project / name).parent.mkdir(parents=True, exist_ok=True)
        (start_project / name).write_text(text)
    with (start_project / "mysite/settings.py").open("a") as settings:
        settings.write(SETTINGS.format(folder=str(folder)))
    with serve(start_project, "--workers=2") as site:
        ears = listen(site, sockets, 2)
        next(iter(ears.values())).send("from a socket")
        assert [ear.recv(DEADLINE) for ear in ears.values()] == ["from a socket"] * 2
        with urllib.request.urlopen(f"{site.url}/publish/?text=from+a+view", timeout=DEADLINE):
            assert [ear.recv(DEADLINE) for ear in ears.values()] == ["from a view"] * 2
        manage(start_project, "publish", "from a command")
        assert [ear.recv(DEADLINE) for ear in ears.values()] == ["from a command"] * 2

        victim = next(iter(ears))
        os.kill(victim, signal.SIGKILL)
        survivor = next(ear for pid, ear in ears.items() if pid != victim)
        again = listen(site, sockets, 2)
        assert victim not in again
        manage(start_project, "publish", "after a death")
        for ear in (survivor, *again.values()):
            assert ear.recv(DEADLINE) == "after a death"
        assert len(list(folder.glob("*/*.sock"))) == 2
    assert list(folder.glob("*/*.sock")) == []
