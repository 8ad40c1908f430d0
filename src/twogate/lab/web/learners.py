"""Who learns in this browser: a signed cookie names a learner, who is made when first needed.

The cookie comes with the first page, so that two requests sent at once by a new browser are of one
learner. Several people of one machine are told apart by names; there are no passwords.
"""

from __future__ import annotations

import secrets
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from twogate.lab.web.models import Learner

__all__ = ["PAGES", "become", "check_name", "context", "ensure", "of", "remember"]

#: The menu: names of addresses, and titles.
PAGES = (
    ("watch", "Watch"),
    ("many", "Many at once"),
    ("build", "Build"),
    ("practise", "Practise"),
    ("recall", "Recall"),
    ("live", "Live"),
)
_COOKIE = "twogate_lab_learner"
_YEARS = 10 * 366 * 24 * 3600


def of(request: HttpRequest) -> Learner | None:
    """The learner of this browser, if there is one yet."""
    if not hasattr(request, "_learner"):
        token = _token(request)
        request._learner = Learner.objects.filter(token=token).first() if token else None
    return request._learner  # type: ignore[no-any-return]


def ensure(request: HttpRequest) -> Learner:
    """The learner of this browser, made if need be, under a name such as ``Learner 3``."""
    learner = of(request)
    if learner is None:
        token = _token(request) or _new_token(request)
        learner = request._learner = _make(token)
    return learner


def become(request: HttpRequest, name: str) -> Learner:
    """From now on this browser's learner is the one of that name, who is made if need be.

    :raises ValueError: that is no name; says why.
    """
    defaults = {"token": secrets.token_hex(16)}
    learner, _ = Learner.objects.get_or_create(name=check_name(name), defaults=defaults)
    request._learner, request._learner_token = learner, learner.token
    return learner  # type: ignore[no-any-return]


def check_name(name: str) -> str:
    """The name, without blanks that nobody sees.

    :raises ValueError: that is no name; says why.
    """
    name = " ".join(name.split())
    if not name or len(name) > 40 or not name.isprintable():
        raise ValueError("A name has 1 to 40 letters.")
    return name


def _token(request: HttpRequest) -> str:
    """What the cookie says; empty if there is none of ours."""
    if not hasattr(request, "_learner_cookie"):
        request._learner_cookie = request.get_signed_cookie(_COOKIE, "")
    return str(request._learner_cookie)


def _new_token(request: HttpRequest) -> str:
    if not hasattr(request, "_learner_token"):
        request._learner_token = secrets.token_hex(16)
    return str(request._learner_token)


def _make(token: str) -> Learner:
    number = Learner.objects.count()
    while True:
        number += 1
        try:
            with transaction.atomic():
                return Learner.objects.get_or_create(  # type: ignore[no-any-return]
                    token=token, defaults={"name": f"Learner {number}"}
                )[0]
        except IntegrityError:  # somebody else has taken that name
            continue


@sync_and_async_middleware
def remember(get_response: Any) -> Any:
    """Middleware: a browser that has no learner's cookie gets one with its first page."""
    if iscoroutinefunction(get_response):

        async def async_middleware(request: HttpRequest) -> HttpResponseBase:
            return _remember(request, await get_response(request))

        return async_middleware

    def middleware(request: HttpRequest) -> HttpResponseBase:
        return _remember(request, get_response(request))

    return middleware


def _remember(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    is_page = str(response.headers.get("Content-Type", "")).startswith("text/html")
    if is_page and response.status_code < 400 and not _token(request):
        _new_token(request)
    if hasattr(request, "_learner_token"):
        response.set_signed_cookie(
            _COOKIE, request._learner_token, max_age=_YEARS, httponly=True, samesite="Lax"
        )
    return response


def context(request: HttpRequest) -> dict[str, Any]:
    """For templates: ``learner``, who may be ``None``, and the ``pages`` of the menu."""
    return {"learner": of(request), "pages": PAGES}
