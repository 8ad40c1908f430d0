from __future__ import annotations

import pytest
from tests.support.site import Site, settings

ROUTED = """\
import os
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator, OriginValidator
from django.core.asgi import get_asgi_application
from django.urls import path
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')
django_application = get_asgi_application()
from mysite.consumers import Chat, Careful
chat = Chat.as_asgi()
careful = Careful.as_asgi()
application = ProtocolTypeRouter({{
    'http': django_application,
    {sockets}
}})
"""
CONSUMERS = """\
from channels.generic.websocket import AsyncWebsocketConsumer
class Chat(AsyncWebsocketConsumer):
    pass
class Careful(AsyncWebsocketConsumer):
    async def connect(self):
        if dict(self.scope['headers']).get(b'origin') == b'https://a':
            await self.accept()
"""
AUTH = settings(
    "INSTALLED_APPS = ['django.contrib.auth', 'django.contrib.contenttypes',",
    "    'django.contrib.sessions', 'channels']",
    "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}",
)


def routed(sockets: str) -> dict[str, str]:
    return AUTH | {
        "mysite/asgi.py": ROUTED.format(sockets=sockets),
        "mysite/consumers.py": CONSUMERS,
    }


@pytest.mark.parametrize(
    ("sockets", "shown"),
    [
        ("'websocket': URLRouter([path('chat/', chat)]),  # !W301", "/chat/"),
        ("'websocket': AuthMiddlewareStack(URLRouter([path('', chat)])),  # !W301", "/"),
        (
            "'websocket': URLRouter([path('a/', URLRouter([path('b/', chat)])),"
            " path('c/', OriginValidator(chat, ['a']))]),  # !W301",
            "/a/b/.",
        ),
        ("'websocket': chat,  # !W301", "/"),
    ],
)
def test_a_socket_that_anybody_may_open_is_found(site: Site, sockets: str, shown: str) -> None:
    (finding,) = site.finds(routed(sockets), "--websocket-origins", "any")
    assert shown in finding["message"]


def test_the_server_checks_what_the_project_does_not(site: Site) -> None:
    text = "'websocket': URLRouter([path('chat/', chat)]),  # !I304"
    (finding,) = site.finds(routed(text))
    assert "Only Twogate asks" in finding["message"]
    files = routed(text.replace("I304", "W301"))
    files["mysite/settings.py"] += "TWOGATE_WEBSOCKET_ORIGINS = ['any']\n"
    site.finds(files)


def test_origins_that_cannot_be_used(site: Site) -> None:
    site.finds(settings("TWOGATE_WEBSOCKET_ORIGINS = ['no origin']  # !E303"))


@pytest.mark.parametrize(
    "sockets",
    [
        "'websocket': AllowedHostsOriginValidator(URLRouter([path('', chat)])),",
        "'websocket': AuthMiddlewareStack(OriginValidator(URLRouter([path('', chat)]), ['a'])),",
        "'websocket': URLRouter([path('', OriginValidator(chat, ['a']))]),",
        "'websocket': URLRouter([path('', careful)]),",
        "",
    ],
)
def test_a_socket_that_is_checked_is_left_alone(site: Site, sockets: str) -> None:
    site.finds(routed(sockets))


IN_MEMORY = "CHANNEL_LAYERS = {'default': {'BACKEND': 'channels.layers.InMemoryChannelLayer'}}"


def test_a_layer_in_memory_is_for_one_worker(site: Site) -> None:
    site.finds(settings(IN_MEMORY))
    site.finds(settings(f"{IN_MEMORY}  # !W302"), "--workers", "2")
    site.finds(
        settings(IN_MEMORY.replace("channels.layers.InMemory", "twogate.realtime.")), "-w", "2"
    )


def test_a_layer_that_is_not_there(site: Site) -> None:
    missing = "CHANNEL_LAYERS = {'default': {'BACKEND': 'nowhere.core.Layer'}}  # !E305"
    (finding,) = site.finds(settings(missing))
    assert "No module named 'nowhere'" in finding["message"]
    site.finds(settings("CHANNEL_LAYERS = {'default': {}}  # !E305"))
