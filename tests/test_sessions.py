"""Sessions with open WebSockets: they end together, and are asked about seldom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from twogate.protocol.events import RequestHead
from twogate.sessions import Admitted, Known, Sessions, digest

AN_HOUR = 3600.0


class Store:
    """Sessions that a test makes and ends."""

    def __init__(self) -> None:
        self.known: dict[str, Known | None] = {}
        self.asked: list[list[str]] = []
        self.listeners = 0
        self.can_listen = True
        self.fails = False

    def key(self, head: RequestHead) -> str | None:
        raise AssertionError("nobody asks here")

    async def look(self, keys: Sequence[str]) -> list[Known | None]:
        self.asked.append(list(keys))
        await asyncio.sleep(0)
        if self.fails:
            raise OSError("the database is gone")
        return [self.known.get(key) for key in keys]

    def listen(self, sessions: Sessions) -> bool:
        self.listeners += self.can_listen
        return self.can_listen

    def close(self) -> None:
        self.listeners -= 1


class Socket:
    """An open WebSocket, as far as sessions care."""

    def __init__(self) -> None:
        self.ends: list[tuple[int, str]] = []

    def close(self, code: int, reason: str = "") -> None:
        self.ends.append((code, reason))


class World:
    """A store, the sessions of one worker, and sockets."""

    def __init__(self) -> None:
        self.store = Store()
        self.loop = asyncio.get_running_loop()
        self.sessions = Sessions(self.store, self.loop)

    async def come(self, key: str) -> tuple[Admitted, Socket]:
        admitted, socket = Admitted("", self.sessions.release), Socket()
        session = self.sessions.hold(key, admitted)
        if not session.looked:
            await self.sessions.look([session])
        admitted.opened(socket)  # type: ignore[arg-type]
        return admitted, socket

    async def pass_time(self, seconds: float) -> None:
        """Let the sweep come by, so much later."""
        self.sessions.tick(self.loop.time() + seconds)
        for _ in range(5):
            await asyncio.sleep(0)


def on_loop(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        async def main() -> None:
            await test(World())

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


@on_loop
async def test_a_session_ends_with_all_its_sockets_and_no_others(world: World) -> None:
    world.store.known = {"one": Known("5", "", AN_HOUR), "two": Known("5", "", AN_HOUR)}
    sockets = [(await world.come("one"))[1] for _ in range(3)]
    _, other = await world.come("two")
    assert world.store.asked == [["one"], ["two"]]
    world.sessions.end(digest("one"))
    assert [socket.ends for socket in sockets] == [[(1008, "logged out")]] * 3
    assert other.ends == []
    assert world.sessions.count("5") == 1
    world.sessions.end(digest("one"))
    world.sessions.end(digest("unheard of"))
    assert sockets[0].ends == [(1008, "logged out")]


@on_loop
async def test_one_that_ends_between_handshake_and_accept_is_closed_when_it_opens(
    world: World,
) -> None:
    world.store.known = {"one": Known("5", "", AN_HOUR)}
    admitted, socket = Admitted("", world.sessions.release), Socket()
    looking = asyncio.ensure_future(world.sessions.look([world.sessions.hold("one", admitted)]))
    await asyncio.sleep(0)
    world.sessions.end(digest("one"))
    await looking
    assert socket.ends == []
    admitted.opened(socket)  # type: ignore[arg-type]
    assert socket.ends == [(1008, "logged out")]
    assert (world.sessions._sessions, world.sessions._users) == ({}, {})


@on_loop
async def test_a_new_password_ends_the_sessions_that_had_the_old_one(world: World) -> None:
    world.store.known = {
        "old": Known("5", "before", AN_HOUR),
        "new": Known("5", "after", AN_HOUR),
        "other": Known("6", "before", AN_HOUR),
    }
    sockets = {key: (await world.come(key))[1] for key in world.store.known}
    world.sessions.end_others("5", ["after"])
    assert [key for key, socket in sockets.items() if socket.ends] == ["old"]
    world.sessions.end_others("5", [])
    assert [key for key, socket in sockets.items() if socket.ends] == ["old", "new"]
    world.sessions.end_others("7", [])


@on_loop
async def test_a_session_is_asked_about_once_when_its_time_has_come(world: World) -> None:
    world.store.known = {"short": Known("5", "", 60.0), "long": Known("6", "", AN_HOUR)}
    sockets = [(await world.come("short"))[1] for _ in range(3)]
    _, long = await world.come("long")
    world.store.asked.clear()
    await world.pass_time(59)
    assert world.store.asked == []
    world.store.known["short"] = Known("5", "", AN_HOUR)  # somebody has used it
    await world.pass_time(62)
    assert world.store.asked == [["short"]]
    await world.pass_time(63)
    assert world.store.asked == [["short"]]
    world.store.known["short"] = None
    await world.pass_time(AN_HOUR + 70)
    assert sorted(world.store.asked[-1]) == ["long", "short"]
    assert [socket.ends for socket in sockets] == [[(1008, "session expired")]] * 3
    assert long.ends == []


@on_loop
async def test_who_could_not_listen_tries_again_at_the_next_handshake(world: World) -> None:
    world.store.known = {"one": Known("5", "", AN_HOUR), "two": Known("5", "", AN_HOUR)}
    world.store.can_listen = False
    await world.come("one")
    assert world.store.listeners == 0
    world.store.can_listen = True
    await world.come("two")
    await world.come("two")
    assert world.store.listeners == 1


@on_loop
async def test_a_session_that_was_over_before_is_none(world: World) -> None:
    admitted, socket = await world.come("old cookie")
    assert admitted.session is None
    assert socket.ends == []
    assert world.sessions._sessions == {}
    await world.pass_time(AN_HOUR * 24)
    assert len(world.store.asked) == 1


@on_loop
async def test_one_whose_user_has_changed_has_ended(world: World) -> None:
    world.store.known = {"one": Known("5", "", 60.0)}
    _, socket = await world.come("one")
    world.store.known["one"] = Known("6", "", 60.0)
    await world.pass_time(62)
    assert socket.ends == [(1008, "session expired")]


def test_a_store_that_fails_is_asked_again_later(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World()
        world.store.fails = True
        _, socket = await world.come("one")
        assert socket.ends == []
        world.store.fails = False
        world.store.known = {"one": None}
        await world.pass_time(30)
        assert len(world.store.asked) == 1
        await world.pass_time(61)
        assert len(world.store.asked) == 2
        world.store.fails = True
        for number in range(100):
            await world.come(str(number))

    asyncio.run(main())
    assert caplog.text.count("could not be looked up") == 1


@on_loop
async def test_what_was_not_heard_makes_it_ask_about_all(world: World) -> None:
    world.store.known = {key: Known("5", "", AN_HOUR) for key in ("one", "two")}
    sockets = [(await world.come(key))[1] for key in ("one", "two")]
    world.store.known["two"] = None
    world.sessions.doubt()
    await world.pass_time(0.1)
    assert sorted(world.store.asked[-1]) == ["one", "two"]
    assert [len(socket.ends) for socket in sockets] == [0, 1]


@on_loop
async def test_nothing_is_left_of_sockets_that_are_gone(world: World) -> None:
    world.store.known = {str(n): Known(str(n % 7), "", 60.0) for n in range(50)}
    came = [(await world.come(str(n)))[0] for n in range(50)]
    for admitted in came:
        admitted.over()
        admitted.over()
    assert (world.sessions._sessions, world.sessions._users) == ({}, {})
    world.store.asked.clear()
    await world.pass_time(AN_HOUR)
    assert world.store.asked == []
    assert world.sessions._agenda == []


@on_loop
async def test_who_comes_and_goes_leaves_nothing_that_grows(world: World) -> None:
    world.store.known = {"one": Known("5", "", AN_HOUR), "two": Known("5", "", 60.0)}
    _, staying = await world.come("two")
    for _ in range(1000):
        (await world.come("one"))[0].over()
    assert len(world.sessions._agenda) < 100
    world.store.known["two"] = None
    await world.pass_time(62)
    assert staying.ends == [(1008, "session expired")]


@on_loop
async def test_it_listens_from_the_first_session_on(world: World) -> None:
    assert world.store.listeners == 0
    world.sessions.close()
    assert world.store.listeners == 0
    await world.come("one")
    await world.come("two")
    assert world.store.listeners == 1
    world.sessions.close()
    assert world.store.listeners == 0
