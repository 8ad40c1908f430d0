"""ASGI applications on a WebSocket without a socket: both halves of the waist stand in for it."""

from __future__ import annotations

import asyncio
import base64
import functools
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from twogate.errors import ApplicationError, ClientDisconnected
from twogate.exchange import Exchange, Peer, RequestBody
from twogate.gateway.asgi import AsgiApplication
from twogate.gateway.asgi_websocket import AsgiWebSocketGateway
from twogate.observe.observer import Observer
from twogate.protocol.events import RequestHead
from twogate.protocol.http1_writer import Payload
from twogate.protocol.websocket import ClosedSocket, Message, WebSocketFraming
from twogate.realtime import join, leave
from twogate.socket_exchange import SocketExchange

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close"}


def on_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **fixtures: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(20):
                await test(*args, **fixtures)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert not others, "a task was left behind"

        asyncio.run(bounded())

    return run


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


class Socket:
    """A WebSocket whose peer is the test."""

    def __init__(self) -> None:
        self.writable = True
        self.closed: ClosedSocket | None = None
        self.listener: Callable[[], None] | None = None
        self.inbox: list[Message | ClosedSocket] = []
        self.sent: list[Message] = []
        self.drained: list[Callable[[], None]] = []
        self.topics: list[str] = []

    def take(self) -> Message | ClosedSocket | None:
        return self.inbox.pop(0) if self.inbox else None

    def send(self, message: Message) -> None:
        if self.closed is not None:
            raise ClientDisconnected("closed")
        self.sent.append(message)

    def join(self, topic: str) -> None:
        self.topics.append(topic)

    def leave(self, topic: str) -> None:
        self.topics.remove(topic)

    def when_writable(self, callback: Callable[[], None]) -> None:
        self.drained.append(callback)

    def close(self, code: int, reason: str = "") -> None:
        if self.closed is None:
            self.inbox.clear()
            self.end(code, reason)

    # What the peer does.

    def say(self, message: Message) -> None:
        self.inbox.append(message)
        if self.listener is not None:
            self.listener()

    def end(self, code: int, reason: str = "") -> None:
        self.closed = ClosedSocket(code, reason)
        self.inbox.append(self.closed)
        if self.listener is not None:
            self.listener()
        self.drain()

    def drain(self) -> None:
        callbacks, self.drained = self.drained, []
        for callback in callbacks:
            callback()


class Carrier:
    """A connection that keeps what it is given."""

    def __init__(self) -> None:
        self.writable = True
        self.default_headers: tuple[tuple[bytes, bytes], ...] = ()
        self.written = b""
        self.ended = False
        self.aborted = False
        self.socket = Socket()
        self.drained: list[Callable[[], None]] = []

    def write(self, exchange: Exchange, payload: Payload, end: bool) -> None:
        self.written += payload if isinstance(payload, bytes) else b"".join(payload)
        self.ended = end
        if end:
            exchange.finish()

    def want_body(self, body: RequestBody) -> None:
        raise NotImplementedError

    def when_writable(self, callback: Callable[[], None]) -> None:
        self.drained.append(callback)

    def send_file(self, exchange: Exchange, fd: int, offset: int, count: int) -> None:
        raise NotImplementedError

    def upgrade(self, exchange: Exchange, make: Callable[..., Any]) -> Any:
        return make(self)

    def abort(self, exchange: Exchange) -> None:
        self.aborted = True


class Watch(Observer):
    def __init__(self) -> None:
        self.opened = 0
        self.closed: list[tuple[int, str]] = []
        self.failed: list[BaseException] = []
        self.refused: list[int] = []

    def websocket_opened(self, exchange: Exchange) -> None:
        self.opened += 1

    def websocket_closed(self, exchange: Exchange, code: int, reason: str, duration: float) -> None:
        assert duration >= 0.0
        self.closed.append((code, reason))

    def application_failed(self, exchange: Exchange, error: BaseException) -> None:
        self.failed.append(error)

    def request_refused(self, client: str, status: int, message: str) -> None:
        self.refused.append(status)


class Run:
    """One application, called for one request."""

    def __init__(
        self,
        application: AsgiApplication,
        *extra: tuple[bytes, bytes],
        peer: Peer | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.observer = Watch()
        self.carrier = Carrier()
        self.socket = self.carrier.socket
        head = RequestHead(
            "GET",
            b"/caf%C3%A9/",
            b"room=1",
            "1.1",
            [
                (b"host", b"example.org"),
                (b"upgrade", b"websocket"),
                (b"connection", b"Upgrade"),
                (b"sec-websocket-key", base64.b64encode(bytes(16))),
                (b"sec-websocket-version", b"13"),
                *extra,
            ],
            is_websocket=True,
        )
        peer = peer or Peer(("192.0.2.1", 5000), ("192.0.2.2", 80))
        self.exchange = Exchange(head, peer, self.carrier)

        def open_socket(framing: WebSocketFraming) -> Callable[..., SocketExchange]:
            return lambda carrier: carrier.socket

        self.gateway = AsgiWebSocketGateway(
            application,
            asyncio.get_running_loop(),
            self.observer,
            state if state is not None else {},
            open_socket,
        )
        self.opened: list[SocketExchange] = []
        self.overs = 0
        self.gateway(self.exchange, _Told(self))

    async def done(self) -> Run:
        await until(lambda: not self.gateway.running)
        return self

    @property
    def status(self) -> int:
        return int(self.carrier.written.split(b" ")[1])

    @property
    def rule(self) -> str:
        """The message of the one failure, which broke a rule."""
        (error,) = self.observer.failed
        assert isinstance(error, ApplicationError), error
        return str(error)


class _Told:
    """A ticket that notes on the run what it hears."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def opened(self, socket: SocketExchange) -> None:
        self._run.opened.append(socket)

    def over(self) -> None:
        self._run.overs += 1


async def echo(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    assert await receive() == {"type": "websocket.connect"}
    await send(ACCEPT)
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})
    scope["state"]["end"] = event


@on_loop
async def test_the_life_of_a_websocket() -> None:
    end: dict[str, Any] = {}

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        scope["state"] = end
        await echo(scope, receive, send)

    run = Run(application)
    await until(lambda: run.observer.opened)
    assert run.status == 101
    run.socket.say("text")
    run.socket.say(b"bytes")
    await until(lambda: len(run.socket.sent) == 2)
    assert run.socket.sent == ["text", b"bytes"]
    run.socket.end(3001, "bye")
    await run.done()
    assert end["end"] == {"type": "websocket.disconnect", "code": 3001, "reason": "bye"}
    assert run.observer.closed == [(3001, "bye")]
    assert not run.observer.failed
    assert (run.opened, run.overs) == ([run.socket], 1)


@on_loop
async def test_the_scope() -> None:
    scopes: list[dict[str, Any]] = []

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await send(CLOSE)

    state = {"database": object()}
    protocols = ((b"sec-websocket-protocol", b"chat, v2"), (b"sec-websocket-protocol", b"v1"))
    peer = Peer(("192.0.2.1", 5000), ("192.0.2.2", 443), "https")
    run = await Run(application, *protocols, state=state, peer=peer).done()
    (scope,) = scopes
    assert scope.pop("headers") == run.exchange.head.headers
    assert scope.pop("state") == state
    assert scope["extensions"].pop("twogate.broadcast").keys() == {"join", "leave"}
    assert scope == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "scheme": "wss",
        "path": "/café/",
        "raw_path": b"/caf%C3%A9/",
        "query_string": b"room=1",
        "root_path": "",
        "client": ("192.0.2.1", 5000),
        "server": ("192.0.2.2", 443),
        "subprotocols": ["chat", "v2", "v1"],
        "extensions": {"websocket.http.response": {}},
    }


# Topics.


@on_loop
async def test_topics_are_joined_and_left() -> None:
    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        join(scope, "a")
        join(scope, "b")
        leave(scope, "a")
        with pytest.raises(TypeError):
            join(scope, 5)  # type: ignore[arg-type]
        while (await receive())["type"] != "websocket.disconnect":
            pass

    run = Run(application)
    await until(lambda: run.socket.topics)
    assert run.socket.topics == ["b"]
    run.socket.end(1000)
    await run.done()


@on_loop
async def test_what_was_joined_before_accepting_counts_from_then_on() -> None:
    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        for topic in "abc":
            join(scope, topic)
        leave(scope, "b")
        leave(scope, "never joined")
        assert run.socket.topics == []
        await send(ACCEPT)
        await receive()
        await receive()

    run = Run(application)
    await until(lambda: run.socket.topics)
    assert sorted(run.socket.topics) == ["a", "c"]
    run.socket.end(1000)
    await run.done()
    assert not run.observer.failed


@on_loop
async def test_one_that_is_refused_joins_nothing() -> None:
    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        join(scope, "a")
        await send(CLOSE)
        join(scope, "b")

    run = await Run(application).done()
    assert run.socket.topics == []
    assert not run.observer.failed


@on_loop
async def test_a_thread_joins_in_the_order_of_what_it_does() -> None:
    """As a sync consumer does, whose methods run on a thread."""

    def connect(scope: dict[str, Any], send: Callable[[dict[str, Any]], None]) -> None:
        join(scope, "before")
        send(ACCEPT)
        join(scope, "after")
        leave(scope, "before")

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()

        def send_and_wait(message: dict[str, Any]) -> None:
            asyncio.run_coroutine_threadsafe(_run(send, message), loop).result(10)
            seen.append(list(run.socket.topics))

        await asyncio.to_thread(connect, scope, send_and_wait)
        await receive()
        await receive()

    seen: list[list[str]] = []
    run = Run(application)
    await until(lambda: run.socket.topics == ["after"])
    assert seen == [["before"]]
    run.socket.end(1000)
    await run.done()


async def _run(send: Send, message: dict[str, Any]) -> None:
    await send(message)


@on_loop
async def test_the_state_is_a_copy() -> None:
    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        scope["state"]["mine"] = 1
        await send(CLOSE)

    state: dict[str, Any] = {}
    await Run(application, state=state).done()
    assert state == {}


@on_loop
async def test_accept_with_subprotocol_and_headers() -> None:
    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send({**ACCEPT, "subprotocol": "v2", "headers": [(b"x-room", b"1")]})

    run = await Run(application, (b"sec-websocket-protocol", b"v1, v2")).done()
    assert b"Sec-WebSocket-Protocol: v2\r\n" in run.carrier.written
    assert b"x-room: 1\r\n" in run.carrier.written
    assert run.socket.closed == ClosedSocket(1000)


@on_loop
async def test_a_handshake_that_is_wrong_never_reaches_the_application() -> None:
    run = Run(echo, (b"sec-websocket-version", b"13"))
    assert not run.gateway.running
    assert run.status == 400
    assert run.observer.refused == [400]
    assert b"Connection: close" in run.carrier.written
    assert (run.opened, run.overs) == ([], 1)


# Refusing.


async def refuse(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send(CLOSE)
    scope["state"]["end"] = await receive()
    with pytest.raises(ClientDisconnected):
        await receive()
    with pytest.raises(OSError):
        await send({"type": "websocket.send", "text": "late"})


@on_loop
async def test_closing_before_accepting_is_403_and_disconnects() -> None:
    ends: dict[str, Any] = {}

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await refuse({"state": ends}, receive, send)

    run = await Run(application).done()
    assert run.status == 403
    assert run.carrier.ended
    assert b"Connection: close" in run.carrier.written
    assert ends["end"] == {"type": "websocket.disconnect", "code": 1006, "reason": ""}
    assert not run.observer.failed
    assert not run.observer.closed
    assert (run.opened, run.overs) == ([], 1)


@on_loop
async def test_a_denial_response_is_streamed() -> None:
    pieces: list[bytes] = []

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "websocket.http.response.start",
                "status": 402,
                "headers": [(b"content-type", b"text/plain"), (b"x-why", b"money")],
            }
        )
        for piece in (b"pay ", b"first"):
            body = {"type": "websocket.http.response.body", "body": piece, "more_body": True}
            await send(body)
            pieces.append(run.carrier.written)
        run.carrier.writable = False
        await send(body)
        pieces.append(b"resumed")
        await send({"type": "websocket.http.response.body"})
        assert (await receive())["type"] == "websocket.connect"
        assert (await receive())["type"] == "websocket.disconnect"

    run = Run(application)
    await until(lambda: run.carrier.drained)
    assert len(pieces) == 2
    run.carrier.drained.pop()()
    await run.done()
    assert run.status == 402
    assert b"x-why: money\r\n" in pieces[0]
    assert pieces[0].endswith(b"4\r\npay \r\n")
    assert run.carrier.written.endswith(b"5\r\nfirst\r\n0\r\n\r\n")
    assert run.carrier.ended
    assert not run.observer.failed


@on_loop
async def test_a_denial_that_is_not_finished_is_cut_short() -> None:
    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", "status": 403})
        await send({"type": "websocket.http.response.body", "body": b"x", "more_body": True})

    run = await Run(application).done()
    assert "returned inside a denial response" in run.rule
    assert run.carrier.aborted


# The application breaks a rule.


def script(*messages: dict[str, Any]) -> AsgiApplication:
    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return application


START = {"type": "websocket.http.response.start", "status": 403}
BODY = {"type": "websocket.http.response.body", "body": b""}
SEND = {"type": "websocket.send", "text": "x"}


@pytest.mark.parametrize(
    ("messages", "rule"),
    [
        ([SEND], "websocket.send before it accepted"),
        ([BODY], "websocket.http.response.body before it accepted"),
        ([{"type": "http.response.start"}], "not an event a WebSocket application"),
        ([{}], "None is not an event"),
        ([], "returned before it accepted or closed"),
        ([{**ACCEPT, "subprotocol": "v9"}], "did not offer the subprotocol 'v9'"),
        ([{**ACCEPT, "headers": [(b"sec-websocket-protocol", b"a")]}], "key 'subprotocol'"),
        ([{**START, "status": "403"}], "must be an int"),
        ([START, ACCEPT], "websocket.accept inside a denial response"),
        ([START, {**BODY, "body": "text"}], "byte string, not str"),
        ([START], "returned inside a denial response"),
    ],
)
@on_loop
async def test_a_rule_broken_before_accepting_is_500(
    messages: list[dict[str, Any]], rule: str
) -> None:
    run = await Run(script(*messages)).done()
    assert rule in run.rule
    assert run.status == 500
    assert not run.observer.opened


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (ACCEPT, "websocket.accept on an accepted WebSocket"),
        (START, "websocket.http.response.start on an accepted"),
        (BODY, "websocket.http.response.body on an accepted"),
        ({"type": "websocket.send"}, "exactly one of 'bytes' and 'text'"),
        ({"type": "websocket.send", "text": "a", "bytes": b"b"}, "exactly one of"),
        ({"type": "websocket.send", "text": b"a"}, "'text' of websocket.send is of type bytes"),
        ({"type": "websocket.send", "bytes": "b"}, "'bytes' of websocket.send is of type str"),
        ({"type": "websocket.close", "code": 1006}, "not a close code that may be sent"),
        ({"type": "websocket.close", "reason": "x" * 124}, "at most 123 bytes"),
        ({"type": "websocket.connect"}, "not an event a WebSocket application"),
    ],
)
@on_loop
async def test_a_rule_broken_after_accepting_is_1011(message: dict[str, Any], rule: str) -> None:
    run = await Run(script(ACCEPT, message)).done()
    assert rule in run.rule
    assert run.socket.closed == ClosedSocket(1011)
    assert run.observer.closed == [(1011, "")]


@on_loop
async def test_an_exception_after_accepting_is_1011_and_told() -> None:
    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        raise KeyError("a bug")

    run = await Run(application).done()
    (error,) = run.observer.failed
    assert isinstance(error, KeyError)
    assert run.socket.closed == ClosedSocket(1011)


@on_loop
async def test_an_exception_before_accepting_is_500() -> None:
    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        raise SystemExit(3)

    run = await Run(application).done()
    assert run.status == 500
    assert len(run.observer.failed) == 1


# Ends.


@on_loop
async def test_returning_closes_with_1000() -> None:
    run = await Run(script(ACCEPT)).done()
    assert run.socket.closed == ClosedSocket(1000)
    assert run.observer.closed == [(1000, "")]
    assert not run.observer.failed


@on_loop
async def test_the_application_closes_and_is_told_its_own_code() -> None:
    events: list[dict[str, Any]] = []

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await send({**CLOSE, "code": 4002, "reason": "no"})
        events.append(await receive())
        await send(SEND)

    run = await Run(application).done()
    assert events == [{"type": "websocket.disconnect", "code": 4002, "reason": "no"}]
    assert run.socket.closed == ClosedSocket(4002, "no")
    assert not run.observer.failed


@on_loop
async def test_a_client_that_vanishes_before_accept_is_1006() -> None:
    events: list[dict[str, Any]] = []

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        events.append(await receive())
        await send(ACCEPT)

    run = Run(application)
    await asyncio.sleep(0)
    run.exchange.disconnect()
    await run.done()
    assert events == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]
    assert run.carrier.written == b""
    assert not run.observer.failed
    assert not run.observer.opened


@on_loop
async def test_send_after_disconnect_is_an_oserror_and_no_failure() -> None:
    for message in (SEND, CLOSE):
        run = Run(script(ACCEPT, message))
        run.socket.closed = ClosedSocket(1006)
        await run.done()
        assert not run.observer.failed


@on_loop
async def test_a_disconnect_inside_a_task_group_is_no_failure() -> None:
    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        async with asyncio.TaskGroup() as group:
            group.create_task(send(SEND))  # type: ignore[arg-type]
            group.create_task(send(SEND))  # type: ignore[arg-type]

    run = Run(application)
    run.socket.closed = ClosedSocket(1001)
    await run.done()
    assert not run.observer.failed


@on_loop
async def test_a_framework_s_own_word_for_a_disconnect_is_no_failure() -> None:
    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        try:
            await send(SEND)
        except OSError:
            raise LookupError("WebSocketDisconnect") from None

    run = Run(application)
    run.socket.closed = ClosedSocket(1001)
    await run.done()
    assert not run.observer.failed


@on_loop
async def test_an_oserror_of_the_application_s_own_is_a_failure() -> None:
    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        raise ClientDisconnected("says who?")

    run = await Run(application).done()
    assert len(run.observer.failed) == 1


@on_loop
async def test_cancelling_closes_with_1012() -> None:
    run = Run(echo)
    await until(lambda: run.observer.opened)
    await run.gateway.finish(0.0)
    assert run.socket.closed == ClosedSocket(1012)
    assert not run.observer.failed


# Waiting.


@on_loop
async def test_send_waits_while_the_peer_does_not_read() -> None:
    run = Run(echo)
    await until(lambda: run.observer.opened)
    run.socket.writable = False
    run.socket.say("one")
    await until(lambda: run.socket.drained)
    assert run.socket.sent == []
    run.socket.writable = True
    run.socket.drain()
    await until(lambda: run.socket.sent == ["one"])
    run.socket.end(1000)
    await run.done()


@on_loop
async def test_send_that_waits_is_released_by_the_end() -> None:
    run = Run(echo)
    await until(lambda: run.observer.opened)
    run.socket.writable = False
    run.socket.say("one")
    await until(lambda: run.socket.drained)
    run.socket.end(1006)
    await run.done()
    assert run.socket.sent == []
    assert not run.observer.failed


@on_loop
async def test_a_receive_that_is_cancelled_loses_nothing() -> None:
    got: list[str] = []

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        while len(got) < 50:
            task = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            if len(got) % 2:
                await asyncio.sleep(0)
            if not task.done():
                task.cancel()
            try:
                got.append((await task)["text"])
            except asyncio.CancelledError:
                continue

    run = Run(application)
    await until(lambda: run.observer.opened)
    for number in range(50):
        run.socket.say(str(number))
        for _ in range(number % 4):
            await asyncio.sleep(0)
    await run.done()
    assert got == [str(number) for number in range(50)]


@on_loop
async def test_two_that_receive_share_the_events_and_both_end() -> None:
    got: list[str] = []

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)

        async def listen() -> None:
            try:
                while (event := await receive())["type"] == "websocket.receive":
                    got.append(event["text"])
            except ClientDisconnected:
                got.append("gone")

        await asyncio.gather(listen(), listen())

    run = Run(application)
    await until(lambda: run.observer.opened)
    for number in range(10):
        run.socket.say(str(number))
        await asyncio.sleep(0)
    run.socket.end(1000)
    await run.done()
    assert sorted(got) == sorted([*map(str, range(10)), "gone"])


@on_loop
async def test_receives_that_time_out_leave_nothing_behind() -> None:
    calls: list[Any] = []

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        for _ in range(100):
            task = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        calls.append(len(receive.__self__._waiters))  # type: ignore[attr-defined]

    await Run(application).done()
    assert calls == [0]


@on_loop
async def test_a_task_that_outlives_the_application_is_told_the_end() -> None:
    tasks: list[asyncio.Task[Any]] = []

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        tasks.append(asyncio.ensure_future(receive()))
        await asyncio.sleep(0)

    await Run(application).done()
    assert await tasks[0] == {"type": "websocket.disconnect", "code": 1000, "reason": ""}


@on_loop
async def test_no_reference_is_left() -> None:
    gc.collect()
    gc.disable()
    try:
        for application in (echo, script(CLOSE), script(ACCEPT), script()):
            run = Run(application)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if application is echo:
                run.socket.end(1000)
            await run.done()
            await asyncio.sleep(0)
            socket = weakref.ref(run.socket)
            carrier = weakref.ref(run.carrier)
            run.observer.failed.clear()
            del run.exchange.body  # which knows the exchange: not this room's business
            del run
            assert carrier() is None
            assert socket() is None
    finally:
        gc.enable()
