"""Who may open a WebSocket: origins, and how many for one address and one user."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.support.http import HOST, Client, Record, Response, Serving, eventually, serving
from twogate.admission import Admission, Limits, Origins
from twogate.exchange import Exchange, Peer
from twogate.protocol.events import RequestHead
from twogate.protocol.origin import origin_of
from twogate.sessions import Admitted, Known, Sessions

EVIL = b"https://evil.example"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Accepts, and answers each message, until the client goes."""
    if scope["type"] == "lifespan":
        raise ValueError
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


def handshake(*fields: bytes) -> bytes:
    lines = [
        b"GET /socket HTTP/1.1",
        HOST.strip(),
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)),
        *fields,
    ]
    return b"\r\n".join([*lines, b"", b""])


def opened(client: Client, *fields: bytes) -> bool:
    """Shake hands; the response of a refusal is read to its end."""
    client.send(handshake(*fields))
    if client.line().startswith(b"HTTP/1.1 101"):
        while client.line() != b"\r\n":
            pass
        return True
    client.file.read()
    return False


def refusal(server: Serving, *fields: bytes) -> Response:
    return server.ask(handshake(*fields))


# Origins.


def is_ours(host: str) -> bool:
    return host in ("example.test", "[::1]")


@pytest.mark.parametrize(
    ("allowed", "origin", "may"),
    [
        (["allowed-hosts"], b"https://example.test", True),
        (["allowed-hosts"], b"http://EXAMPLE.test:8000", True),
        (["allowed-hosts"], b"http://[::1]:8000", True),
        (["allowed-hosts"], None, True),
        (["allowed-hosts"], EVIL, False),
        (["allowed-hosts"], b"null", False),
        (["allowed-hosts"], b"", False),
        (["allowed-hosts"], b"https://example.test.evil.example", False),
        (["allowed-hosts"], b"https://example.test@evil.example", False),
        (["any"], EVIL, True),
        (["any"], b"null", True),
        (["https://app.example"], b"https://app.example", True),
        (["https://app.example"], b"https://app.example:443", True),
        (["https://app.example"], b"http://app.example", False),
        (["https://app.example"], b"https://example.test", False),
        (["https://app.example"], None, True),
        (["https://app.example"], b"null", False),
        (["https://app.example", "allowed-hosts"], b"https://example.test", True),
        (["https://app.example", "allowed-hosts"], EVIL, False),
    ],
)
def test_which_origins_may(allowed: list[str], origin: bytes | None, may: bool) -> None:
    headers = [(b"host", b"example.test")] + ([] if origin is None else [(b"origin", origin)])
    assert Origins(allowed, is_ours).allows(origin_of(headers)) is may


def test_where_nobody_knows_the_hosts_all_may_but_a_list_counts() -> None:
    headers = [(b"origin", EVIL)]
    assert Origins(["allowed-hosts"], None).allows(origin_of(headers))
    assert not Origins(["https://app.example"], None).allows(origin_of(headers))


def test_a_strange_origin_is_answered_with_403_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(asgi=echo, allows_host=is_ours) as server:
        for _ in range(3):
            response = refusal(server, b"Origin: " + EVIL)
            assert response.status == 403
            assert response.body == b"Pages of that origin may not open a WebSocket here.\n"
        with server.connect() as client:
            assert opened(client, b"Origin: https://example.test")
        with server.connect() as client:
            assert opened(client)
        eventually(lambda: server.statistics()["tasks"] == 0)
        assert server.statistics()["admission"]["refused_origin"] == 3
    assert len(server.record.refused) == 3
    said = [record.getMessage() for record in caplog.records if record.name == "twogate.websocket"]
    assert (
        1 <= len(said) <= 2
    )  # the first at once, the others when a minute, or the server, is over
    assert all("'https://evil.example'" in line and "ALLOWED_HOSTS" in line for line in said)
    assert sum(int(line.split()[0]) for line in said) == 3


def test_what_strangers_send_is_logged_in_one_short_line(caplog: pytest.LogCaptureFixture) -> None:
    with serving(asgi=echo, allows_host=is_ours) as server:
        assert refusal(server, b"Origin: https://\xe9" + b"x" * 5000).status == 403
    (said,) = [record.getMessage() for record in caplog.records if "origin" in record.getMessage()]
    assert said.isascii()
    assert said.isprintable()
    assert len(said) < 500


def test_pages_pay_nothing_for_it() -> None:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise ValueError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"page"})

    with serving(asgi=page, allows_host=is_ours, websocket_per_address=1) as server:
        asked = b"GET / HTTP/1.1\r\n" + HOST + b"Origin: " + EVIL + b"\r\n\r\n"
        assert server.ask(asked).body == b"page"


# Limits.


def test_an_address_has_so_many_and_a_closed_one_makes_room(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(asgi=echo, websocket_per_address=2) as server:
        first, second = server.connect(), server.connect()
        assert opened(first)
        assert opened(second)
        for _ in range(3):
            response = refusal(server)
            assert response.status == 429
            assert response.body == b"There are too many WebSockets from your address.\n"
        first.reset()
        eventually(lambda: server.statistics()["tasks"] == 1)
        with server.connect() as third:
            assert opened(third)
        second.close()
        eventually(lambda: server.statistics()["tasks"] == 0)
        admission = server.server._admission
        assert admission is not None
        assert admission._addresses == {}
    said = [record.getMessage() for record in caplog.records if record.name == "twogate.websocket"]
    assert sum(int(line.split()[0]) for line in said) == 3
    assert all("127.0.0.1 (--websocket-per-address)" in line for line in said)


def test_a_handshake_that_fails_makes_room_again() -> None:
    with serving(asgi=echo, websocket_per_address=1) as server:
        for _ in range(3):
            bad = handshake().replace(b"Version: 13", b"Version: 12")
            assert server.ask(bad).status == 426
        with server.connect() as client:
            assert opened(client)


class Gate:
    """A gateway that notes what it is given."""

    def __init__(self) -> None:
        self.given: list[Admitted] = []

    def __call__(self, exchange: Exchange, admitted: Admitted) -> None:
        self.given.append(admitted)


class Carrier:
    """A connection to nobody; keeps what is written."""

    writable = True
    default_headers = ()

    def __init__(self) -> None:
        self.written = b""

    def write(self, exchange: Exchange, payload: Any, end: bool) -> None:
        self.written += payload


class Store:
    """Sessions that a test makes."""

    def __init__(self, **users: str) -> None:
        self.users = users
        self.asked: list[str] = []

    def key(self, head: RequestHead) -> str | None:
        return (head.header(b"cookie") or b"").decode() or None

    async def look(self, keys: Any) -> list[Known | None]:
        self.asked.extend(keys)
        await asyncio.sleep(0)
        return [Known(self.users[key], "", 60.0) if key in self.users else None for key in keys]

    def listen(self, sessions: Sessions) -> bool:
        return True

    def close(self) -> None:
        pass


def arrive(admission: Admission, address: str | None = None, session: str = "") -> Carrier:
    headers = [(b"cookie", session.encode())] if session else []
    head = RequestHead("GET", b"/", b"", "1.1", headers, is_websocket=True)
    carrier = Carrier()
    peer = Peer((address, 1) if address else None, ("192.0.2.2", 80))
    admission(Exchange(head, peer, carrier))  # type: ignore[arg-type]
    return carrier


def on_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())

    run.__name__ = test.__name__
    return run


def made(gate: Gate, limits: Limits, sessions: Sessions | None = None) -> Admission:
    return Admission(gate, Origins(["any"], None), limits, sessions, Record())


@pytest.mark.parametrize(
    ("address", "others", "private", "counted"),
    [
        ("8.8.8.8", "8.8.8.8", False, True),
        ("8.8.8.8", "8.8.4.4", False, False),
        ("127.0.0.1", "127.0.0.1", False, False),
        ("10.0.0.1", "10.0.0.1", False, False),
        ("::1", "::1", False, False),
        ("::ffff:8.8.8.8", "8.8.8.8", False, True),
        ("2a00:1450:4001:80b::1", "2a00:1450:4001:80b:1:2:3:4", False, True),
        ("2a00:1450:4001:80b::1", "2a00:1450:4001:80c::1", False, False),
        ("127.0.0.1", "127.0.0.1", True, True),
        ("fe80::1%eth0", "fe80::2%eth0", True, True),
    ],
)
def test_which_addresses_count_together(
    address: str, others: str, private: bool, counted: bool
) -> None:
    gate = Gate()
    admission = made(gate, Limits(per_address=1, private=private))
    arrive(admission, address)
    assert (b" 429 " in arrive(admission, others).written) is counted
    gate.given[0].over()
    gate.given[0].over()
    assert arrive(admission, address).written == b""


def test_a_unix_socket_has_no_address_and_zero_is_no_limit() -> None:
    gate = Gate()
    admission = made(gate, Limits(per_address=1, private=True))
    unlimited = made(gate, Limits(per_address=0, private=True))
    for _ in range(3):
        assert arrive(admission).written == b""
        assert arrive(unlimited, "8.8.8.8").written == b""
    assert len(gate.given) == 6


@on_loop
async def test_a_user_has_so_many_over_all_their_sessions() -> None:
    gate = Gate()
    store = Store(laptop="5", phone="5", other="6", nobody="")
    sessions = Sessions(store, asyncio.get_running_loop())
    admission = made(gate, Limits(per_user=2), sessions)
    for session in ("laptop", "phone"):
        arrive(admission, session=session)
    await asyncio.sleep(0.01)
    refused = arrive(admission, session="laptop")
    await asyncio.sleep(0.01)
    assert b" 429 " in refused.written
    assert refused.written.endswith(b"You have too many WebSockets open.\n")
    for session in ("other", "nobody", "nobody", "nobody", "gone", "gone", "gone"):
        assert arrive(admission, session=session).written == b""
    await asyncio.sleep(0.01)
    assert len(gate.given) == 9
    assert store.asked.count("laptop") == 1  # what is known is not asked again
    gate.given[0].over()
    assert arrive(admission, session="phone").written == b""
    await asyncio.sleep(0.01)
    assert len(gate.given) == 10
    for admitted in gate.given:
        admitted.over()
    assert (sessions._sessions, sessions._users) == ({}, {})


@on_loop
async def test_a_client_that_leaves_before_its_session_is_known_reaches_nobody() -> None:
    gate = Gate()
    sessions = Sessions(Store(laptop="5"), asyncio.get_running_loop())
    admission = made(gate, Limits(), sessions)
    head = RequestHead("GET", b"/", b"", "1.1", [(b"cookie", b"laptop")], is_websocket=True)
    exchange = Exchange(head, Peer(None, ("x", 80)), Carrier())  # type: ignore[arg-type]
    admission(exchange)
    exchange.disconnect()
    await asyncio.sleep(0.01)
    assert gate.given == []
    assert sessions._sessions == {}


def test_what_is_refused_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "twogate.websocket")
    admission = made(Gate(), Limits(per_address=1))
    arrive(admission, "8.8.8.8")
    told = []
    for now in range(0, 130, 1):
        arrive(admission, "8.8.8.8")
        admission.tick(float(now))
        told.append(len(caplog.records))
    assert told[0] == 1
    assert told[59] == 1
    assert told[60] == 2
    assert told[-1] == 3
    assert [int(record.getMessage().split()[0]) for record in caplog.records] == [1, 60, 60]
