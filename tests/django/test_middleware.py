"""The chain against Django's nesting: the same calls in the same order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import path
from django.utils.deprecation import MiddlewareMixin

CALLS: list[str] = []


class Outer(MiddlewareMixin):  # type: ignore[misc]
    def process_request(self, request: HttpRequest) -> Any:
        CALLS.append("outer in")
        return HttpResponse("outer") if "outer" in request.GET else None

    def process_response(self, request: HttpRequest, response: Any) -> Any:
        CALLS.append("outer out")
        return response


class Inner(MiddlewareMixin):  # type: ignore[misc]
    def process_request(self, request: HttpRequest) -> None:
        CALLS.append("inner in")
        if "raise-in" in request.GET:
            raise ValueError("on the way in")

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> Any:
        CALLS.append("inner view")
        return HttpResponse("inner") if "view" in request.GET else None

    def process_response(self, request: HttpRequest, response: Any) -> Any:
        CALLS.append("inner out")
        if "raise-out" in request.GET:
            raise ValueError("on the way out")
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> Any:
        CALLS.append("inner exception")
        return HttpResponse("caught") if "catch" in request.GET else None


def around(get_response: Callable[..., Any]) -> Callable[..., Any]:
    def middleware(request: HttpRequest) -> Any:
        CALLS.append("around in")
        response = get_response(request)
        CALLS.append("around out")
        return response

    return middleware


def view(request: HttpRequest) -> HttpResponse:
    CALLS.append("view")
    if "raise" in request.GET:
        raise ValueError("in the view")
    return HttpResponse("view")


async def async_view(request: HttpRequest) -> HttpResponse:
    return view(request)


STACKS = [
    [f"{__name__}.{name}" for name in names]
    for names in (
        ["Outer", "Inner"], ["Outer", "around", "Inner"], ["around", "Outer", "Inner"],
        ["Outer", "Inner", "around"], ["Inner", "Outer"], [],
    )
]  # fmt: skip
QUERIES = ["", "outer", "view", "raise-in", "raise-out", "raise", "raise&catch"]


def answer(handler: Any, is_async: bool, query: str) -> tuple[int, bytes, list[str]]:
    CALLS.clear()
    handler.load_middleware(is_async=is_async)
    request = RequestFactory().get(f"/{'async/' if is_async else ''}?{query}")
    if is_async:
        response = asyncio.run(handler.get_response_async(request))
    else:
        response = handler.get_response(request)
    return response.status_code, response.content, list(CALLS)


@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("is_async", [False, True])
def test_calls_are_those_of_the_nesting(
    urlconf: Callable[..., None], stack: list[str], query: str, is_async: bool
) -> None:
    from twogate.django.handler import Handler

    urlconf(
        path("", view), path("async/", async_view),
        MIDDLEWARE=stack, ALLOWED_HOSTS=["testserver"],
        DEBUG_PROPAGATE_EXCEPTIONS=False,
    )  # fmt: skip
    assert answer(Handler(), is_async, query) == answer(BaseHandler(), is_async, query)
