"""ASGI applications over real TCP: what the HTTP message format promises them, and what becomes of
those that break it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, StreamingResponse
from starlette.routing import Route
from tests.support.gateways import Reply, Served, head_of, serve, wait_for

from twogate.errors import ApplicationError, ClientDisconnected
from twogate.gateway.asgi import Message, Scope

Receive = Callable[[], Coroutine[Any, Any, Message]]
Send = Callable[[Message], Coroutine[Any, Any, None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
END: Message = {"type": "http.response.body"}
CHUNKED = (("Transfer-Encoding", "chunked"),)


def start(status: Any = 200, headers: Any = ()) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: Any = b"", more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def http_only(application: Application) -> Application:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await application(scope, receive, send)

    return wrapped


def sends(*messages: Message) -> Application:
    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return application


def ask(application: Application, target: str = "/", **request: Any) -> Reply:
    """One request to a server of its own, which nothing goes wrong in."""
    with serve(asgi=application) as served:
        reply = served.request(target, **request)
        served.settles()
        assert served.observer.failures == []
    return reply


# The scope


def scope_of(target: str = "/", **request: Any) -> Scope:
    seen: Scope = {}

    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.update(scope)
        await send(START)
        await send(END)

    ask(application, target, **request)
    return seen


def test_scope_has_what_the_specification_names() -> None:
    scope = scope_of("/a%2Fb/caf%C3%A9?q=%C3%A9&x", headers=(("X-One", "1"), ("X-One", "2")))
    host, port = scope["server"]
    assert (host, type(port)) == ("127.0.0.1", int)
    host, port = scope["client"]
    assert (host, type(port)) == ("127.0.0.1", int)
    assert callable(scope["extensions"].pop("twogate.disconnect"))
    assert {key: value for key, value in scope.items() if key not in ("server", "client")} == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a/b/café",
        "raw_path": b"/a%2Fb/caf%C3%A9",
        "query_string": b"q=%C3%A9&x",
        "root_path": "",
        "headers": [(b"host", b"testserver"), (b"x-one", b"1"), (b"x-one", b"2")],
        "state": {},
        "extensions": {"http.response.pathsend": {}},
    }


def test_bytes_that_are_no_utf_8_stay_percent_encoded_in_the_path() -> None:
    scope = scope_of("/%ff%C3%A9%e9", version="1.0")
    assert scope["path"] == "/%FFé%E9"
    assert scope["raw_path"] == b"/%ff%C3%A9%e9"
    assert scope["http_version"] == "1.0"


def test_repeated_cookies_stay_apart() -> None:
    scope = scope_of(headers=(("Cookie", "a=1"), ("Cookie", "b=2")))
    assert [v for n, v in scope["headers"] if n == b"cookie"] == [b"a=1", b"b=2"]


# receive()


def collecting(pause: asyncio.Event | None = None) -> Application:
    """Answers with the body, and how it came."""

    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        pieces = []
        while True:
            message = await receive()
            assert message["type"] == "http.request"
            pieces.append(message["body"])
            if not message["more_body"]:
                break
        await send(START)
        await send(body(b"".join(pieces)))

    return application


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 1_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_body_arrives_whole(size: int, chunked: bool) -> None:
    data = os.urandom(size)
    if chunked:
        sent = b"%x\r\n%b\r\n0\r\n\r\n" % (size, data) if size else b"0\r\n\r\n"
        reply = ask(collecting(), method="POST", headers=CHUNKED, body=sent)
    else:
        reply = ask(collecting(), method="POST", body=data)
    assert reply.body == data


def test_a_request_without_a_body_has_one_empty_request_event() -> None:
    seen: list[Message] = []

    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(await receive())
        await send(START)
        await send(END)
        seen.append(await receive())
        seen.append(await receive())

    ask(application)
    assert seen == [
        {"type": "http.request", "body": b"", "more_body": False},
        {"type": "http.disconnect"},
        {"type": "http.disconnect"},
    ]


def test_the_body_streams_in_while_the_application_answers() -> None:
    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send(body(message["body"].upper(), more=True))
        await send(END)

    with serve(asgi=application) as served, served.client() as client:
        client.send(head_of(method="POST", headers=CHUNKED))
        for piece in (b"one", b"two", b"three"):
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            assert piece.upper() in client.read_until(piece.upper())
        client.send(b"0\r\n\r\n")
        assert client.read_until(b"0\r\n\r\n")


def test_a_slow_application_stops_the_client() -> None:
    go_on = threading.Event()

    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.to_thread(go_on.wait, 10)
        await collecting()(scope, receive, send)

    with serve(asgi=application) as served, served.client() as client:
        size = 20_000_000
        client.send(head_of(method="POST", headers=(("Content-Length", str(size)),)))
        client.sock.settimeout(0.5)
        sent = 0
        block = b"x" * 65536
        try:
            while sent < size:
                sent += client.sock.send(block[: size - sent])
        except TimeoutError:
            pass
        assert sent < size
        go_on.set()
        client.sock.settimeout(10)
        while sent < size:
            sent += client.sock.send(block[: size - sent])
        assert len(client.reply().body) == size


def test_a_receive_that_was_cancelled_loses_nothing() -> None:
    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(3):
            try:
                await asyncio.wait_for(receive(), 0.01)
            except TimeoutError:
                pass
        await send(START)
        await send(body(b"begun;", more=True))
        message = await receive()
        await send(body(message["body"]))

    with serve(asgi=application) as served, served.client() as client:
        client.send(head_of(method="POST", headers=(("Content-Length", "4"),)))
        assert b"begun;" in client.read_until(b"begun;")
        client.send(b"data")
        assert b"data" in client.read_until(b"data")


# http.disconnect


Leave = Callable[[Any], None]
LEAVES: list[Leave] = [lambda client: client.close(), lambda client: client.reset()]


@pytest.mark.parametrize("leave", LEAVES, ids=["fin", "reset"])
def test_an_application_that_waits_is_told_of_the_disconnect(leave: Leave) -> None:
    told = threading.Event()

    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        told.set()

    with serve(asgi=application) as served, served.client() as client:
        client.send(head_of())
        wait_for(lambda: served.statistics()["tasks"])
        leave(client)
        assert told.wait(10)
        served.settles()
        assert served.observer.failures == []


@pytest.mark.parametrize("leave", LEAVES, ids=["fin", "reset"])
def test_an_application_that_only_sends_gets_an_oserror(leave: Leave) -> None:
    raised: list[BaseException] = []

    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send(START)
            while True:
                await send(body(b"tick", more=True))
                await asyncio.sleep(0.01)
        except OSError as error:
            raised.append(error)
            raise

    with serve(asgi=application) as served, served.client() as client:
        client.send(head_of())
        client.read_until(b"tick")
        leave(client)
        served.settles()
        assert isinstance(raised[0], ClientDisconnected)
        assert served.observer.failures == []


def test_a_client_that_leaves_inside_its_body_is_a_disconnect() -> None:
    told: list[str] = []

    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request":
            assert message["more_body"]
        told.append(message["type"])
        with pytest.raises(OSError):
            await send(START)

    with serve(asgi=application) as served:
        with served.client() as client:
            client.send(head_of(method="POST", headers=(("Content-Length", "10"),)) + b"abc")
            wait_for(lambda: served.statistics()["tasks"])
        wait_for(lambda: told)
        served.settles()
        assert served.observer.failures == []


def test_every_task_that_listens_is_told() -> None:
    """Middleware and view may both listen; one of them may poll and give up."""
    told: list[str] = []
    listening = threading.Event()

    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        listeners = [asyncio.create_task(receive()) for _ in range(3)]
        await asyncio.sleep(0)
        poll = asyncio.create_task(receive())
        await asyncio.sleep(0)
        poll.cancel()
        listening.set()
        told.extend(message["type"] for message in await asyncio.gather(*listeners))

    with serve(asgi=application) as served:
        with served.client() as client:
            client.send(head_of())
            assert listening.wait(10)
        served.settles()
    assert told == ["http.disconnect"] * 3


def test_a_task_that_waits_for_the_body_is_told_when_the_response_is_over() -> None:
    told: list[str] = []

    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        listener = asyncio.create_task(receive())
        await asyncio.sleep(0)
        await send(START)
        await send(body(b"early"))
        told.append((await listener)["type"])

    with serve(asgi=application) as served, served.client() as client:
        client.send(head_of(method="POST", headers=(("Content-Length", "10"),)))
        assert client.reply().body == b"early"
        wait_for(lambda: told)
    assert told == ["http.disconnect"]


def test_an_application_that_gives_up_on_a_client_leaves_no_connection() -> None:
    """Django drops the view and returns when it hears of the disconnect."""
    descriptors = len(list(Path("/proc/self/fd").iterdir()))

    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    with serve(asgi=application) as served:
        for _ in range(20):
            with served.client() as client:
                client.send(head_of())
                wait_for(lambda: served.statistics()["tasks"])
        served.settles()
        assert served.statistics()["connections"] == 0
    wait_for(lambda: len(list(Path("/proc/self/fd").iterdir())) <= descriptors)


def test_a_client_that_only_closed_its_side_is_answered() -> None:
    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        await send(START)
        await send(body(b"still here"))

    with serve(asgi=application) as served, served.client() as client:
        client.send(head_of())
        client.sock.shutdown(1)
        assert client.reply().body == b"still here"


def test_a_framework_that_translates_the_oserror_is_not_logged() -> None:
    """Starlette raises its own ClientDisconnect from the OSError of send()."""

    async def stream() -> Any:
        while True:
            yield b"tick"
            await asyncio.sleep(0.01)

    async def endpoint(request: Request) -> StreamingResponse:
        return StreamingResponse(stream())

    with serve(asgi=Starlette(routes=[Route("/", endpoint)])) as served:
        with served.client() as client:
            client.send(head_of())
            client.read_until(b"tick")
            client.reset()
        served.settles()
        assert served.observer.failures == []


# send()


def test_messages_after_the_end_are_ignored() -> None:
    application = sends(START, body(b"whole"), body(b"more"), START, {"type": "nonsense"})
    assert ask(application).body == b"whole"


def test_start_needs_neither_headers_nor_body() -> None:
    reply = ask(sends({"type": "http.response.start", "status": 204}, END))
    assert (reply.status, reply.body) == (204, b"")
    assert reply.header("content-length") is None


def test_pieces_are_sent_as_they_come() -> None:
    gates = [asyncio.Event(), asyncio.Event()]

    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        for number, gate in enumerate(gates):
            await send(body(b"piece %d;" % number, more=True))
            await gate.wait()
        await send(END)

    with serve(asgi=application) as served, served.client() as client:
        client.send(head_of())
        for number, gate in enumerate(gates):
            assert client.read_until(b"piece %d;" % number)
            served.loop.call_soon_threadsafe(gate.set)
        assert client.read_until(b"0\r\n\r\n").endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("data", [bytearray(b"abc"), memoryview(b"abc")])
def test_other_byte_strings_are_taken(data: Any) -> None:
    assert ask(sends(START, body(data))).body == b"abc"


def test_head_has_the_headers_and_no_body() -> None:
    application = sends(start(headers=[(b"content-length", b"5")]), body(b"hello"))
    with serve(asgi=application) as served, served.client() as client:
        for _ in range(2):
            client.send(head_of(method="HEAD"))
            reply = client.reply("HEAD")
            assert (reply.header("content-length"), reply.body) == ("5", b"")


def test_headers_go_out_in_order_and_repeated_without_hop_by_hop_ones() -> None:
    fields = [
        (b"Set-Cookie", b"a=1"),
        [b"X-A", b"\xe9"],
        (b"transfer-encoding", b"gzip"),
        (b"Set-Cookie", b"b=2"),
    ]
    reply = ask(sends(start(headers=fields), body(b"x")))
    own = [f for f in reply.headers if f[0] in ("Set-Cookie", "X-A", "transfer-encoding")]
    assert own == [("Set-Cookie", "a=1"), ("X-A", "é"), ("Set-Cookie", "b=2")]


def test_a_slow_client_holds_up_the_application() -> None:
    produced = 0

    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal produced
        await send(START)
        for _ in range(2000):
            produced += 1
            await send(body(b"x" * 16384, more=True))
        await send(END)

    with serve(asgi=application) as served, served.client() as client:
        client.send(head_of())
        before = -1
        while before != produced:  # until it stands still
            before = produced
            threading.Event().wait(0.3)
        assert 0 < produced < 2000
        assert len(client.reply().body) == 2000 * 16384


# http.response.pathsend


LARGE = bytes(range(256)) * 8192


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(LARGE)
    return path


def pathsend(path: Any) -> Message:
    return {"type": "http.response.pathsend", "path": path}


@pytest.mark.parametrize("content", [LARGE, b"", b"small"])
def test_pathsend_sends_a_file_and_the_connection_goes_on(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    seen: list[str] = []

    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send(pathsend(str(path)))
        await send(body(b"ignored"))
        seen.append((await receive())["type"])

    with serve(asgi=application) as served, served.client() as client:
        for method in ("GET", "HEAD", "GET"):
            client.send(head_of(method=method))
            reply = client.reply(method)
            assert reply.header("content-length") == str(len(content))
            assert reply.body == (b"" if method == "HEAD" else content)
        wait_for(lambda: len(seen) == 3)
        assert served.observer.failures == []
    assert seen == ["http.disconnect"] * 3


def test_an_application_may_return_before_the_file_is_sent(large: Path) -> None:
    with large.open("ab") as file:
        for _ in range(9):
            file.write(LARGE)
    with serve(asgi=sends(START, pathsend(str(large)))) as served, served.client() as client:
        client.send(head_of())
        client.read_until(b"\r\n\r\n")
        wait_for(lambda: not served.statistics()["tasks"])
        left = 10 * len(LARGE)
        data = b""
        while len(data) < left - len(LARGE):
            data += client.sock.recv(1 << 20)
        assert served.observer.failures == []


def test_starlette_sends_files_by_path(large: Path) -> None:
    async def endpoint(request: Request) -> FileResponse:
        return FileResponse(large)

    with serve(asgi=Starlette(routes=[Route("/", endpoint)])) as served:
        assert served.request().body == LARGE
        assert served.observer.failures == []


# Applications that break the rules


def raises(error: type[BaseException], *arguments: object) -> Application:
    # Made when raised: one that this module kept would keep its traceback, and the server in it.
    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        raise error(*arguments)

    return application


class OutsideException(BaseException):
    """What a library may raise that no ``except Exception`` catches."""


FAILS = ApplicationError
NINE = start(headers=[(b"content-length", b"9")])
THREE = start(headers=[(b"content-length", b"3")])
BEFORE_THE_HEAD: list[tuple[str, Application, type[BaseException], str]] = [
    ("raises", raises(ValueError, "boom"), ValueError, "boom"),
    ("exits", raises(SystemExit, 3), SystemExit, "3"),
    ("cancels itself", raises(asyncio.CancelledError, "mine"), asyncio.CancelledError, "mine"),
    ("BaseException", raises(OutsideException, "out"), OutsideException, "out"),
    ("returns", sends(), FAILS, "returned without sending a response"),
    ("only starts", sends(START), FAILS, "returned before its response ended"),
    ("body first", sends(body(b"x")), FAILS, "before http.response.start"),
    ("path first", sends(pathsend("/")), FAILS, "before http.response.start"),
    ("starts twice", sends(START, START), FAILS, "sent twice"),
    ("unknown", sends({"type": "http.response.oops"}), FAILS, "'http.response.oops' is not"),
    ("no type", sends({"status": 200}), FAILS, "None is not an event"),
    ("websocket", sends({"type": "websocket.accept"}), FAILS, "'websocket.accept' is not"),
    ("status str", sends(start("200"), END), FAILS, "'200' must be an int"),
    ("no status", sends({"type": "http.response.start"}), FAILS, "None must be an int"),
    ("status 100", sends(start(100), END), FAILS, "not the status of a final response"),
    ("name str", sends(start(headers=[("x-a", b"1")]), END), FAILS, "pairs of byte strings"),
    ("value str", sends(start(headers=[(b"x-a", "1")]), END), FAILS, "pairs of byte strings"),
    ("value int", sends(start(headers=[(b"x-a", 1)]), END), FAILS, "pairs of byte strings"),
    ("no pair", sends(start(headers=[b"x-a: 1"]), END), FAILS, "pairs of byte strings"),
    ("headers None", sends(start(headers=None), END), FAILS, "pairs of byte strings"),
    ("new line", sends(start(headers=[(b"x-a", b"1\r\nb: 2")]), END), FAILS, "control character"),
    ("header name", sends(start(headers=[(b"x a", b"1")]), END), FAILS, "not a header name"),
    ("body str", sends(START, body("text")), FAILS, "byte string, not str"),
    ("body None", sends(START, body(None)), FAILS, "byte string, not NoneType"),
    ("too long", sends(THREE, body(b"hello")), FAILS, "longer than the Content-Length"),
    ("too short", sends(NINE, body(b"hello")), FAILS, "shorter than the Content-Length"),
    ("no file", sends(START, pathsend("/no/such/file")), FileNotFoundError, "/no/such/file"),
    ("a folder", sends(START, pathsend("/")), FAILS, "regular file"),
    ("path bytes", sends(START, pathsend(b"/etc/passwd")), FAILS, "must be a str"),
    ("file size", sends(THREE, pathsend(__file__)), FAILS, "is not the file's size"),
]


@pytest.fixture(scope="module")
def misbehaving() -> Iterator[Served]:
    """One server for all of them: it must survive each."""
    applications = {name: application for name, application, *_ in BEFORE_THE_HEAD}

    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        case = dict(scope["headers"]).get(b"x-case", b"").decode()
        chosen = applications.get(case, sends(START, body(b"fine")))
        await chosen(scope, receive, send)

    with serve(asgi=application) as served:
        yield served


@pytest.mark.parametrize(
    ("name", "error", "rule"), [(name, error, rule) for name, _, error, rule in BEFORE_THE_HEAD]
)
def test_a_rule_broken_before_the_head_is_answered_500(
    misbehaving: Served, name: str, error: type[BaseException], rule: str
) -> None:
    misbehaving.observer.failures.clear()
    reply = misbehaving.request(headers=(("X-Case", name),))
    assert reply.status == 500
    assert b"Internal Server Error" in reply.body
    failure = misbehaving.observer.the_failure()
    assert type(failure) is error
    assert rule in str(failure)
    assert misbehaving.request().body == b"fine"
    misbehaving.settles()


BEGUN = body(b"abc", more=True)


@pytest.mark.parametrize(
    ("application", "rule"),
    [
        (sends(START, BEGUN), "returned before its response ended"),
        (sends(START, BEGUN, body("text")), "byte string, not str"),
        (sends(START, BEGUN, START), "sent twice"),
        (sends(START, BEGUN, pathsend(__file__)), "cannot be mixed"),
        (sends(NINE, BEGUN, body(b"de")), "shorter than"),
        (sends(start(headers=[(b"content-length", b"4")]), BEGUN, body(b"de")), "longer than"),
    ],
)
def test_a_rule_broken_after_the_head_cuts_the_response_visibly(
    application: Application, rule: str
) -> None:
    with serve(asgi=application) as served:
        reply = served.request()
        assert (reply.status, reply.cut) == (200, True)
        failure = served.observer.the_failure()
        assert isinstance(failure, ApplicationError)
        assert rule in str(failure)
        served.settles()


def test_an_error_after_the_response_is_told_and_changes_nothing() -> None:
    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"whole"))
        raise ValueError("afterwards")

    with serve(asgi=application) as served, served.client() as client:
        for _ in range(2):
            client.send(head_of())
            reply = client.reply()
            assert (reply.body, reply.cut) == (b"whole", False)
        wait_for(lambda: len(served.observer.failures) == 2)


def test_stopping_cancels_what_does_not_end() -> None:
    cancelled = threading.Event()

    @http_only
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with contextlib.ExitStack() as stack:
        with serve(asgi=application, graceful_timeout=0.3) as served:
            client = stack.enter_context(served.client())
            client.send(head_of())
            wait_for(lambda: served.statistics()["tasks"])
        assert cancelled.is_set()
        assert client.is_closed()
    assert served.observer.failures == []
