"""The chat's WebSocket: what one person sends, everybody in the room receives."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer

NAME_LENGTH = 30
MESSAGE_LENGTH = 500

#: People in each room. Like the in-memory channel layer, it knows this process only.
present: Counter[str] = Counter()


def cleaned(value: object, length: int) -> str:
    """A line of text from whatever the browser sent."""
    return " ".join(value.split())[:length] if isinstance(value, str) else ""


def parsed(text: str | None) -> dict[str, Any]:
    """The message's object, or an empty one."""
    try:
        message = json.loads(text or "")
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


class ChatConsumer(AsyncWebsocketConsumer):
    """One person in one room."""

    async def connect(self) -> None:
        self.room = self.scope["url_route"]["kwargs"]["room"]
        self.group = f"chat_{self.room}"[:90]
        present[self.room] += 1
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        await self.tell_one("welcome", **self.passage())
        await self.tell_room("present", count=present[self.room])

    async def disconnect(self, code: int) -> None:
        present[self.room] -= 1
        await self.channel_layer.group_discard(self.group, self.channel_name)
        await self.tell_room("present", count=present[self.room])
        if not present[self.room]:
            del present[self.room]

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        message = parsed(text_data)
        name = cleaned(message.get("name"), NAME_LENGTH) or "somebody"
        text = cleaned(message.get("text"), MESSAGE_LENGTH)
        if text:
            await self.tell_room("message", name=name, text=text)

    async def deliver(self, event: dict[str, Any]) -> None:
        """Called by the channel layer for everybody in the group."""
        await self.send(text_data=event["text"])

    async def tell_room(self, kind: str, **data: object) -> None:
        text = json.dumps({"kind": kind, **data})
        await self.channel_layer.group_send(self.group, {"type": "deliver", "text": text})

    async def tell_one(self, kind: str, **data: object) -> None:
        await self.send(text_data=json.dumps({"kind": kind, **data}))

    def passage(self) -> dict[str, str]:
        """How this WebSocket came in, for the page to show."""
        return {
            "scope": self.scope["type"],
            "version": self.scope.get("asgi", {}).get("spec_version", "2.0"),
            "thread": threading.current_thread().name,
        }
