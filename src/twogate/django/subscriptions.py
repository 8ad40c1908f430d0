"""The WebSocket endpoint for topics: an ASGI application, one line in a project's routing.

    URLRouter([path("live/", subscriptions)])

It speaks the small protocol of ``docs/live.md``. Each socket is one task that reads, and another
one only while there is something to send. Needs no Channels. Runs on the loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from twogate.django.executors import leased
from twogate.django.handshake import handshake_request
from twogate.django.topics import visitor
from twogate.realtime import wire
from twogate.realtime.feed import Lagging
from twogate.realtime.wire import BadRequest, Ping, Subscribe, Unsubscribe

__all__ = ["subscriptions"]

logger = logging.getLogger("twogate.realtime")

# RFC 6455 §7.4.1, and the registry it founds; 4000 to 4999 are for applications.
_UNSUPPORTED = 1003
_INTERNAL_ERROR = 1011
_SERVICE_RESTART = 1012
_TRY_AGAIN_LATER = 1013
_BAD_REQUEST = 4400

_Message = dict[str, Any]


async def subscriptions(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[_Message]],
    send: Callable[[_Message], Awaitable[None]],
) -> None:
    """Subscriptions to topics by WebSocket (ASGI 3); other requests are answered with 426.

    ``TWOGATE_TOPICS["allow"]`` says who may have what.
    """
    if scope["type"] == "websocket":
        await _Socket(scope, receive, send).serve()
    elif scope["type"] == "http":
        headers = [(b"content-type", b"text/plain"), (b"upgrade", b"websocket")]
        await send({"type": "http.response.start", "status": 426, "headers": headers})
        await send({"type": "http.response.body", "body": b"This address is for WebSockets.\n"})
    else:
        raise ValueError(f"twogate.django.subscriptions serves no {scope['type']!r}.")


class _Socket:
    """One WebSocket."""

    def __init__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        self._receive = receive
        self._send = send
        self._closed = False
        self._writer: asyncio.Task[None] | None = None
        self._visitor = visitor(handshake_request(scope), self._ready)

    async def serve(self) -> None:
        try:
            await self._receive()  # websocket.connect
            await self._send({"type": "websocket.accept"})
            while (message := await self._receive())["type"] == "websocket.receive":
                if not self._closed:
                    await self._take(message)
                    await self._written()
        except OSError:
            pass  # the browser is gone (ASGI, "Disconnected Client")
        finally:
            self._closed = True
            self._visitor.leave()
            if self._writer is not None:
                self._writer.cancel()

    async def _take(self, message: _Message) -> None:
        text = message.get("text")
        if text is None:
            await self._close(_UNSUPPORTED, "requests are text")
            return
        try:
            request = wire.parse(text)
        except BadRequest as error:
            await self._close(_BAD_REQUEST, str(error))
            return
        match request:
            case Subscribe(topics, after, presence):
                wanted = dict.fromkeys(topics, after)
                with leased():
                    await self._visitor.admit(wanted)
                self._visitor.subscribe(wanted, watch=presence)
            case Unsubscribe(topics):
                self._visitor.unsubscribe(topics)
            case Ping():
                self._visitor.tell(wire.pong())

    # Sending.

    def _ready(self) -> None:
        if self._writer is None and not self._closed:
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _written(self) -> None:
        """Take no more requests than the browser reads answers."""
        if self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write(self) -> None:
        try:
            while (item := self._visitor.take()) is not None:
                text = item if isinstance(item, str) else item.text
                await self._send({"type": "websocket.send", "text": text})
            if self._visitor.ended:
                await self._close(_SERVICE_RESTART, "the server is restarting")
        except Lagging as lagging:
            reason = f"this client reads too slowly: subscribe again after {lagging.after}"
            await self._close(_TRY_AGAIN_LATER, reason)
        except OSError:
            self._closed = True
        except Exception:
            logger.exception("A WebSocket with subscriptions could not be written to")
            await self._close(_INTERNAL_ERROR, "")
        finally:
            self._writer = None

    async def _close(self, code: int, reason: str) -> None:
        if not self._closed:
            self._closed = True
            self._visitor.leave()
            try:
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
            except OSError:
                pass
