"""The chat that Channels' tutorial ends with, in our own words: two people hear each other."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from .conftest import NewPage, Serve

CONSUMERS = """
import json

from channels.generic.websocket import AsyncWebsocketConsumer


class ChatConsumer(AsyncWebsocketConsumer):
    async def connect(self):
        self.group = "chat_" + self.scope["url_route"]["kwargs"]["room_name"]
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, close_code):
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data):
        message = json.loads(text_data)["message"]
        await self.channel_layer.group_send(
            self.group, {"type": "chat.message", "message": message}
        )

    async def chat_message(self, event):
        await self.send(text_data=json.dumps({"message": event["message"]}))
"""

ROUTING = """
from django.urls import re_path

from chat.consumers import ChatConsumer

websocket_urlpatterns = [re_path(r"ws/chat/(?P<room_name>\\w+)/$", ChatConsumer.as_asgi())]
"""

VIEWS = """
from django.shortcuts import render


def room(request, room_name):
    return render(request, "chat/room.html", {"room_name": room_name})
"""

ROOM = """
<!doctype html>
<title>Room</title>
<link rel="icon" href="data:,">
<textarea id="log" readonly></textarea>
<input id="text"><button id="send" disabled>Send</button>
{{ room_name|json_script:"room" }}
<script>
  const room = JSON.parse(document.getElementById("room").textContent);
  const socket = new WebSocket(`ws://${location.host}/ws/chat/${room}/`);
  const text = document.getElementById("text");
  const send = document.getElementById("send");
  socket.onopen = () => { send.disabled = false; };
  socket.onmessage = (event) => {
    document.getElementById("log").value += JSON.parse(event.data).message + "\\n";
  };
  send.onclick = () => { socket.send(JSON.stringify({ message: text.value })); };
</script>
"""

URLS = """
from django.urls import path

from chat import views

urlpatterns = [path("chat/<str:room_name>/", views.room)]
"""

ASGI = """
import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
django_asgi_app = get_asgi_application()

from chat.routing import websocket_urlpatterns

application = ProtocolTypeRouter(
    {
        "http": django_asgi_app,
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
        ),
    }
)
"""

SETTINGS = """
INSTALLED_APPS += ["channels", "chat"]
ASGI_APPLICATION = "mysite.asgi.application"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
"""


def write_chat(project: Path) -> None:
    """Do to a fresh project what the tutorial does."""
    files = {
        "chat/__init__.py": "",
        "chat/consumers.py": CONSUMERS,
        "chat/routing.py": ROUTING,
        "chat/views.py": VIEWS,
        "chat/templates/chat/room.html": ROOM,
        "mysite/urls.py": URLS,
        "mysite/asgi.py": ASGI,
    }
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    with (project / "mysite/settings.py").open("a") as settings:
        settings.write(SETTINGS)


def enter(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator("#send")).to_be_enabled()


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.click("#send")


def test_two_pages_exchange_messages(start_project: Path, serve: Serve, new_page: NewPage) -> None:
    write_chat(start_project)
    with serve(start_project) as site:
        ada, grace, elsewhere = new_page(), new_page(), new_page()
        enter(ada, f"{site.url}/chat/lobby/")
        enter(grace, f"{site.url}/chat/lobby/")
        enter(elsewhere, f"{site.url}/chat/attic/")

        say(ada, "Is anybody here?")
        expect(grace.locator("#log")).to_have_value("Is anybody here?\n")
        say(grace, "I am ✓ ça va")
        for page in ada, grace:
            expect(page.locator("#log")).to_have_value("Is anybody here?\nI am ✓ ça va\n")
        expect(elsewhere.locator("#log")).to_have_value("")
