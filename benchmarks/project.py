"""Makes the Django project that every server serves: `startproject`, then a few views of ours.

Nothing is tuned: the seven default middlewares stay, `DEBUG` is off, `asgi.py` is what Channels'
documentation shows.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import environment
from tests.support.postgres import Postgres

NAME = "bench"

SETTINGS = """
# Added by the benchmark.
DEBUG = False
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS += ["channels"]
ASGI_APPLICATION = "bench.asgi.application"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
TWOGATE_TOPICS = {"allow": "bench.views.may_subscribe", "folder": str(BASE_DIR.parent)}
"""

#: One connection for each thread, kept for good: the same for every server.
SETTINGS_POSTGRES = """
from bench.settings import *

DATABASES = {{"default": {{**{entry!r}, "CONN_MAX_AGE": None}}}}
"""

LAYER = """
from bench.settings import *

CHANNEL_LAYERS = {{"default": {layer!r}}}
"""

LOCAL_LAYER = {"BACKEND": "twogate.realtime.LocalChannelLayer"}
REDIS_LAYER = "channels_redis.core.RedisChannelLayer"
PUBSUB_LAYER = "channels_redis.pubsub.RedisPubSubChannelLayer"

ASGI = """
import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.settings")
django_application = get_asgi_application()

from bench.consumers import websocket_urlpatterns

application = ProtocolTypeRouter(
    {"http": django_application, "websocket": URLRouter(websocket_urlpatterns)}
)
"""

CONSUMERS = '''
import os

from channels.generic.websocket import AsyncWebsocketConsumer
from django.urls import path

from twogate.realtime import broadcast, join


class Echo(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data)


class Group(AsyncWebsocketConsumer):
    """What one says, all hear: as Channels' tutorial does it. And which process this is."""

    async def connect(self):
        await self.channel_layer.group_add("bench", self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard("bench", self.channel_name)

    async def receive(self, text_data=None, bytes_data=None):
        if text_data.startswith("which process"):
            await self.send(text_data=f"{os.getpid():032}")
        else:
            await self.channel_layer.group_send("bench", {"type": "deliver", "text": text_data})

    async def deliver(self, event):
        await self.send(text_data=event["text"])


class Broadcast(AsyncWebsocketConsumer):
    """The same by Twogate's broadcast, which needs no channel layer."""

    async def connect(self):
        join(self, "bench")
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        if text_data.startswith("which process"):
            await self.send(text_data=f"{os.getpid():032}")
        else:
            broadcast("bench", text_data)


websocket_urlpatterns = [
    path("ws/echo/", Echo.as_asgi()),
    path("ws/group/", Group.as_asgi()),
    path("ws/broadcast/", Broadcast.as_asgi()),
]
'''

VIEWS = '''
import asyncio
import time

from django.contrib.contenttypes.models import ContentType
from django.http import HttpResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

PIECE = b"x" * 65536


def hello(request):
    return HttpResponse(b"Hello")


async def hello_async(request):
    return HttpResponse(b"Hello")


def may_subscribe(request, topic):
    return True


def publish(request):
    from twogate.django.topics import publish

    publish("bench", "Hello")
    return HttpResponse(b"Hello")


async def events(request):
    from twogate.django.topics import events

    return await events(request)


def sleep_1ms(request):
    time.sleep(0.001)
    return HttpResponse(b"Hello")


def sleep_50ms(request):
    time.sleep(0.05)
    return HttpResponse(b"Hello")


async def sleep_50ms_async(request):
    await asyncio.sleep(0.05)
    return HttpResponse(b"Hello")


async def query_async(request):
    row = await ContentType.objects.aget(pk=1)
    return HttpResponse(row.model)


def pieces(request):
    return range(int(request.GET["size"]) // len(PIECE))


def stream(request):
    return StreamingHttpResponse(PIECE for _ in pieces(request))


async def stream_async(request):
    async def body():
        for _ in pieces(request):
            yield PIECE

    return StreamingHttpResponse(body())


def naps(request):
    """Sleeping times that make the first seconds of reading slow: 1 MB/s."""
    slow_until = time.monotonic() + float(request.GET["slow"])
    while time.monotonic() < slow_until:
        yield len(PIECE) / 1e6
    while True:
        yield 0


@csrf_exempt
def upload(request):
    received = 0
    for nap in naps(request):
        piece = request.read(len(PIECE))
        received += len(piece)
        if not piece:
            return HttpResponse(str(received))
        if nap:
            time.sleep(nap)


@csrf_exempt
async def upload_async(request):
    received = 0
    for nap in naps(request):
        piece = request.read(len(PIECE))
        received += len(piece)
        if not piece:
            return HttpResponse(str(received))
        if nap:
            await asyncio.sleep(nap)
'''

URLS = """
from django.urls import path

from bench import views

urlpatterns = [
    path(f"{name}/", getattr(views, name))
    for name in (
        "hello",
        "hello_async",
        "publish",
        "events",
        "sleep_1ms",
        "sleep_50ms",
        "sleep_50ms_async",
        "query_async",
        "stream",
        "stream_async",
        "upload",
        "upload_async",
    )
]
"""


@dataclass(frozen=True, slots=True)
class Project:
    """What every server serves.

    :ivar folder: the folder of its ``manage.py``.
    :ivar database: what ``bench.settings_postgres`` points to; ``bench.settings`` use SQLite.
    """

    folder: Path
    database: Postgres | None


def run(folder: Path, *words: str) -> None:
    subprocess.run([sys.executable, *words], cwd=folder, env=environment(), check=True, timeout=60)


def make(parent: Path, database: Postgres | None, redis: str | None) -> Project:
    """Create the project below ``parent``.

    :param redis: the URL of a Redis server, for the settings that need one.
    """
    folder = parent / "project"
    folder.mkdir()
    run(folder, "-m", "django", "startproject", NAME, str(folder))
    package = folder / NAME
    with (package / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (package / "asgi.py").write_text(ASGI)
    (package / "asgi_twogate.py").write_text(ASGI.replace("django.core.asgi", "twogate.django"))
    (package / "consumers.py").write_text(CONSUMERS)
    (package / "views.py").write_text(VIEWS)
    (package / "urls.py").write_text(URLS)
    add_layer(package / "settings_local.py", LOCAL_LAYER)
    if redis is not None:
        # redis-py gives up a read, and a consumer with it, after as long as channels_redis lets one
        # wait; so it is given more time.
        config = {"hosts": [{"address": redis, "socket_timeout": 60}]}
        add_layer(package / "settings_redis.py", {"BACKEND": REDIS_LAYER, "CONFIG": config})
        add_layer(package / "settings_redis_pubsub.py", {"BACKEND": PUBSUB_LAYER, "CONFIG": config})
    if database is not None:
        add_database(folder, database)
    return Project(folder, database)


def add_layer(settings: Path, layer: dict[str, Any]) -> None:
    """Settings with another channel layer."""
    settings.write_text(LAYER.format(layer=layer))


def add_database(folder: Path, database: Postgres) -> None:
    """Settings for PostgreSQL, and the tables with what `migrate` itself puts into them."""
    settings = folder / NAME / "settings_postgres.py"
    settings.write_text(SETTINGS_POSTGRES.format(entry=database.django))
    run(folder, "manage.py", "migrate", "--verbosity=0", f"--settings={NAME}.settings_postgres")
