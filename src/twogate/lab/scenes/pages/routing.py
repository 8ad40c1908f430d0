"""Which path of a WebSocket leads to which consumer."""

from django.urls import path

from pages.consumers import Echo

websocket_urlpatterns = [path("ws/echo/", Echo.as_asgi())]
