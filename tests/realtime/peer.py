"""Another process of the project: does what it is told on stdin, and says what it received.

``python -m tests.realtime.peer SECRET_KEY FOLDER OPTIONS`` makes a layer with these options, a JSON
object. Each line of stdin is a JSON object ``{"do": NAME, ...}`` that names one of the coroutines
below and its arguments. Each gets one line of answer; what is received is a line of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings

from twogate.realtime import LocalChannelLayer


class Peer:
    def __init__(self, layer: LocalChannelLayer) -> None:
        self.layer = layer
        self.tasks: set[asyncio.Task[None]] = set()

    async def join(self, group: str, paused: bool = False) -> str:
        """A new channel in a group, from which all is received unless paused."""
        channel = await self.layer.new_channel()
        await self.layer.group_add(group, channel)
        if not paused:
            await self.receive(channel)
        return channel

    async def receive(self, channel: str) -> None:
        self.tasks.add(asyncio.create_task(self._receive(channel)))
        await asyncio.sleep(0)

    async def _receive(self, channel: str) -> None:
        while True:
            say(received=await self.layer.receive(channel), channel=channel)

    async def send(self, channel: str, message: Any) -> None:
        await self.layer.send(channel, message)

    async def group_send(self, group: str, message: Any, count: int = 1) -> None:
        for number in range(count):
            await self.layer.group_send(group, message | {"number": number})

    async def flood(self, group: str, size: int) -> None:
        """Send to a group without end, from a thread."""
        message = {"type": "flood", "text": "x" * size}

        def send() -> None:
            while True:
                async_to_sync(self.layer.group_send)(group, message)

        threading.Thread(target=send, daemon=True).start()

    async def statistics(self) -> dict[str, Any]:
        return asdict(self.layer.statistics())

    async def flush(self) -> None:
        await self.layer.flush()


def say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


async def answer(coroutine: Callable[..., Awaitable[Any]], arguments: dict[str, Any]) -> None:
    try:
        say(answer=await coroutine(**arguments))
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}")


async def main(secret_key: str, folder: str, options: str) -> None:
    settings.configure(SECRET_KEY=secret_key)
    peer = Peer(LocalChannelLayer(folder=folder, **json.loads(options)))
    say(answer="ready")
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        await answer(getattr(peer, command.pop("do")), command)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
