"""The request of a WebSocket's handshake."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
AUTH = "django.contrib.auth.middleware.AuthenticationMiddleware"


@pytest.fixture
def request_of(urlconf: Callable[..., None]) -> Callable[..., Any]:
    urlconf(
        MIDDLEWARE=["django.middleware.security.SecurityMiddleware", SESSIONS, AUTH],
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        ALLOWED_HOSTS=["chat.example"],
    )
    from twogate.django.handshake import handshake_request

    def make(**scope: Any) -> Any:
        return handshake_request(
            {
                "type": "websocket", "path": "/live/", "query_string": b"room=5&room=6",
                "headers": [(b"host", b"chat.example"), (b"cookie", b"a=b; c=d")],
                "client": ("192.0.2.1", 5), "server": ("192.0.2.2", 443), **scope,
            }
        )  # fmt: skip

    return make


def test_it_is_what_a_view_would_get(request_of: Callable[..., Any]) -> None:
    request = request_of(scheme="wss")
    assert (request.method, request.path) == ("GET", "/live/")
    assert request.GET.getlist("room") == ["5", "6"]
    assert request.COOKIES == {"a": "b", "c": "d"}
    assert request.META["REMOTE_ADDR"] == "192.0.2.1"
    assert request.get_host() == "chat.example"
    assert request.is_secure()
    assert not request_of(scheme="ws").is_secure()
    assert request.body == b""


def test_a_stranger_is_nobody(request_of: Callable[..., Any]) -> None:
    request = request_of()
    assert request.user.is_anonymous
    assert asyncio.run(request.auser()).is_anonymous
    assert request.session.session_key is None


def test_what_the_scope_has_already_counts(request_of: Callable[..., Any]) -> None:
    user, session = object(), object()
    request = request_of(user=user, session=session)
    assert request.user is user
    assert asyncio.run(request.auser()) is user
    assert request.session is session


def test_a_project_without_sessions(urlconf: Callable[..., None]) -> None:
    urlconf(MIDDLEWARE=[])
    from twogate.django.handshake import handshake_request

    request = handshake_request(
        {"type": "websocket", "path": "/", "query_string": b"", "headers": []}
    )
    assert not hasattr(request, "user")


def test_a_middleware_of_the_projects_own_may_look_up_the_user(
    urlconf: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    urlconf(MIDDLEWARE=[f"{__name__}.function", SESSIONS, f"{__name__}.Own"])
    from django.contrib.auth.middleware import AuthenticationMiddleware

    class Own(AuthenticationMiddleware):  # type: ignore[misc]
        def process_request(self, request: Any) -> None:
            request.user = "somebody"

    monkeypatch.setattr(sys.modules[__name__], "Own", Own, raising=False)
    from twogate.django.handshake import handshake_request

    request = handshake_request(
        {"type": "websocket", "path": "/", "query_string": b"", "headers": []}
    )
    assert request.user == "somebody"


def function(get_response: Any) -> Any:
    raise AssertionError("this is no middleware for users")
