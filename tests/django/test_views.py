from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from twogate.django import gateway
from twogate.django.views import declared_gateway, is_async, name_of

Urlconf = Callable[..., None]
HERE = __name__


def page(request: Any, extra: int = 0) -> Any: ...


async def live(request: Any, extra: int = 0) -> Any: ...


def passing(view: Any) -> Any:
    """A decorator that knows nothing of coroutines."""

    @functools.wraps(view)
    def wrapper(request: Any) -> Any:
        return view(request)

    return wrapper


def test_functions_and_partials() -> None:
    assert not is_async(page)
    assert is_async(live)
    assert is_async(functools.partial(live, extra=1))
    assert not is_async(functools.partial(page, extra=1))
    assert name_of(page) == f"{HERE}.page"
    assert name_of(functools.partial(live, extra=1)) == f"{HERE}.live"
    assert name_of(passing(live)) == f"{HERE}.live"


def test_a_plain_wrapper_is_what_django_takes_it_for() -> None:
    assert not is_async(passing(live))


def test_django_decorators_and_classes(urlconf: Urlconf) -> None:
    urlconf()
    from django.utils.decorators import method_decorator
    from django.views import View
    from django.views.decorators.csrf import csrf_exempt

    class Page(View):  # type: ignore[misc]
        def get(self, request: Any) -> Any: ...

    class Live(View):  # type: ignore[misc]
        async def get(self, request: Any) -> Any: ...

    class Declared(Page):
        dispatch = method_decorator(gateway("asgi"))(View.dispatch)

    assert is_async(csrf_exempt(live))
    assert not is_async(csrf_exempt(page))
    assert (is_async(Page.as_view()), is_async(Live.as_view())) == (False, True)
    assert name_of(Live.as_view()).endswith("<locals>.Live")
    assert name_of(csrf_exempt(live)) == f"{HERE}.live"
    assert declared_gateway(Declared.as_view()) == "asgi"
    assert declared_gateway(gateway("asgi")(Page).as_view()) == "asgi"
    assert declared_gateway(Live.as_view()) is None


def test_rest_framework(urlconf: Urlconf) -> None:
    urlconf()
    from rest_framework.decorators import api_view
    from rest_framework.views import APIView
    from rest_framework.viewsets import ViewSet

    class Thing(APIView):  # type: ignore[misc]
        def get(self, request: Any) -> Any: ...

    @gateway("asgi")
    class Things(ViewSet):  # type: ignore[misc]
        def list(self, request: Any) -> Any: ...

    assert not is_async(Thing.as_view())
    assert name_of(Thing.as_view()).endswith(".Thing")
    viewset = Things.as_view({"get": "list"})
    assert name_of(viewset).endswith(".Things")
    assert declared_gateway(viewset) == "asgi"
    assert not is_async(api_view(["GET"])(page))


def test_ninja(urlconf: Urlconf) -> None:
    urlconf()
    from ninja import NinjaAPI

    api = NinjaAPI(urls_namespace="test", docs_url=None, openapi_url=None)
    api.get("/page")(page)
    api.get("/live")(live)
    api.post("/live")(page)
    patterns = {str(p.pattern): p.callback for p in api.urls[0] if hasattr(p, "callback")}
    assert not is_async(patterns["page"])
    assert is_async(patterns["live"])
    assert name_of(patterns["page"]) == f"{HERE}.page"
    assert name_of(patterns["live"]) == f"{HERE}.live + {HERE}.page"


def test_what_a_view_declares() -> None:
    declared = gateway("wsgi")(passing(live))
    assert declared_gateway(declared) == "wsgi"
    assert declared_gateway(passing(declared)) == "wsgi"
    assert declared_gateway(functools.partial(declared)) == "wsgi"
    assert declared_gateway(page) is None


def test_callable_objects_have_the_name_of_their_class() -> None:
    class Feed:
        def __call__(self, request: Any) -> Any: ...

    assert name_of(Feed()).endswith("<locals>.Feed")


def test_there_are_two_gateways() -> None:
    with pytest.raises(ValueError, match="'wsgi' or 'asgi'"):
        gateway("http")  # type: ignore[arg-type]
