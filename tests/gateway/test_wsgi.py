"""WSGI applications over real TCP: what PEP 3333 promises them, and what becomes of those that
break it."""

from __future__ import annotations

import gzip
import io
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from tests.support.gateways import Reply, Served, StartResponse, head_of, serve, wait_for

from twogate.errors import ApplicationError, ClientDisconnected
from twogate.gateway.wsgi import FileWrapper

Environ = dict[str, Any]
Application = Callable[[Environ, StartResponse], Any]
TEXT = [("Content-Type", "text/plain")]
CHUNKED = (("Transfer-Encoding", "chunked"),)


def answer(
    body: Any, headers: list[tuple[str, str]] | Any = TEXT, status: Any = "200 OK"
) -> Application:
    """An application with one answer."""

    def application(environ: Environ, start_response: StartResponse) -> Any:
        start_response(status, headers)
        return body() if callable(body) else body

    return application


def ask(application: Application, target: str = "/", **request: Any) -> Reply:
    """One request to a server of its own, which nothing goes wrong in."""
    with serve(wsgi=application) as served:
        reply = served.request(target, **request)
        served.settles()
        assert served.observer.failures == []
    return reply


def echo_environ(*names: str) -> Application:
    def application(environ: Environ, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", TEXT)
        return [repr({name: environ.get(name) for name in names}).encode()]

    return application


def environ_of(*names: str, target: str = "/", **request: Any) -> dict[str, Any]:
    reply = ask(echo_environ(*names), target, **request)
    return eval(reply.body)  # type: ignore[no-any-return]


class Result:
    """An iterable that is closed, and remembers it."""

    def __init__(self, *pieces: bytes | BaseException | Callable[[], bytes]) -> None:
        self.pieces = pieces
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, BaseException):
                raise piece
            yield piece() if callable(piece) else piece

    def close(self) -> None:
        self.closed.set()


# environ


def test_environ_has_what_pep_3333_requires() -> None:
    seen: Environ = {}

    def application(environ: Environ, start_response: StartResponse) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", TEXT)
        return [b"ok"]

    with serve(wsgi=application) as served:
        assert served.request("/a/b?c=d").status == 200
        host, port = served.address
    assert seen["REQUEST_METHOD"] == "GET"
    assert seen["SCRIPT_NAME"] == ""
    assert seen["PATH_INFO"] == "/a/b"
    assert seen["QUERY_STRING"] == "c=d"
    assert (seen["SERVER_NAME"], seen["SERVER_PORT"]) == (host, str(port))
    assert seen["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert seen["REMOTE_ADDR"] == "127.0.0.1"
    assert seen["wsgi.version"] == (1, 0)
    assert seen["wsgi.url_scheme"] == "http"
    assert seen["wsgi.errors"] is sys.stderr
    assert seen["wsgi.multithread"] is True
    assert seen["wsgi.multiprocess"] is False
    assert seen["wsgi.run_once"] is False
    assert seen["wsgi.input_terminated"] is True
    assert seen["wsgi.file_wrapper"] is FileWrapper
    assert type(seen) is dict
    assert "CONTENT_LENGTH" not in seen
    assert "CONTENT_TYPE" not in seen


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/caf%C3%A9", "/cafÃ©", ""),
        ("/a%2Fb", "/a/b", ""),
        ("/a%20b%25", "/a b%", ""),
        ("/%FF", "/ÿ", ""),
        ("/?q=%C3%A9+%26&q=", "/", "q=%C3%A9+%26&q="),
        ("//a//b/./..", "//a//b/./..", ""),
        ("/a?b?c", "/a", "b?c"),
        ("http://testserver/abs?x=1", "/abs", "x=1"),
    ],
)
def test_the_path_is_tunnelled_as_latin_1_and_the_query_string_is_raw(
    target: str, path: str, query: str
) -> None:
    seen = environ_of("PATH_INFO", "QUERY_STRING", "SCRIPT_NAME", target=target)
    assert seen == {"PATH_INFO": path, "QUERY_STRING": query, "SCRIPT_NAME": ""}


def test_headers_become_variables() -> None:
    seen = environ_of(
        "HTTP_X_ONE",
        "HTTP_X_FORGED",
        "HTTP_X_MANY",
        "HTTP_COOKIE",
        "HTTP_X_LATIN",
        "CONTENT_TYPE",
        "HTTP_CONTENT_TYPE",
        "CONTENT_LENGTH",
        "HTTP_CONTENT_LENGTH",
        method="POST",
        headers=(
            ("X-One", "1"),
            ("X_Forged", "yes"),
            ("X-Many", "a"),
            ("Cookie", "a=1"),
            ("X-Many", "b"),
            ("Cookie", "b=2"),
            ("X-Latin", "ÿ"),
            ("Content-Type", "text/x-test"),
        ),
        body=b"abc",
    )
    assert seen == {
        "HTTP_X_ONE": "1",
        "HTTP_X_FORGED": None,
        "HTTP_X_MANY": "a,b",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_X_LATIN": "ÿ",
        "CONTENT_TYPE": "text/x-test",
        "HTTP_CONTENT_TYPE": None,
        "CONTENT_LENGTH": "3",
        "HTTP_CONTENT_LENGTH": None,
    }


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [
        ("example.org:8001", "example.org", "8001"),
        ("example.org", "example.org", "80"),
        ("[::1]", "[::1]", "80"),
        ("", "localhost", "80"),
    ],
)
def test_behind_a_unix_socket_name_and_port_are_not_empty(
    tmp_path: Path, host: str, name: str, port: str
) -> None:
    path = str(tmp_path / "s")
    with serve(wsgi=echo_environ("SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR"), unix=path):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(path)
            client.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while piece := client.recv(4096):
                data += piece
    seen = eval(data.partition(b"\r\n\r\n")[2])
    assert seen == {"SERVER_NAME": name, "SERVER_PORT": port, "REMOTE_ADDR": ""}


# wsgi.input


def reading(read: Callable[[Any], Any]) -> Application:
    def application(environ: Environ, start_response: StartResponse) -> list[bytes]:
        result = read(environ["wsgi.input"])
        start_response("200 OK", TEXT)
        return [repr(result).encode()]

    return application


READS: list[tuple[Callable[[Any], Any], Any]] = [
    (lambda i: i.read(), b"one\ntwo\n\nthree"),
    (lambda i: i.read(-1), b"one\ntwo\n\nthree"),
    (
        lambda i: (i.read(5), i.read(0), i.read(100), i.read(1)),
        (b"one\nt", b"", b"wo\n\nthree", b""),
    ),
    (lambda i: (i.readline(), i.readline(2), i.readline()), (b"one\n", b"tw", b"o\n")),
    (lambda i: i.readlines(), [b"one\n", b"two\n", b"\n", b"three"]),
    (lambda i: i.readlines(1), [b"one\n"]),
    (lambda i: list(i), [b"one\n", b"two\n", b"\n", b"three"]),
]


@pytest.mark.parametrize(("read", "expected"), READS)
@pytest.mark.parametrize("chunked", [False, True])
def test_the_body_is_read_in_every_way_pep_3333_names(
    read: Callable[[Any], Any], expected: Any, chunked: bool
) -> None:
    headers, body = (), b"one\ntwo\n\nthree"
    if chunked:
        headers, body = CHUNKED, b"6\r\none\ntw\r\n8\r\no\n\nthree\r\n0\r\n\r\n"  # type: ignore[assignment]
    reply = ask(reading(read), method="POST", headers=headers, body=body)
    assert eval(reply.body) == expected


def test_no_body_reads_as_nothing() -> None:
    assert eval(ask(reading(lambda i: (i.read(), i.readline(), i.readlines()))).body) == (
        b"",
        b"",
        [],
    )


def test_a_chunked_body_that_is_at_hand_has_a_length() -> None:
    seen = environ_of(
        "CONTENT_LENGTH",
        "HTTP_TRANSFER_ENCODING",
        method="POST",
        headers=CHUNKED,
        body=b"3\r\nabc\r\n0\r\n\r\n",
    )
    assert seen == {"CONTENT_LENGTH": "3", "HTTP_TRANSFER_ENCODING": None}


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_streams_in_while_the_application_reads(chunked: bool) -> None:
    """The second half is only sent once the application has told of the first."""
    half = b"x" * 300_000

    def application(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        body = environ["wsgi.input"]
        start_response("200 OK", TEXT)
        yield b"%d\n" % len(body.read(len(half)))
        yield b"%d\n" % len(body.read())

    with serve(wsgi=application) as served, served.client() as client:
        if chunked:
            client.send(head_of(method="POST", headers=CHUNKED))
            frame = b"%x\r\n%b\r\n" % (len(half), half)
        else:
            length = (("Content-Length", str(2 * len(half))),)
            client.send(head_of(method="POST", headers=length))
            frame = half
        client.send(frame)
        assert b"300000\n" in client.read_until(b"300000\n")
        client.send(frame + (b"0\r\n\r\n" if chunked else b""))
        assert b"300000\n" in client.read_until(b"0\r\n\r\n")


def test_a_client_that_goes_away_inside_its_body_ends_the_read_with_an_oserror() -> None:
    raised: list[BaseException] = []

    def application(environ: Environ, start_response: StartResponse) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            raised.append(error)
            raise
        return []

    with serve(wsgi=application) as served:
        with served.client() as client:
            client.send(head_of(method="POST", headers=(("Content-Length", "900000"),)))
            client.send(b"x" * 100_000)
            wait_for(lambda: served.statistics()["threads"].busy)
        wait_for(lambda: raised)
        assert isinstance(raised[0], ClientDisconnected)
        served.settles()
        assert served.observer.failures == []


def test_expect_continue_is_answered_when_the_body_is_read() -> None:
    with serve(wsgi=reading(lambda i: i.read())) as served, served.client() as client:
        client.send(
            head_of(method="POST", headers=(("Expect", "100-continue"), ("Content-Length", "3")))
        )
        assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"abc")
        assert client.reply().body == b"b'abc'"


# start_response and write()


def test_write_sends_at_once_and_before_the_iterable() -> None:
    go_on = threading.Event()

    def application(environ: Environ, start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", TEXT)
        write(b"first ")
        assert go_on.wait(10)
        write(b"second ")
        return [b"third"]

    with serve(wsgi=application) as served, served.client() as client:
        client.send(head_of())
        assert b"first" in client.read_until(b"first ")
        go_on.set()
        rest = client.read_until(b"0\r\n\r\n")
        assert rest.index(b"second ") < rest.index(b"third")


def test_start_response_may_come_with_the_first_piece() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        yield b""
        start_response("201 Created", TEXT)
        yield b""
        yield b"late"

    reply = ask(application)
    assert (reply.status, reply.body) == (201, b"late")


def test_the_head_can_change_until_the_first_piece_that_is_not_empty() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("X-Which", "first")])
        yield b""
        try:
            raise KeyError("oops")
        except KeyError:
            start_response("503 Later", [("X-Which", "second")], sys.exc_info())
        yield b"sorry"

    reply = ask(application)
    assert (reply.status, reply.reason, reply.body) == (503, "Later", b"sorry")
    assert reply.header("x-which") == "second"


def test_exc_info_is_raised_again_once_the_head_is_out() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield b"begun"
        try:
            raise KeyError("oops")
        except KeyError:
            start_response("500 Error", TEXT, sys.exc_info())
        yield b"not reached"

    with serve(wsgi=application) as served:
        reply = served.request()
        assert (reply.status, reply.body, reply.cut) == (200, b"begun", True)
        assert isinstance(served.observer.the_failure(), KeyError)


@pytest.mark.parametrize("status", ["200 OK", "404 Nope", "299 A reason", "204 No Content"])
def test_the_status_goes_out_as_it_is(status: str) -> None:
    reply = ask(answer([], status=status))
    assert f"{reply.status} {reply.reason}" == status


def test_subclasses_of_str_are_strings() -> None:
    class Text(str):
        __slots__ = ()

    name = f"X-Name-{time.monotonic_ns()}"  # no server has seen it before
    reply = ask(answer([b"x"], [(Text(name), Text("value"))], Text("200 OK")))
    assert reply.header(name) == "value"


def test_headers_go_out_in_order_and_repeated() -> None:
    reply = ask(answer([b"x"], [("Set-Cookie", "a=1"), ("X-A", "é"), ("Set-Cookie", "b=2")]))
    own = [field for field in reply.headers if field[0] in ("Set-Cookie", "X-A")]
    assert own == [("Set-Cookie", "a=1"), ("X-A", "é"), ("Set-Cookie", "b=2")]


# The iterable


def test_pieces_are_sent_as_they_come() -> None:
    gates = [threading.Event(), threading.Event()]

    def pieces() -> Iterator[bytes]:
        for number, gate in enumerate(gates):
            yield b"piece %d;" % number
            assert gate.wait(10)

    with serve(wsgi=answer(pieces)) as served, served.client() as client:
        client.send(head_of())
        for number, gate in enumerate(gates):
            assert client.read_until(b"piece %d;" % number)
            gate.set()
        assert client.read_until(b"0\r\n\r\n").endswith(b"0\r\n\r\n")


def test_one_piece_gets_a_length_and_many_are_chunked() -> None:
    assert ask(answer([b"whole"])).header("content-length") == "5"
    many = ask(answer([b"pa", b"", b"rts"]))
    assert many.header("transfer-encoding") == "chunked"
    assert many.body == b"parts"
    assert ask(answer([])).header("content-length") == "0"


def test_to_http_1_0_a_body_of_unknown_length_ends_with_the_connection() -> None:
    with serve(wsgi=answer(lambda: iter([b"a", b"b"]))) as served, served.client() as client:
        client.send(head_of(version="1.0"))
        reply = client.reply()
        assert reply.body == b"ab"
        assert reply.header("transfer-encoding") is None


def test_head_has_the_headers_and_no_body() -> None:
    with serve(wsgi=answer([b"hello"], [*TEXT, ("Content-Length", "5")])) as served:
        with served.client() as client:
            for _ in range(2):  # the connection goes on
                client.send(head_of(method="HEAD"))
                reply = client.reply("HEAD")
                assert (reply.header("content-length"), reply.body) == ("5", b"")
    assert ask(answer([b"hel", b"lo"]), method="HEAD").body == b""


def test_a_slow_client_holds_up_the_application() -> None:
    produced = 0

    def pieces() -> Iterator[bytes]:
        nonlocal produced
        for _ in range(2000):
            produced += 1
            yield b"x" * 16384

    with serve(wsgi=answer(pieces)) as served, served.client() as client:
        client.send(head_of())
        before = -1
        while before != produced:  # until it stands still
            before = produced
            time.sleep(0.3)
        assert 0 < produced < 2000
        assert len(client.reply().body) == 2000 * 16384


# close()


def test_close_runs_after_the_whole_response() -> None:
    result = Result(b"a", b"b")
    with serve(wsgi=answer(result)) as served:
        assert served.request().body == b"ab"
        assert result.closed.wait(10)


def test_close_runs_when_iteration_raises() -> None:
    result = Result(b"a", ValueError("broken"))
    with serve(wsgi=answer(result)) as served:
        assert served.request().cut
        assert result.closed.wait(10)
        assert isinstance(served.observer.the_failure(), ValueError)


def test_close_runs_when_the_client_goes_away() -> None:
    result = Result(*[lambda: b"x" * 65536] * 10_000)
    with serve(wsgi=answer(result)) as served:
        with served.client() as client:
            client.send(head_of())
            client.read_until(b"x")
            client.reset()
        assert result.closed.wait(10)
        served.settles()
        assert served.observer.failures == []


def test_a_generator_is_closed_when_the_client_goes_away() -> None:
    closed = threading.Event()

    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            closed.set()

    with serve(wsgi=answer(pieces)) as served:
        with served.client() as client:
            client.send(head_of())
            client.read_until(b"x")
        assert closed.wait(10)
        served.settles()
        assert served.observer.failures == []


def test_a_close_that_raises_is_told_and_changes_nothing() -> None:
    class Broken(Result):
        def close(self) -> None:
            raise ValueError("in close")

    with serve(wsgi=answer(lambda: Broken(b"a", b"b"))) as served, served.client() as client:
        for _ in range(2):  # on the same connection
            client.send(head_of())
            reply = client.reply()
            assert (reply.status, reply.body, reply.cut) == (200, b"ab", False)
        wait_for(lambda: len(served.observer.failures) == 2)
        assert all(isinstance(error, ValueError) for error in served.observer.failures)


def test_a_close_that_raises_does_not_cut_a_file_off(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * 40_000)

    def application(environ: Environ, start_response: StartResponse) -> Any:
        start_response("200 OK", TEXT)
        wrapper = environ["wsgi.file_wrapper"](path.open("rb"))
        close = wrapper.close

        def broken() -> None:
            close()
            raise ValueError("in close")

        wrapper.close = broken
        return wrapper

    with serve(wsgi=application) as served:
        reply = served.request()
        assert reply.body == path.read_bytes()
        assert isinstance(served.observer.the_failure(), ValueError)


def test_the_response_does_not_wait_for_close() -> None:
    """Work done in close() is work done after the response."""
    go_on = threading.Event()

    class Busy(Result):
        def close(self) -> None:
            assert go_on.wait(10)

    for headers in ([("Content-Length", "2")], TEXT):
        go_on.clear()
        with serve(wsgi=answer(Busy(b"ab"), headers)) as served:
            for _ in range(2):
                assert served.request().body == b"ab"
            go_on.set()
            served.settles()
            assert served.observer.failures == []


def test_an_iterable_needs_no_close() -> None:
    assert ask(answer((b"tu", b"ple"))).body == b"tuple"
    assert ask(answer(lambda: iter([b"it"]))).body == b"it"


# wsgi.file_wrapper


def wrapping(make: Callable[[], Any], headers: list[tuple[str, str]] = TEXT) -> Application:
    def application(environ: Environ, start_response: StartResponse) -> Any:
        start_response("200 OK", headers)
        return environ["wsgi.file_wrapper"](make(), 8192)

    return application


LARGE = bytes(range(256)) * 2048


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(LARGE)
    return path


def at(path: Path, offset: int) -> Any:
    file = path.open("rb")
    file.seek(offset)
    return file


def test_a_file_goes_out_from_where_it_stands(large: Path) -> None:
    for offset in (0, 1000, len(LARGE) - 10, len(LARGE), len(LARGE) + 10):
        reply = ask(wrapping(lambda offset=offset: at(large, offset)))  # type: ignore[misc]
        assert reply.body == LARGE[offset:], offset
        assert reply.header("content-length") == str(len(LARGE[offset:]))


def test_a_file_is_closed_and_the_connection_goes_on(large: Path) -> None:
    files: list[Any] = []

    def make() -> Any:
        files.append(large.open("rb"))
        return files[-1]

    with serve(wsgi=wrapping(make)) as served, served.client() as client:
        for _ in range(3):
            client.send(head_of())
            assert client.reply().body == LARGE
        wait_for(lambda: all(file.closed for file in files))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_large_file_does_not_pass_through_python(large: Path, method: str) -> None:
    """Its bytes are sent by the kernel, to HEAD not at all: nobody reads the file object."""
    positions: list[int] = []

    def application(environ: Environ, start_response: StartResponse) -> Any:
        file = large.open("rb")
        wrapper = wrapping(lambda: file)(environ, start_response)

        def close() -> None:
            positions.append(file.tell())
            file.close()

        wrapper.close = close
        return wrapper

    reply = ask(application, method=method)
    assert reply.header("content-length") == str(len(LARGE))
    assert reply.body == (LARGE if method == "GET" else b"")
    assert positions == [0]


def test_only_as_much_of_a_file_as_its_content_length(large: Path) -> None:
    headers = [*TEXT, ("Content-Length", "100000")]
    with serve(wsgi=wrapping(lambda: at(large, 7), headers)) as served, served.client() as client:
        for _ in range(2):
            client.send(head_of())
            assert client.reply().body == LARGE[7:100007]


def test_what_is_no_plain_file_is_read(large: Path, tmp_path: Path) -> None:
    zipped = tmp_path / "x.gz"
    zipped.write_bytes(gzip.compress(LARGE))

    class Upper:
        """Has a file with a descriptor, and other content."""

        def __init__(self) -> None:
            self.file = large.open("rb")
            self.close = self.file.close

        def read(self, size: int = -1) -> bytes:
            return self.file.read(size).upper()

        def fileno(self) -> int:
            return self.file.fileno()

    class OnlyRead:
        def __init__(self) -> None:
            self.left = [b"a", b"b"]

        def read(self, size: int) -> bytes:
            return self.left.pop(0) if self.left else b""

    assert ask(wrapping(lambda: io.BytesIO(b"bytes"))).body == b"bytes"
    assert ask(wrapping(lambda: gzip.GzipFile(zipped))).body == LARGE
    assert ask(wrapping(Upper)).body == LARGE.upper()
    assert ask(wrapping(OnlyRead)).body == b"ab"


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_client_that_leaves_during_a_file_leaves_nothing(large: Path) -> None:
    with large.open("ab") as file:
        for _ in range(40):
            file.write(LARGE)
    with serve(wsgi=wrapping(lambda: large.open("rb"))) as served:
        before = descriptors()
        for _ in range(5):
            with served.client() as client:
                client.send(head_of())
                client.read_until(b"\r\n\r\n")
                client.reset()
        served.settles()
        wait_for(lambda: descriptors() <= before)


# Applications that break the rules: one record that names the rule, a 500 or a visible cut, and the
# server goes on.


def raises(error: type[BaseException], *arguments: object) -> Application:
    # Made when raised: one that this module kept would keep its traceback, and the server in it.
    def application(environ: Environ, start_response: StartResponse) -> Any:
        raise error(*arguments)

    return application


def twice(environ: Environ, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", TEXT)
    start_response("200 OK", TEXT)
    return [b"x"]


def middleware(application: Application) -> Application:
    def wrapped(environ: Environ, start_response: StartResponse) -> Any:
        application(environ, start_response)
        raise LookupError("in the middleware")

    return wrapped


LENGTH_3 = [("Content-Length", "3")]
LENGTH_9 = [("Content-Length", "9")]

BEFORE_THE_HEAD: list[tuple[str, Application, type[BaseException], str]] = [
    ("raises", raises(ValueError, "boom"), ValueError, "boom"),
    ("exits", raises(SystemExit, 3), SystemExit, "3"),
    ("interrupts", raises(KeyboardInterrupt), KeyboardInterrupt, ""),
    ("middleware raises", middleware(answer([b"x"])), LookupError, "in the middleware"),
    ("no start_response", lambda e, s: [b"x"], ApplicationError, "start_response was not called"),
    ("nothing at all", lambda e, s: [], ApplicationError, "start_response was not called"),
    ("start_response twice", twice, ApplicationError, "twice without exc_info"),
    ("None", answer(None), ApplicationError, "NoneType, which is not an iterable"),
    ("an int", answer(3), ApplicationError, "int, which is not an iterable"),
    ("str pieces", answer(["text"]), ApplicationError, "byte strings, not str"),
    ("str", answer("text"), ApplicationError, "byte strings, not str"),
    ("empty str", answer([""]), ApplicationError, "byte strings, not str"),
    ("bytes", answer(b"text"), ApplicationError, "byte strings, not int"),
    ("value no str", answer([b"x"], [("X-A", 3)]), ApplicationError, "X-A must be a str"),
    ("value bytes", answer([b"x"], [("X-A", b"3")]), ApplicationError, "X-A must be a str"),
    ("name no str", answer([b"x"], [(b"X-A", "3")]), ApplicationError, "must be a str"),
    ("no pair", answer([b"x"], ["X-A: 3"]), ApplicationError, "(name, value) tuple"),
    ("headers None", answer([b"x"], None), ApplicationError, "must be a list"),
    ("headers dict", answer([b"x"], {"X-A": "3"}), ApplicationError, "must be a list"),
    ("beyond latin-1", answer([b"x"], [("X-A", "€")]), ApplicationError, "latin-1"),
    ("new line", answer([b"x"], [("X-A", "a\r\nB: c")]), ApplicationError, "control character"),
    ("header name", answer([b"x"], [("X A", "a")]), ApplicationError, "not a header name"),
    ("status int", answer([b"x"], status=200), ApplicationError, "must be a str"),
    ("status text", answer([b"x"], status="OK"), ApplicationError, "three digits"),
    ("status digits", answer([b"x"], status="²00 OK"), ApplicationError, "three digits"),
    ("status line", answer([b"x"], status="200 OK\r\nX: y"), ApplicationError, "control"),
    ("status 100", answer([b"x"], status="100 Continue"), ApplicationError, "final response"),
    ("length text", answer([b"x"], [("Content-Length", "x")]), ApplicationError, "not a number"),
    ("too long", answer([b"hello"], LENGTH_3), ApplicationError, "longer than the Content-Length"),
    ("too short", answer([b"hello"], LENGTH_9), ApplicationError, "shorter than the Content-Len"),
    ("empty", answer([], LENGTH_9), ApplicationError, "shorter than the Content-Length"),
]


@pytest.fixture(scope="module")
def misbehaving() -> Iterator[Served]:
    """One server for all of them: it must survive each."""
    applications = {name: application for name, application, *_ in BEFORE_THE_HEAD}

    def application(environ: Environ, start_response: StartResponse) -> Any:
        chosen = applications.get(environ.get("HTTP_X_CASE", ""), answer([b"fine"]))
        return chosen(environ, start_response)

    with serve(wsgi=application, threads=2) as served:
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
    assert misbehaving.statistics()["threads"].started <= 2


AFTER_THE_HEAD: list[tuple[Any, list[tuple[str, str]], type[BaseException], str]] = [
    ([b"abc", "text"], TEXT, ApplicationError, "byte strings, not str"),
    (lambda: Result(b"abc", ValueError("late")), TEXT, ValueError, "late"),
    (lambda: Result(b"abc", SystemExit(1)), TEXT, SystemExit, "1"),
    ([b"abc", b"de"], [("Content-Length", "4")], ApplicationError, "longer than"),
    ([b"abc", b"de"], LENGTH_9, ApplicationError, "shorter than"),
]


@pytest.mark.parametrize(("body", "headers", "error", "rule"), AFTER_THE_HEAD)
def test_a_rule_broken_after_the_head_cuts_the_response_visibly(
    body: Any, headers: list[tuple[str, str]], error: type[BaseException], rule: str
) -> None:
    with serve(wsgi=answer(body, headers)) as served:
        reply = served.request()
        assert (reply.status, reply.cut) == (200, True)
        failure = served.observer.the_failure()
        assert type(failure) is error
        assert rule in str(failure)
        served.settles()


def test_what_exceeds_a_content_length_that_was_reached_is_told_and_not_sent() -> None:
    with serve(wsgi=answer([b"abc", b"de"], LENGTH_3)) as served, served.client() as client:
        client.send(head_of())
        assert client.reply().body == b"abc"
        assert "longer than its Content-Length" in str(served.observer.the_failure())
        client.send(head_of())
        assert client.reply().body == b"abc"


def test_write_without_bytes_names_the_rule() -> None:
    def application(environ: Environ, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", TEXT)("text")  # type: ignore[arg-type]
        return []

    with serve(wsgi=application) as served:
        assert served.request().status == 500
        assert "byte strings, not str" in str(served.observer.the_failure())


# wsgiref.validate as judge


def simple(environ: Environ, start_response: StartResponse) -> list[bytes]:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", TEXT)
    return [body or b"nothing"]


def generator(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield b""
    yield b"a"
    yield b"b"


def writing(environ: Environ, start_response: StartResponse) -> list[bytes]:
    write = start_response("200 OK", TEXT)
    write(b"written ")
    return [b"returned"]


def lines(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT])
    environ["wsgi.errors"].flush()
    return list(environ["wsgi.input"]) or [b"no lines"]


def no_content(environ: Environ, start_response: StartResponse) -> list[bytes]:
    start_response("204 No Content", [])
    return []


@pytest.mark.parametrize(
    ("application", "request_", "expected"),
    [
        (simple, {}, b"nothing"),
        (simple, {"method": "POST", "body": b"posted"}, b"posted"),
        (simple, {"method": "POST", "body": b"3\r\nabc\r\n0\r\n\r\n", "headers": CHUNKED}, b"abc"),
        (simple, {"target": "/caf%C3%A9?a=%20"}, b"nothing"),
        (simple, {"method": "HEAD"}, b""),
        (simple, {"version": "1.0"}, b"nothing"),
        (generator, {}, b"ab"),
        (writing, {}, b"written returned"),
        (lines, {"method": "PUT", "body": b"a\nb"}, b"a\nb"),
        (no_content, {"method": "DELETE"}, b""),
    ],
)
def test_wsgiref_finds_nothing_wrong(
    application: Application, request_: dict[str, Any], expected: bytes
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reply = ask(validator(application), **request_)  # type: ignore[arg-type]
    assert (reply.status in (200, 204), reply.body) == (True, expected)
    assert [str(warning.message) for warning in caught] == []
