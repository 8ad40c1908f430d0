"""The WebSockets of the Live page: one that hears a room, and a consumer that is spoken to.

Runs on the event loop. Both are recorded, so what leaves through them is noted on their spans.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import URLRouter
from django.urls import path, re_path

from twogate.django.subscriptions import subscriptions
from twogate.lab.rooms import leaving
from twogate.lab.web.windows import send
from twogate.trace.recorder import current

__all__ = ["sockets"]

Application: TypeAlias = Callable[..., Awaitable[None]]

# RFC 6455 §7.4.1; 4000 to 4999 are for applications.
_BAD_REQUEST = 4400


class Talk(AsyncWebsocketConsumer):  # type: ignore[misc]
    """The other way to say something: each message of the WebSocket is published."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Publish a message, and tell the window that it was."""
        room = self.scope["url_route"]["kwargs"]["room"]
        try:
            data = json.loads(text_data or "")
            if not isinstance(data, dict):
                raise ValueError("A message should be a JSON object.")
            message = await sync_to_async(send)(room, "say", "a consumer", data)
        except (ValueError, RecursionError) as error:
            await self.close(_BAD_REQUEST, str(error)[:100])
        else:
            await self.send(json.dumps({"published": message["key"]}))


def noting(application: Application) -> Application:
    """Note on a WebSocket's recording which messages leave through it."""

    async def noted(scope: dict[str, Any], receive: Any, send: Any) -> None:
        socket = current()

        async def send_noted(event: dict[str, Any]) -> None:
            key = _key_in(event.get("text") or "")
            if key is None:
                await send(event)
            else:
                with leaving(key, socket):
                    await send(event)

        await application(scope, receive, send_noted)

    return noted


def _key_in(text: str) -> str | None:
    """The key of the message of ours that is sent, if it is one."""
    said = json.loads(text) if text else {}
    return str(said["data"]["key"]) if said.get("type") == "message" else None


async def refuse(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Nothing is here: the handshake is answered with 403."""
    await receive()
    await send({"type": "websocket.close"})


sockets = URLRouter(
    [
        path("live/room/<room:room>/hear/", noting(subscriptions)),
        path("live/room/<room:room>/talk/", Talk.as_asgi()),
        re_path("", refuse),
    ]
)
