"""The room's own WebSocket: what a person does there. What they hear comes by subscription.

An ordinary consumer of Channels. It needs no channel layer: ``join()`` and ``broadcast()`` carry
the typing indicator, one frame for all who are in the room, past their consumers.
"""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.core.exceptions import ValidationError
from django.db import DatabaseError

from chat.forms import MessageForm
from chat.live import as_event, say
from chat.models import Room
from twogate.realtime import broadcast, join

#: Seconds between two signs that a person is typing; more would only be noise.
TYPING_INTERVAL = 1.0


def parsed(text: str | None) -> dict[str, Any]:
    """The message's object, or an empty one: a stranger may send anything."""
    try:
        message = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


class RoomConsumer(AsyncWebsocketConsumer):
    """One person in one room."""

    async def connect(self) -> None:
        self.user = self.scope["user"]
        self.pk = self.scope["url_route"]["kwargs"]["pk"]
        self.topic = f"typing.{self.pk}"
        self.last_typed = 0.0
        try:
            await database_sync_to_async(self.find_room)()
        except ValidationError:
            await self.close()  # before accept(): the browser gets a plain 403
            return
        join(self, self.topic)
        await self.accept()
        # For the page to show; a client of your own would do without.
        thread = threading.current_thread().name
        await self.tell("welcome", gate="ASGI", thread=thread, worker=os.getpid())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        message = parsed(text_data)
        try:
            match message.get("kind"):
                case "say":
                    saved = await database_sync_to_async(self.save)(message)
                    # Only now does the browser stop trying to send it.
                    await self.tell("said", nonce=message["nonce"], **saved)
                case "typing":
                    self.on_typing()
                case "read":
                    await database_sync_to_async(self.mark_read)()
        except ValidationError as error:
            await self.refuse(message, " ".join(error.messages))
        except DatabaseError:  # a full disk, for example
            await self.refuse(message, "Nothing can be saved at the moment.")

    def on_typing(self) -> None:
        """Tell the room, and keep nothing: who comes a second later need not know."""
        now = time.monotonic()
        if now - self.last_typed >= TYPING_INTERVAL:
            self.last_typed = now
            name = self.user.get_username()
            broadcast(self.topic, json.dumps({"kind": "typing", "id": self.user.pk, "name": name}))

    async def refuse(self, message: dict[str, Any], reason: str) -> None:
        await self.tell("refused", nonce=message.get("nonce"), reason=reason)

    async def tell(self, kind: str, **data: object) -> None:
        await self.send(text_data=json.dumps({"kind": kind, **data}))

    # These ask the database, so they run in threads. Each looks anew whether this person may be
    # here: that can change while the socket is open.

    def find_room(self) -> Room:
        """:raises ValidationError: there is no such room for this person."""
        if self.user.is_authenticated:
            room = Room.objects.visible_to(self.user).filter(pk=self.pk).first()
            if room is not None:
                return room
        raise ValidationError("This room is not open to you.")

    def save(self, message: dict[str, Any]) -> dict[str, object]:
        """:raises ValidationError: what the form has against it."""
        form = MessageForm(message)
        if not form.is_valid():
            raise ValidationError([text for texts in form.errors.values() for text in texts])
        return as_event(say(self.find_room(), self.user, **form.cleaned_data))

    def mark_read(self) -> None:
        self.find_room().mark_read(self.user)
