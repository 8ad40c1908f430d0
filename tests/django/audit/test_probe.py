from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any

import django
import pytest
from asgiref.sync import SyncToAsync
from django.test import override_settings
from tests.support.settings import configure

configure()

from twogate.django.audit.probe import Traits, pass_through, pass_through_stock  # noqa: E402

SEVEN = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]


urlpatterns: list[Any] = []
SITE = {"ROOT_URLCONF": sys.modules[__name__], "ALLOWED_HOSTS": ["*"]}


def sync_only(get_response: Callable[..., Any]) -> Callable[..., Any]:
    return lambda request: get_response(request)


def failing(get_response: Callable[..., Any]) -> Callable[..., Any]:
    def call(request: Any) -> Any:
        raise ZeroDivisionError("middleware")

    return call


def _name(function: Callable[..., Any]) -> str:
    return f"{__name__}.{function.__name__}"


@pytest.fixture
def independent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Another count of the same crossings, by other means."""
    crossed: list[str] = []
    handler: Any = SyncToAsync.thread_handler

    def counted(this: Any, *arguments: Any, **keywords: Any) -> Any:
        crossed.append(this.func.__qualname__)
        return handler(this, *arguments, **keywords)

    monkeypatch.setattr(SyncToAsync, "thread_handler", counted)
    return crossed


@pytest.mark.parametrize("is_async", [False, True])
def test_the_stock_handler_crosses_as_often_as_is_known(
    is_async: bool, independent: list[str]
) -> None:
    with override_settings(MIDDLEWARE=SEVEN, **SITE):
        passage = pass_through_stock(Traits(is_async))
    assert (passage.reached, passage.status, passage.error) == (True, 200, None)
    assert passage.crossings == len(independent)
    if django.VERSION[:2] == (5, 2):
        assert passage.crossings == (15 if is_async else 16)


@pytest.mark.parametrize(("gateway", "is_async"), [("asgi", True), ("wsgi", False)])
def test_ours_does_not_cross(gateway: str, is_async: bool, independent: list[str]) -> None:
    with override_settings(MIDDLEWARE=SEVEN, **SITE):
        passage = pass_through(gateway, Traits(is_async))
    assert (passage.reached, passage.status, passage.crossings) == (True, 200, 0)
    assert independent == []


def test_a_sync_middleware_costs_crossings_in_both_directions() -> None:
    with override_settings(MIDDLEWARE=[_name(sync_only)], **SITE):
        assert pass_through("asgi", Traits(True)).crossings == 2
        assert pass_through("wsgi", Traits(False)).crossings == 0


@pytest.mark.parametrize("probe", [
    pass_through_stock, lambda traits: pass_through("asgi", traits),
    lambda traits: pass_through("wsgi", traits),
])  # fmt: skip
def test_a_middleware_that_fails_is_told(probe: Callable[..., Any]) -> None:
    with override_settings(MIDDLEWARE=[_name(failing)], **SITE):
        passage = probe(Traits(True))
    assert isinstance(passage.error, ZeroDivisionError)
    assert not passage.reached


def test_a_middleware_that_cannot_be_made_is_told() -> None:
    with override_settings(MIDDLEWARE=["nowhere.Middleware"], **SITE):
        assert isinstance(pass_through("asgi", Traits(True)).error, ImportError)


def test_a_site_for_https_is_not_redirected() -> None:
    secure = SITE | {"SECURE_SSL_REDIRECT": True, "ALLOWED_HOSTS": [".example.com"]}
    with override_settings(MIDDLEWARE=SEVEN, **secure):
        assert pass_through("wsgi", Traits(False)).reached
        assert pass_through_stock(Traits(True)).reached


@pytest.mark.parametrize("name", ["waiting", "blocking"])
def test_a_middleware_that_never_ends_is_given_up(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck: list[threading.Thread] = []
    monkeypatch.setattr("twogate.django.audit.probe.PATIENCE", 0.5)
    monkeypatch.setattr("twogate.django.audit.probe._stuck", stuck)
    with override_settings(MIDDLEWARE=[_name(globals()[name])], **SITE):
        assert isinstance(pass_through("asgi", Traits(True)).error, TimeoutError)
        assert len(stuck) == 1
        # Nobody waits for another one.
        assert isinstance(pass_through("wsgi", Traits(False)).error, TimeoutError)
        assert len(stuck) == 1
        GO_ON.set()
        stuck[0].join(15)
        assert not stuck[0].is_alive()
    GO_ON.clear()


GO_ON = threading.Event()


def waiting(get_response: Callable[..., Any]) -> Callable[..., Any]:
    async def call(request: Any) -> Any:
        while not GO_ON.is_set():
            await asyncio.sleep(0.01)
        return await get_response(request)

    return call


waiting.async_capable = True  # type: ignore[attr-defined]
waiting.sync_capable = False  # type: ignore[attr-defined]


def blocking(get_response: Callable[..., Any]) -> Callable[..., Any]:
    def call(request: Any) -> Any:
        GO_ON.wait(15)
        return get_response(request)

    return call
