"""When ours stand in the place of Django's handlers, and when not."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from django.core.handlers import wsgi

from twogate.django.handler import AsgiHandler, WsgiHandler
from twogate.django.substitution import describe, handlers_in_place, stranger, uses_ours


def asked() -> list[type]:
    import django.core.asgi
    import django.core.wsgi

    return [django.core.wsgi.WSGIHandler, django.core.asgi.ASGIHandler]


def test_whoever_asks_within_gets_ours() -> None:
    before = asked()
    with handlers_in_place():
        assert asked() == [WsgiHandler, AsgiHandler]
    assert asked() == before


def test_djangos_own_stay_when_they_are_wanted() -> None:
    before = asked()
    with handlers_in_place(False):
        assert asked() == before
    assert describe(False, []) == "Django's own (--stock-handler)"


def test_djangos_own_stay_when_somebody_has_changed_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stranger() is None
    original = wsgi.WSGIHandler.__call__

    @functools.wraps(original)
    def traced(*arguments: Any) -> Any:
        return original(*arguments)

    monkeypatch.setattr(wsgi.WSGIHandler, "__call__", traced)
    before = asked()
    with handlers_in_place():
        assert asked() == before
    package = __name__.partition(".")[0]
    assert describe(True, []) == f"Django's own, because {package} has changed it"


def test_a_routers_http_side_counts() -> None:
    class Router:
        application_mapping = {"http": AsgiHandler.__new__(AsgiHandler)}

    assert uses_ours(Router())
    assert not uses_ours(object())


def test_ours_step_aside_for_a_django_that_is_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    from twogate.django import rules

    monkeypatch.setattr(rules, "STOCK_IS_AS_GOOD_FROM", (5, 2))
    before = asked()
    with handlers_in_place():
        assert asked() == before
    assert describe(True, []) == "Django's own, which is as good since this version"
