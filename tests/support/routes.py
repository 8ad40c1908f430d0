"""One small application, written for both gateways: what a path asks for, it does.

========================  ====================================================================
``/hello``                five bytes of known length
``/echo``                 the whole request body
``/pieces``               ``one``, ``two``, ``three`` as they come, of unknown length
``/bytes/N``              N bytes in blocks of 64 KiB, of unknown length
``/one/N``                N bytes in one piece
``/status/N``             an empty response
``/early``                answers without a look at the body
``/sleep/SECONDS``        answers late
``/wait``                 answers after :attr:`Gate.opened` is set
``/first``                reads one piece of the body, then waits like ``/wait``
``/begin``                sends its head and ``begun``, then waits like ``/wait``
``/conversation``         answers each piece of the body as it comes
``/close``                asks for ``Connection: close``
``/broken``               raises
========================  ====================================================================
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

BLOCK = b"x" * 65536


class Gate:
    """Holds applications until a test opens it, and counts those inside."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.inside = 0
        self.produced = 0
        self.taken = 0

    def wsgi(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """The PEP 3333 application."""
        _, route, *rest = environ["PATH_INFO"].split("/")
        headers = [("Content-Type", "text/plain")]
        status = "200 OK"
        if route == "status":
            status = f"{rest[0]} Some"
        elif route == "close":
            headers.append(("Connection", "close"))
        elif route == "broken":
            raise ValueError("secret")
        if route == "echo":
            body = environ["wsgi.input"].read()
            start_response(status, headers)
            return [body]
        start_response(status, headers)
        if route in ("pieces", "bytes", "begin", "conversation"):
            return self._stream(route, rest, environ)
        return [self._whole(route, rest, environ)]

    def _whole(self, route: str, rest: list[str], environ: dict[str, Any]) -> bytes:
        if route == "status":
            return b""
        if route == "one":
            return b"x" * int(rest[0])
        if route == "sleep":
            time.sleep(float(rest[0]))
        elif route == "first":
            self.taken += len(environ["wsgi.input"].read(1))
            self._wait()
            while data := environ["wsgi.input"].read(65536):
                self.taken += len(data)
        elif route == "wait":
            self._wait()
        return route.encode()

    def _wait(self) -> None:
        self.inside += 1
        try:
            self.opened.wait(30)
        finally:
            self.inside -= 1

    def _stream(self, route: str, rest: list[str], environ: dict[str, Any]) -> Iterator[bytes]:
        if route == "pieces":
            yield from (b"one", b"two", b"three")
        elif route == "bytes":
            for piece in _blocks(int(rest[0])):
                self.produced += len(piece)
                yield piece
        elif route == "conversation":
            while data := environ["wsgi.input"].read1(100):
                yield data.upper()
        else:
            yield b"begun"
            self._wait()
            yield b"ended"

    async def asgi(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """The ASGI 3 application; like Django's, it stops when the client disconnects."""
        if scope["type"] != "http":
            raise ValueError("only http")
        answer = asyncio.ensure_future(self._answer(scope, receive, send))
        try:
            if scope["path"].split("/")[1] in ("wait", "begin", "bytes", "sleep"):
                while (await receive())["type"] != "http.disconnect":
                    pass
                answer.cancel()
            await asyncio.wait({answer})
        finally:
            answer.cancel()
        if not answer.cancelled() and (error := answer.exception()) is not None:
            raise error

    async def _answer(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        _, route, *rest = scope["path"].split("/")
        status = int(rest[0]) if route == "status" else 200
        headers = [(b"content-type", b"text/plain")]
        if route == "close":
            headers.append((b"connection", b"close"))
        elif route == "broken":
            raise ValueError("secret")

        async def piece(data: bytes, more: bool = True) -> None:
            self.produced += len(data)
            await send({"type": "http.response.body", "body": data, "more_body": more})

        await self._before(route, rest, receive)
        body = await _read(receive) if route == "echo" else route.encode()
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if route == "pieces":
            for data in (b"one", b"two", b"three"):
                await piece(data)
            body = b""
        elif route == "bytes":
            for data in _blocks(int(rest[0])):
                await piece(data)
            body = b""
        elif route == "one":
            body = b"x" * int(rest[0])
        elif route == "begin":
            await piece(b"begun")
            await self._wait_here()
            body = b"ended"
        elif route == "conversation":
            more = True
            while more:
                event = await receive()
                more = event["more_body"]
                await piece(event["body"].upper())
            body = b""
        elif route == "status":
            body = b""
        await piece(body, False)

    async def _before(
        self, route: str, rest: list[str], receive: Callable[[], Awaitable[dict[str, Any]]]
    ) -> None:
        if route == "sleep":
            await asyncio.sleep(float(rest[0]))
        elif route == "wait":
            await self._wait_here()
        elif route == "first":
            event = await receive()
            self.taken += len(event["body"])
            await self._wait_here()
            while event["type"] == "http.request" and event["more_body"]:
                event = await receive()
                self.taken += len(event.get("body", b""))

    async def _wait_here(self) -> None:
        self.inside += 1
        try:
            while not self.opened.is_set():
                await asyncio.sleep(0.005)
        finally:
            self.inside -= 1


async def _read(receive: Callable[[], Awaitable[dict[str, Any]]]) -> bytes:
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    return body


def _blocks(size: int) -> Iterator[bytes]:
    while size > 0:
        yield BLOCK[:size]
        size -= len(BLOCK)
