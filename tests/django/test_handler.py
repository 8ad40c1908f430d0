"""The handlers, called as a server calls them, next to Django's own."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

SEVEN = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
SCOPE = {
    "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"",
    "headers": [(b"host", b"testserver")], "client": ("127.0.0.1", 1), "http_version": "1.1",
    "server": ("testserver", 80), "scheme": "http",
}  # fmt: skip


async def call(application: Any, **scope: Any) -> list[dict[str, Any]]:
    """What an application sends in answer to a request without a body."""
    sent: list[dict[str, Any]] = []
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await application({**SCOPE, **scope}, receive, send)
    return sent


SEEN: list[weakref.ref[Any]] = []


async def page(request: Any) -> HttpResponse:
    SEEN.append(weakref.ref(request))
    return HttpResponse("page", headers={"X-Thread": threading.current_thread().name})


def sync_page(request: Any) -> HttpResponse:
    return HttpResponse(f"page in {threading.current_thread().name}")


async def sync_stream(request: Any) -> StreamingHttpResponse:
    return StreamingHttpResponse(f"{n} in {threading.current_thread().name};" for n in range(3))


async def broken(request: Any) -> HttpResponse:
    raise ValueError("broken")


@pytest.fixture
def application(urlconf: Callable[..., None]) -> Any:
    urlconf(
        path("", page),
        path("sync/", sync_page),
        path("stream/", sync_stream),
        path("broken/", broken),
        MIDDLEWARE=SEVEN,
        ALLOWED_HOSTS=["testserver"],
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    )
    from twogate.django.handler import AsgiHandler

    return AsgiHandler()


def body_of(sent: list[dict[str, Any]]) -> bytes:
    return b"".join(message.get("body", b"") for message in sent[1:])


def test_an_async_view_is_answered_on_the_loop(application: Any) -> None:
    before = threading.active_count()
    sent = asyncio.run(call(application))
    assert sent[0]["status"] == 200
    assert (b"X-Thread", b"MainThread") in sent[0]["headers"]
    assert body_of(sent) == b"page"
    assert threading.active_count() <= before


def test_a_sync_view_is_answered_on_a_thread(application: Any) -> None:
    sent = asyncio.run(call(application, path="/sync/"))
    assert sent[0]["status"] == 200
    assert body_of(sent).startswith(b"page in thread-")


def test_a_sync_stream_comes_from_a_thread(application: Any) -> None:
    sent = asyncio.run(call(application, path="/stream/"))
    pieces = body_of(sent).split(b";")
    assert [piece.partition(b" in thread-")[0] for piece in pieces[:-1]] == [b"0", b"1", b"2"]


@pytest.mark.parametrize(("path", "status"), [("/broken/", 500), ("/nothing/", 404)])
def test_failures_are_pages(application: Any, path: str, status: int) -> None:
    sent = asyncio.run(call(application, path=path))
    assert sent[0]["status"] == status


def test_headers_are_those_of_djangos_own_handler(application: Any) -> None:
    from django.core.handlers.asgi import ASGIHandler

    ours, stock = asyncio.run(call(application)), asyncio.run(call(ASGIHandler()))
    names = [name for name, _ in ours[0]["headers"]]
    assert names == [name for name, _ in stock[0]["headers"]]
    assert ours[0]["status"] == stock[0]["status"]


def test_only_http_is_served(application: Any) -> None:
    with pytest.raises(ValueError, match="not websocket"):
        asyncio.run(call(application, type="websocket"))


def test_a_request_leaves_nothing_to_the_garbage_collector(application: Any) -> None:
    gc.collect()
    gc.disable()
    try:
        SEEN.clear()
        asyncio.run(call(application))
        assert [request() for request in SEEN] == [None]
    finally:
        gc.enable()
