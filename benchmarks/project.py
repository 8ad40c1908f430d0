"""Makes the Django project that every server serves: `startproject`, then a few views of ours.

Nothing is tuned: the seven default middlewares stay, `DEBUG` is off, `asgi.py` is what Channels'
documentation shows.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NAME = "bench"

SETTINGS = """
# Added by the benchmark.
DEBUG = False
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS += ["channels"]
ASGI_APPLICATION = "bench.asgi.application"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
"""

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

CONSUMERS = """
from channels.generic.websocket import AsyncWebsocketConsumer
from django.urls import path


class Echo(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data)


websocket_urlpatterns = [path("ws/echo/", Echo.as_asgi())]
"""

VIEWS = '''
import asyncio
import time

from django.http import HttpResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

PIECE = b"x" * 65536


def hello(request):
    return HttpResponse(b"Hello")


async def hello_async(request):
    return HttpResponse(b"Hello")


def sleep_1ms(request):
    time.sleep(0.001)
    return HttpResponse(b"Hello")


def sleep_50ms(request):
    time.sleep(0.05)
    return HttpResponse(b"Hello")


async def sleep_50ms_async(request):
    await asyncio.sleep(0.05)
    return HttpResponse(b"Hello")


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
        "sleep_1ms",
        "sleep_50ms",
        "sleep_50ms_async",
        "stream",
        "stream_async",
        "upload",
        "upload_async",
    )
]
"""


def make(parent: Path) -> Path:
    """Create the project below ``parent`` and return the folder of its ``manage.py``."""
    folder = parent / "project"
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-m", "django", "startproject", NAME, str(folder)], check=True, timeout=60
    )
    package = folder / NAME
    with (package / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (package / "asgi.py").write_text(ASGI)
    (package / "consumers.py").write_text(CONSUMERS)
    (package / "views.py").write_text(VIEWS)
    (package / "urls.py").write_text(URLS)
    return folder
