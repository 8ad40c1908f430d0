"""Parts of a request that are made when they are asked for."""

from __future__ import annotations

import gc
import io
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import messages
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.http import HttpResponse
from django.test import RequestFactory, override_settings

AUTH = "django.contrib.auth.middleware.AuthenticationMiddleware"
MESSAGES = "django.contrib.messages.middleware.MessageMiddleware"


def hook(dotted: str, name: str) -> Callable[..., Any]:
    """A hook as a chain calls it."""
    from django.utils.module_loading import import_string

    from twogate.django.late import stand_in

    middleware = import_string(dotted)(lambda request: HttpResponse())
    return stand_in(f"{dotted}.{name}", getattr(middleware, name))


@pytest.fixture
def new_request(urlconf: Callable[..., None]) -> Any:
    urlconf(MESSAGE_STORAGE="django.contrib.messages.storage.fallback.FallbackStorage")
    from twogate.django.late import WSGIRequest

    request = WSGIRequest({"REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO()})
    request.session = SessionStore()
    return request


def test_the_user_is_made_when_asked_for(new_request: Any) -> None:
    assert not hasattr(new_request, "user")
    hook(AUTH, "process_request")(new_request)
    assert "user" not in vars(new_request)
    assert hasattr(new_request, "user")
    assert new_request.user.is_anonymous
    assert new_request.user is new_request.user
    assert new_request.auser.args == (new_request,)


def test_a_user_that_somebody_sets_is_that_user(new_request: Any) -> None:
    hook(AUTH, "process_request")(new_request)
    new_request.user = "somebody"
    assert new_request.user == "somebody"


def test_a_request_whose_parts_nobody_asks_for_is_no_garbage(new_request: Any) -> None:
    from twogate.django.late import WSGIRequest

    gc.disable()
    try:
        request = WSGIRequest({"REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO()})
        request.session = SessionStore()
        hook(AUTH, "process_request")(request)
        hook(MESSAGES, "process_request")(request)
        gone = weakref.ref(request)
        del request
        assert gone() is None
    finally:
        gc.enable()


def test_nothing_is_stored_for_a_request_without_messages(new_request: Any) -> None:
    hook(MESSAGES, "process_request")(new_request)
    response = hook(MESSAGES, "process_response")(new_request, HttpResponse())
    assert "_messages" not in vars(new_request)
    assert not response.cookies


def test_messages_are_stored_as_ever(new_request: Any) -> None:
    from django.contrib.messages.storage.fallback import FallbackStorage

    hook(MESSAGES, "process_request")(new_request)
    messages.info(new_request, "hello")
    assert type(new_request._messages) is FallbackStorage
    assert "messages" in hook(MESSAGES, "process_response")(new_request, HttpResponse()).cookies
    assert [message.message for message in messages.get_messages(new_request)] == ["hello"]


def test_another_storage_is_made_at_once(new_request: Any) -> None:
    with override_settings(MESSAGE_STORAGE=f"{__name__}.Own"):
        hook(MESSAGES, "process_request")(new_request)
    assert type(vars(new_request)["_messages"]) is Own


class Own:
    def __init__(self, request: Any) -> None: ...


@pytest.mark.parametrize("dotted", [AUTH, MESSAGES])
def test_a_missing_session_is_noticed_at_once(new_request: Any, dotted: str) -> None:
    from django.core.exceptions import ImproperlyConfigured

    del new_request.session
    with pytest.raises((ImproperlyConfigured, AssertionError), match="session"):
        hook(dotted, "process_request")(new_request)


def test_a_request_of_another_kind_gets_everything_at_once(new_request: Any) -> None:
    request = RequestFactory().get("/")
    request.session = SessionStore()
    hook(AUTH, "process_request")(request)
    assert "user" in vars(request)
