"""WebSockets that make one query each and then wait for a message."""

# mypy: ignore-errors

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.urls import path

from .views import backend


class Asking(AsyncWebsocketConsumer):
    async def connect(self):
        call = database_sync_to_async if self.scope["path"] == "/ws/database/" else sync_to_async
        self.backend = await call(backend)()
        await self.accept()
        await self.send(text_data=str(self.backend))

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data)


patterns = [path("ws/database/", Asking.as_asgi()), path("ws/sync/", Asking.as_asgi())]
