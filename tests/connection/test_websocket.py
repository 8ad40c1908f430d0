"""A WebSocket on a real socket, without an application: queue, backpressure, pings and ends."""

from __future__ import annotations

import asyncio
import functools
import gc
import socket
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import pytest
import uvloop
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from twogate.connection.context import Context
from twogate.connection.websocket import WebSocketConnection, WebSocketSettings, opener
from twogate.errors import ClientDisconnected
from twogate.observe.observer import Observer
from twogate.protocol.http1_reader import Limits
from twogate.protocol.websocket import ClosedSocket, WebSocketFraming, encode_frame
from twogate.realtime.hub import DROP_OLDEST, Hub

SECONDS = 20.0


def on_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test on asyncio's own loop and on uvloop, bounded in time."""

    async def bounded() -> None:
        try:
            async with asyncio.timeout(SECONDS):
                await test()
        finally:
            while Pair.opened:
                await Pair.opened.pop().dispose()

    @functools.wraps(test)
    def run(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(bounded())

    del run.__dict__["__wrapped__"]
    both = pytest.mark.parametrize(
        "loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
    )
    marked: Callable[..., None] = both(run)
    return marked


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


class Count(Observer):
    """Counts the connections that are gone."""

    def __init__(self) -> None:
        self.closed = 0

    def connection_closed(self) -> None:
        self.closed += 1


class Pair:
    """A WebSocket connection and its peer, which is a bare socket and somebody else's protocol."""

    opened: ClassVar[list[Pair]] = []

    def __init__(self, compressed: bool = False, hub: Hub | None = None, **settings: Any) -> None:
        self.settings = WebSocketSettings(**settings)
        self.loop = asyncio.get_running_loop()
        self.observer = Count()
        self.context = Context(
            self.loop, lambda _: None, self.observer, Limits(), 5.0, 5.0, 5.0, hub=hub or Hub()
        )
        self.peer = ClientProtocol(parse_uri("ws://x/"), state=OPEN, max_size=None)
        self.extensions = [PerMessageDeflate(True, True, 12, 12)] if compressed else []
        if compressed:
            self.peer.extensions = [PerMessageDeflate(True, True, 12, 12)]
        self.now = 100.0

    async def open(self, early: bytes = b"") -> WebSocketConnection:
        """Do what the HTTP connection does after its 101."""
        ours, self.socket = socket.socketpair()
        self.socket.setblocking(False)
        transport, _ = await self.loop.create_connection(asyncio.Protocol, sock=ours)
        transport.set_write_buffer_limits(high=65536)
        transport.pause_reading()
        make = opener(self.settings)(WebSocketFraming(1048576, self.extensions))
        connection = make(transport, early, self.context)
        assert isinstance(connection, WebSocketConnection)
        transport.set_protocol(connection)
        self.context.connections.add(connection)
        transport.resume_reading()
        self.transport: asyncio.Transport = transport
        self.opened.append(self)
        return connection

    async def dispose(self) -> None:
        """Leave nothing open, whatever the test did."""
        self.socket.close()
        for connection in list(self.context.connections):
            connection.abort()
        await until(lambda: self.observer.closed)

    async def send(self, data: bytes | None = None) -> None:
        data = b"".join(self.peer.data_to_send()) if data is None else data
        await self.loop.sock_sendall(self.socket, data)

    async def text(self, message: str) -> None:
        self.peer.send_text(message.encode())
        await self.send()

    async def frame(self) -> Frame:
        """The next frame the peer reads; fails at the end of the stream."""
        while not self.peer.events:
            data = await self.loop.sock_recv(self.socket, 65536)
            assert data, "the stream has ended"
            self.peer.receive_data(data)
        frame = self.peer.events.pop(0)
        assert isinstance(frame, Frame)
        return frame

    async def end_of_stream(self) -> bytes:
        """All the peer still reads."""
        read = b""
        while data := await self.loop.sock_recv(self.socket, 65536):
            read += data
        return read

    def tick(self, connection: WebSocketConnection, seconds: float) -> None:
        """Let some seconds pass, with a tick in each."""
        for _ in range(round(seconds)):
            self.now += 1.0
            connection.tick(self.now)


async def take(connection: WebSocketConnection) -> object:
    taken: list[object] = []

    def look() -> bool:
        item = connection.take()
        if item is not None:
            taken.append(item)
        return item is not None

    await until(look)
    return taken[0]


@on_loop
async def test_messages_go_both_ways() -> None:
    pair = Pair()
    connection = await pair.open()
    await pair.text("hello")
    assert await take(connection) == "hello"
    connection.send("there")
    connection.send(b"\x00")
    assert connection.offer(encode_frame(1, b"prepared"))
    frames = [await pair.frame() for _ in range(3)]
    assert [bytes(frame.data) for frame in frames] == [b"there", b"\x00", b"prepared"]
    assert [frame.opcode for frame in frames] == [Opcode.TEXT, Opcode.BINARY, Opcode.TEXT]


@on_loop
async def test_bytes_that_came_before_the_upgrade_are_read() -> None:
    pair = Pair()
    pair.peer.send_text(b"early")
    connection = await pair.open(b"".join(pair.peer.data_to_send()))
    assert connection.take() == "early"
    await pair.text("later")
    assert await take(connection) == "later"


@on_loop
async def test_a_ping_is_answered() -> None:
    pair = Pair()
    await pair.open()
    pair.peer.send_ping(b"payload")
    await pair.send()
    frame = await pair.frame()
    assert (frame.opcode, bytes(frame.data)) == (Opcode.PONG, b"payload")


# The queue.


@on_loop
async def test_reading_stops_while_messages_wait() -> None:
    pair = Pair(queue_messages=4)
    connection = await pair.open()
    for number in range(10):
        await pair.text(str(number))
    await until(lambda: not pair.transport.is_reading())
    assert len(connection._messages) == 4
    assert [await take(connection) for _ in range(10)] == [str(number) for number in range(10)]
    assert pair.transport.is_reading()


@on_loop
async def test_reading_stops_while_bytes_wait() -> None:
    pair = Pair(queue_bytes=1000)
    connection = await pair.open()
    for _ in range(4):
        await pair.text("x" * 700)
    await until(lambda: not pair.transport.is_reading())
    assert len(connection._messages) == 2
    assert [await take(connection) for _ in range(4)] == ["x" * 700] * 4


@on_loop
async def test_a_queue_that_is_full_decompresses_no_more() -> None:
    pair = Pair(compressed=True)
    connection = await pair.open()
    for _ in range(40):
        pair.peer.send_binary(bytes(1 << 20))
    await pair.send()
    await until(lambda: not pair.transport.is_reading())
    assert len(connection._messages) == 1
    for _ in range(40):
        assert await take(connection) == bytes(1 << 20)
        assert len(connection._messages) <= 1


@on_loop
async def test_a_flood_is_bounded_by_the_queue_and_the_kernel() -> None:
    pair = Pair()
    connection = await pair.open()
    pair.peer.send_binary(bytes(1000))
    frame = b"".join(pair.peer.data_to_send())
    sent = 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SECONDS):
            while True:
                async with asyncio.timeout(0.3):
                    await pair.send(frame * 100)
                sent += 100
    assert sent < 20_000
    assert connection._held <= connection._settings.queue_bytes + 1000


# Backpressure on what is sent.


@on_loop
async def test_a_slow_reader_makes_it_unwritable_until_it_reads() -> None:
    pair = Pair()
    connection = await pair.open()
    while connection.writable:
        connection.send(bytes(65536))
        await asyncio.sleep(0)
    called: list[bool] = []
    connection.when_writable(lambda: called.append(connection.writable))
    assert not called
    while not called:
        await pair.loop.sock_recv(pair.socket, 65536)
    assert called == [True]


@on_loop
async def test_a_lost_peer_releases_who_waits_to_write() -> None:
    pair = Pair()
    connection = await pair.open()
    while connection.writable:
        connection.send(bytes(65536))
        await asyncio.sleep(0)
    called: list[bool] = []
    connection.when_writable(lambda: called.append(connection.writable))
    pair.socket.close()
    await until(lambda: called)
    with pytest.raises(ClientDisconnected):
        connection.send("too late")


@on_loop
async def test_pings_of_a_peer_that_does_not_read_cost_one_pong() -> None:
    pair = Pair()
    connection = await pair.open()
    while connection.writable:
        connection.send(bytes(65536))
        await asyncio.sleep(0)
    before = pair.transport.get_write_buffer_size()
    for number in range(2000):
        pair.peer.send_ping(b"%d" % number)
    await pair.send()
    await until(lambda: connection._pong == encode_frame(10, b"1999"))
    assert pair.transport.get_write_buffer_size() <= before
    while (frame := await pair.frame()).opcode is not Opcode.PONG:
        pass
    assert bytes(frame.data) == b"1999"


# Broadcasts.


async def fill(connection: WebSocketConnection) -> int:
    """Send until the peer's not reading is felt; the number of messages."""
    count = 0
    while connection.writable:
        connection.send(bytes(65536))
        count += 1
        await asyncio.sleep(0)
    return count


@on_loop
async def test_what_is_broadcast_keeps_its_place_among_the_application_s_messages() -> None:
    pair = Pair(compressed=True)
    connection = await pair.open()
    connection.join("t")
    expected = []
    for number in range(20):
        text = f"{number} " * 1000  # long enough to be compressed when the application sends it
        connection.send(text)
        assert pair.context.hub.deliver("t", text + "!") == 1
        expected += [text, text + "!"]
    frames = [await pair.frame() for _ in range(40)]
    assert [str(frame.data, "utf-8") for frame in frames] == expected
    assert all(frame.fin and frame.opcode is Opcode.TEXT for frame in frames)


@on_loop
async def test_it_leaves_what_it_has_left() -> None:
    pair = Pair()
    connection, hub = await pair.open(), pair.context.hub
    connection.join("a")
    connection.join("b")
    connection.leave("a")
    assert (hub.deliver("a", "x"), hub.deliver("b", "y")) == (0, 1)
    assert bytes((await pair.frame()).data) == b"y"


@on_loop
async def test_every_end_leaves_every_topic_before_it_is_told() -> None:
    async def peer_closes(pair: Pair, connection: WebSocketConnection) -> None:
        pair.peer.send_close(1000)
        await pair.send()

    async def peer_vanishes(pair: Pair, connection: WebSocketConnection) -> None:
        pair.socket.close()

    async def peer_breaks_a_rule(pair: Pair, connection: WebSocketConnection) -> None:
        await pair.send(encode_frame(1, b"not masked"))

    async def we_close(pair: Pair, connection: WebSocketConnection) -> None:
        connection.close(1000)

    async def we_drain(pair: Pair, connection: WebSocketConnection) -> None:
        connection.drain()

    async def we_abort(pair: Pair, connection: WebSocketConnection) -> None:
        connection.abort()

    async def peer_is_dead(pair: Pair, connection: WebSocketConnection) -> None:
        pair.tick(connection, 41)

    ends = (peer_closes, peer_vanishes, peer_breaks_a_rule, we_close, we_drain, we_abort)
    for end in (*ends, peer_is_dead):
        pair = Pair()
        connection, hub = await pair.open(), pair.context.hub
        for topic in "abc":
            connection.join(topic)
        left: list[int] = []
        connection.listener = functools.partial(_note_sockets, left, hub)
        await end(pair, connection)
        await until(lambda seen=left: seen)  # type: ignore[misc]
        assert left == [0], end.__name__
        connection.join("too late")
        assert hub.statistics().topics == 0
        assert hub.deliver("a", "x") == 0


def _note_sockets(left: list[int], hub: Hub) -> None:
    left.append(hub.statistics().sockets)


@on_loop
async def test_a_slow_reader_has_what_waited_once_it_reads() -> None:
    pair = Pair(hub=Hub(backlog=1 << 20))
    connection, hub = await pair.open(), pair.context.hub
    connection.join("t")
    count = await fill(connection)
    for number in range(500):
        assert hub.deliver("t", f"{number:1000}") == 1
    assert hub.statistics().waiting == 500
    sizes = [len((await pair.frame()).data) for _ in range(count)]
    assert sizes == [65536] * count
    assert [int((await pair.frame()).data) for _ in range(500)] == list(range(500))
    assert hub.statistics().waiting == 0
    assert hub.statistics().delivered == 500
    assert connection._backlog is None
    hub.deliver("t", "direct")
    assert bytes((await pair.frame()).data) == b"direct"


@on_loop
async def test_a_reader_that_is_too_slow_is_closed_with_1013_and_others_are_served() -> None:
    hub = Hub(backlog=100_000)
    stuck, reading = Pair(hub=hub), Pair(hub=hub)
    slow, quick = await stuck.open(), await reading.open()
    slow.join("t")
    quick.join("t")
    await fill(slow)
    for number in range(200):
        hub.deliver("t", f"{number:1000}")
        assert int((await reading.frame()).data) == number
    assert slow.closed == ClosedSocket(1013, "this client reads too slowly")
    statistics = hub.statistics()
    assert (statistics.closed, statistics.sockets, statistics.waiting) == (1, 1, 0)
    assert statistics.delivered == 200
    assert 90 < statistics.dropped < 110
    while (frame := await stuck.frame()).opcode is not Opcode.CLOSE:
        assert len(frame.data) == 65536
    assert bytes(frame.data)[:2] == (1013).to_bytes(2, "big")


@on_loop
async def test_or_it_loses_the_oldest() -> None:
    hub = Hub(backlog=100_000, slow_reader=DROP_OLDEST)
    pair = Pair(hub=hub)
    connection = await pair.open()
    connection.join("t")
    count = await fill(connection)
    for number in range(1000):
        hub.deliver("t", f"{number:1000}")
    for _ in range(count):
        await pair.frame()
    first = int((await pair.frame()).data)
    rest = [int((await pair.frame()).data) for _ in range(999 - first)]
    assert rest == list(range(first + 1, 1000))
    statistics = hub.statistics()
    assert (statistics.dropped, statistics.delivered) == (first, 1000 - first)
    assert 890 < first < 910
    assert connection.closed is None


@on_loop
async def test_what_waits_goes_out_before_our_close_frame() -> None:
    pair = Pair()
    connection = await pair.open()
    connection.join("t")
    count = await fill(connection)
    pair.context.hub.deliver("t", "last words")
    connection.drain()
    for _ in range(count):
        await pair.frame()
    assert bytes((await pair.frame()).data) == b"last words"
    assert (await pair.frame()).opcode is Opcode.CLOSE
    assert pair.context.hub.statistics().delivered == 1


@on_loop
async def test_what_waits_for_a_peer_that_vanishes_is_counted_as_dropped() -> None:
    pair = Pair()
    connection = await pair.open()
    connection.join("t")
    await fill(connection)
    for _ in range(7):
        pair.context.hub.deliver("t", "x")
    pair.transport.abort()
    await until(lambda: connection.closed)
    statistics = pair.context.hub.statistics()
    assert (statistics.dropped, statistics.waiting, statistics.closed) == (7, 0, 0)


@on_loop
async def test_broadcasts_without_end_do_not_silence_the_application() -> None:
    hub = Hub(backlog=200_000, slow_reader=DROP_OLDEST)
    pair = Pair(hub=hub)
    connection = await pair.open()
    connection.join("t")
    await fill(connection)
    connection.when_writable(lambda: connection.send("mine"))
    while bytes((await pair.frame()).data) != b"mine":
        for _ in range(100):
            hub.deliver("t", "x" * 1000)
    assert hub.statistics().dropped


@on_loop
async def test_a_peer_that_reads_broadcasts_slowly_is_not_taken_for_dead() -> None:
    hub = Hub(backlog=300_000, slow_reader=DROP_OLDEST)
    pair = Pair(hub=hub)
    connection = await pair.open()
    connection.join("t")
    await fill(connection)
    for _ in range(6):
        hub.deliver("t", "x" * 300_000)
        while connection._backlog is not None:
            await pair.loop.sock_recv(pair.socket, 65536)
            await asyncio.sleep(0)
        hub.deliver("t", "x" * 300_000)
        pair.tick(connection, 18)
    assert connection.closed is None


# Ends.


@on_loop
async def test_the_peer_closes() -> None:
    pair = Pair()
    connection = await pair.open()
    await pair.text("last words")
    pair.peer.send_close(3001, "done")
    await pair.send()
    assert await take(connection) == "last words"
    assert await take(connection) == ClosedSocket(3001, "done")
    assert connection.take() is None
    assert await pair.end_of_stream() == encode_frame(8, b"\x0b\xb9done")
    await until(lambda: pair.observer.closed)
    assert connection not in pair.context.connections
    assert pair.observer.closed == 1
    assert connection.take() is None


@on_loop
async def test_the_peer_closes_without_a_code() -> None:
    pair = Pair()
    connection = await pair.open()
    pair.peer.send_close()
    await pair.send()
    assert await take(connection) == ClosedSocket(1005, "")


@on_loop
async def test_the_peer_vanishes() -> None:
    pair = Pair()
    connection = await pair.open()
    pair.socket.close()
    end = await take(connection)
    assert isinstance(end, ClosedSocket)
    assert end.code == 1006
    assert pair.observer.closed == 1


@on_loop
async def test_what_waits_when_the_peer_vanishes_is_still_taken() -> None:
    pair = Pair(queue_messages=4)
    connection = await pair.open()
    for number in range(10):
        pair.peer.send_text(b"%d" % number)
    pair.peer.send_close(1000)
    await pair.send()
    await until(lambda: not pair.transport.is_reading())
    pair.transport.abort()
    await until(lambda: pair.observer.closed)
    assert [connection.take() for _ in range(4)] == ["0", "1", "2", "3"]
    end = connection.take()
    assert isinstance(end, ClosedSocket)
    assert end.code == 1006


@on_loop
async def test_one_that_opens_while_the_server_drains_is_closed_at_once() -> None:
    pair = Pair()
    pair.context.draining = True
    connection = await pair.open()
    assert connection.closed is not None
    assert connection.closed.code == 1012
    assert (await pair.frame()).opcode is Opcode.CLOSE


@on_loop
async def test_we_close_and_the_peer_answers() -> None:
    pair = Pair()
    connection = await pair.open()
    await pair.text("not taken")
    await until(lambda: connection._messages)
    connection.close(4001, "over")
    assert connection.take() == ClosedSocket(4001, "over")
    assert connection.take() is None
    frame = await pair.frame()
    assert frame.opcode is Opcode.CLOSE
    await pair.send()
    assert await pair.end_of_stream() == b""
    await until(lambda: pair.observer.closed)


@on_loop
async def test_closing_reads_on_past_a_full_queue() -> None:
    pair = Pair(queue_messages=1)
    connection = await pair.open()
    for _ in range(5):
        await pair.text("ignored")
    await until(lambda: not pair.transport.is_reading())
    connection.close(1000)
    await pair.frame()
    await pair.send()
    assert await pair.end_of_stream() == b""


@on_loop
async def test_a_peer_that_does_not_answer_our_close_is_cut() -> None:
    pair = Pair(close_timeout=5.0)
    connection = await pair.open()
    pair.tick(connection, 10)
    connection.close(1000)
    pair.tick(connection, 5)
    assert not pair.transport.is_closing()
    pair.tick(connection, 1)
    assert await pair.end_of_stream() == encode_frame(8, b"\x03\xe8")
    assert pair.observer.closed == 1


@on_loop
async def test_draining_says_1012_and_keeps_what_was_received() -> None:
    pair = Pair(queue_messages=1)
    connection = await pair.open()
    await pair.text("before")
    await until(lambda: connection._messages)
    connection.drain()
    connection.drain()
    assert connection.take() == "before"
    end = connection.take()
    assert isinstance(end, ClosedSocket)
    assert end.code == 1012
    frame = await pair.frame()
    assert bytes(frame.data)[:2] == (1012).to_bytes(2, "big")
    await pair.send()
    assert await pair.end_of_stream() == b""


@on_loop
async def test_draining_needs_no_application_that_takes() -> None:
    pair = Pair(queue_messages=1)
    connection = await pair.open()
    for _ in range(3):
        await pair.text("never taken")
    await until(lambda: not pair.transport.is_reading())
    connection.drain()
    await pair.frame()
    await pair.send()
    assert await pair.end_of_stream() == b""


@on_loop
async def test_the_reason_of_a_failure_reaches_a_peer_that_still_sends() -> None:
    pair = Pair()
    connection = await pair.open()
    # The header announces too much, and then the peer goes on sending it.
    await pair.send(b"\x82\xff" + (1 << 30).to_bytes(8, "big") + bytes(4))
    for _ in range(50):
        await pair.send(bytes(65536))
    end = await take(connection)
    assert isinstance(end, ClosedSocket)
    assert end.code == 1009
    assert (await pair.end_of_stream())[2:4] == (1009).to_bytes(2, "big")
    pair.socket.close()
    await until(lambda: pair.observer.closed)


@on_loop
async def test_a_peer_that_sends_for_ever_after_its_failure_is_cut() -> None:
    pair = Pair(close_timeout=3.0)
    connection = await pair.open()
    await pair.send(encode_frame(1, b"not masked"))
    await take(connection)
    await pair.send(bytes(1000))
    pair.tick(connection, 4)
    await until(lambda: pair.observer.closed)


@on_loop
async def test_aborting_is_an_abnormal_end() -> None:
    pair = Pair()
    connection = await pair.open()
    connection.abort()
    end = await take(connection)
    assert isinstance(end, ClosedSocket)
    assert end.code == 1006


@on_loop
async def test_the_end_is_told_once_and_sending_after_it_raises() -> None:
    pair = Pair()
    connection = await pair.open()
    told: list[ClosedSocket | None] = []
    connection.listener = lambda: told.append(connection.closed)
    connection.close(1000)
    connection.close(4000)
    connection.drain()
    connection.abort()
    await until(lambda: pair.observer.closed)
    assert told == [ClosedSocket(1000, "")]
    with pytest.raises(ClientDisconnected):
        connection.send("x")
    assert not connection.offer(b"x")


# Time.


@on_loop
async def test_a_silent_peer_is_pinged_and_its_pong_counts() -> None:
    pair = Pair(ping_interval=20.0, ping_timeout=20.0)
    connection = await pair.open()
    for _ in range(3):
        pair.tick(connection, 21)
        assert (await pair.frame()).opcode is Opcode.PING
        pair.tick(connection, 15)
        await pair.send()  # the pong
        await until(lambda: connection._heard)
        pair.tick(connection, 1)
    assert connection.closed is None


@on_loop
async def test_a_peer_that_talks_is_not_pinged() -> None:
    pair = Pair(ping_interval=20.0)
    connection = await pair.open()
    for _ in range(5):
        pair.tick(connection, 15)
        await pair.text("here")
        assert await take(connection) == "here"
    connection.close(1000)
    assert (await pair.frame()).opcode is Opcode.CLOSE


@on_loop
async def test_a_dead_peer_ends_as_1006() -> None:
    pair = Pair(ping_interval=20.0, ping_timeout=20.0)
    connection = await pair.open()
    pair.tick(connection, 40)
    assert connection.closed is None
    pair.tick(connection, 1)
    assert connection.take() == ClosedSocket(1006, "no answer to a ping")
    assert await pair.end_of_stream() == (
        encode_frame(9, b"") + encode_frame(8, b"\x03\xf3ping timeout")
    )
    assert pair.observer.closed == 1


@on_loop
async def test_pings_can_be_switched_off() -> None:
    pair = Pair(ping_interval=0.0)
    connection = await pair.open()
    pair.tick(connection, 1000)
    assert connection.closed is None
    connection.close(1000)
    assert (await pair.frame()).opcode is Opcode.CLOSE


@on_loop
async def test_a_peer_that_we_do_not_read_is_not_taken_for_dead() -> None:
    pair = Pair(queue_messages=1)
    connection = await pair.open()
    await pair.text("not taken")
    await until(lambda: not pair.transport.is_reading())
    pair.tick(connection, 1000)
    assert connection.closed is None


@on_loop
async def test_a_peer_that_reads_slowly_is_not_taken_for_dead() -> None:
    pair = Pair()
    connection = await pair.open()
    pair.tick(connection, 1)
    connection._heard = False
    while connection.writable:
        connection.send(bytes(65536))
        await asyncio.sleep(0)
    connection.send(bytes(1 << 20))
    for _ in range(6):
        pair.tick(connection, 18)
        unsent = pair.transport.get_write_buffer_size()
        while pair.transport.get_write_buffer_size() >= unsent:
            await pair.loop.sock_recv(pair.socket, 65536)
            await asyncio.sleep(0)
    assert connection.closed is None
    pair.tick(connection, 42)
    assert connection.closed is not None


@on_loop
async def test_nothing_is_left_of_a_connection_that_is_gone() -> None:
    gc.disable()
    try:
        pair = Pair()
        connection = await pair.open()
        await pair.text("hello")
        await take(connection)
        connection.close(1000)
        pair.socket.close()
        await until(lambda: pair.observer.closed)
        del pair.transport
        gone = weakref.ref(connection)
        del connection
        await until(lambda: gone() is None)
    finally:
        gc.enable()
