"""Whether a client still waits, and who finds that out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from twogate.django.client import Client

Message = dict[str, Any]


class Server:
    """The receiving side of a connection."""

    def __init__(self) -> None:
        self.asked = 0
        self.messages: asyncio.Queue[Message] = asyncio.Queue()

    async def receive(self) -> Message:
        self.asked += 1
        return await self.messages.get()


async def watched(client: Client, answer: Callable[[], Awaitable[None]]) -> str:
    async def answering() -> None:
        await answer()

    try:
        await client.watched(answering())
    except asyncio.CancelledError:
        return "gone" if client.gone else "cancelled"
    finally:
        client.leave()
    return "answered"


def test_nobody_listens_for_an_answer_that_does_not_wait() -> None:
    async def main() -> None:
        server = Server()

        async def answer() -> None: ...

        assert await watched(Client({}, server.receive), answer) == "answered"
        await asyncio.sleep(0)
        assert server.asked == 0

    asyncio.run(main())


def test_an_answer_that_waits_several_times() -> None:
    async def main() -> None:
        server = Server()

        async def answer() -> None:
            for _ in range(3):
                await asyncio.sleep(0)

        assert await watched(Client({}, server.receive), answer) == "answered"

    asyncio.run(main())


@pytest.mark.parametrize("told", [True, False], ids=["by callback", "by receive"])
def test_a_client_that_goes_cancels_the_answer(told: bool) -> None:
    async def main() -> None:
        server = Server()
        callbacks: list[Callable[[], None]] = []
        scope = {"extensions": {"twogate.disconnect": callbacks.append}} if told else {}
        waiting = asyncio.Event()

        async def answer() -> None:
            waiting.set()
            await asyncio.Event().wait()

        task = asyncio.ensure_future(watched(Client(scope, server.receive), answer))
        await waiting.wait()
        if told:
            callbacks[0]()
        else:
            await server.messages.put({"type": "http.disconnect"})
        assert await task == "gone"
        assert task.cancelling() == 0
        assert server.asked == (0 if told else 1)

    asyncio.run(main())


def test_what_the_answer_raises_comes_through() -> None:
    async def main() -> None:
        async def answer() -> None:
            await asyncio.sleep(0)
            raise ValueError("wrong")

        with pytest.raises(ValueError, match="wrong"):
            await watched(Client({}, Server().receive), answer)

    asyncio.run(main())


def test_a_server_that_breaks_the_protocol_is_noted() -> None:
    async def main() -> None:
        server = Server()
        await server.messages.put({"type": "http.request"})
        client = Client({}, server.receive)

        async def answer() -> None:
            await asyncio.Event().wait()

        assert await watched(client, answer) == "gone"
        assert isinstance(client.error, AssertionError)

    asyncio.run(main())
