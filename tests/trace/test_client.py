"""The client of a trace: what it sends, what it sees, and that nothing makes it wait for ever."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.http import Serving, serving

from twogate.trace import client
from twogate.trace.client import Request, ask, talk


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read() or environ["PATH_INFO"].encode()
    headers = [("Content-Type", "text/plain"), ("Set-Cookie", "a=1; Path=/"),
               ("X-Host", environ["HTTP_HOST"])]  # fmt: skip
    start_response("200 OK", headers)
    return [body]


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    await receive()
    if scope["path"] == "/no":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"] + "!"})


@pytest.fixture
def server() -> Iterator[Serving]:
    with serving(wsgi=hello, asgi=echo, lifespan="off") as running:
        yield running


def test_a_request_and_its_answer(server: Serving) -> None:
    request = Request("GET", "/page?x=1", [("X-A", "b")], host="example.test")
    seen = ask(server.address[1], request)
    assert seen["body"] == b"/page"
    assert seen["bytes_in"] == len(request.encode())
    assert seen["bytes_out"] > len(seen["body"])
    assert 0 < seen["sent"] < seen["ended"]
    assert not seen["cut"]
    assert sum(size for _, size in seen["arrivals"]) == seen["bytes_out"]
    answer = seen["response"]
    assert (answer["status"], answer["reason"], answer["body_preview"]) == (200, "OK", "/page")
    assert answer["cookies"] == {"a": "a=1; Path=/"}
    assert ["X-Host", "example.test"] in answer["headers"]


def test_a_body_is_sent_with_its_length(server: Serving) -> None:
    assert ask(server.address[1], Request("POST", "/", body=b"name=x"))["body"] == b"name=x"
    assert b"Content-Length: 0" in Request("POST", "/").encode()


def test_a_host_that_is_given_wins() -> None:
    sent = Request("GET", "/", [("host", "other.test")]).encode()
    assert sent.lower().count(b"host:") == 1


def test_messages_and_answers(server: Serving) -> None:
    seen = talk(server.address[1], Request("GET", "/", messages=["one", "two"]))
    assert seen["heard"] == ["one!", "two!"]
    assert seen["response"]["status"] == 101
    assert seen["close_code"] == 1000
    assert seen["bytes_in"] > 100 and seen["bytes_out"] > 100
    assert "refused" not in seen


def test_a_refusal(server: Serving) -> None:
    seen = talk(server.address[1], Request("GET", "/no", messages=["one"]))
    assert seen["response"]["status"] == 403
    assert seen["refused"].startswith("403 Forbidden")


def answering(data: bytes) -> tuple[int, threading.Thread]:
    """A server that says something, whatever it is asked, and holds the connection."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listening, listening.accept()[0] as sock:
            sock.recv(65536)
            sock.sendall(data)
            while sock.recv(65536):
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    return listening.getsockname()[1], thread


def test_an_answer_that_does_not_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.2)
    port, thread = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    seen = ask(port, Request("GET", "/"))
    thread.join(15)
    assert seen["cut"]
    assert seen["body"] == b"half"


def test_what_is_no_http_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.2)
    port, thread = answering(b"hello\r\n\r\n")
    seen = ask(port, Request("GET", "/"))
    thread.join(15)
    assert seen["response"]["status"] == 0
    assert "no HTTP answer" in seen["response"]["reason"]


def test_a_websocket_without_an_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.2)
    port, thread = answering(b"HTTP/1.1 2")
    seen = talk(port, Request("GET", "/", messages=[]))
    thread.join(15)
    assert seen["refused"]
    assert seen["response"]["status"] == 0
