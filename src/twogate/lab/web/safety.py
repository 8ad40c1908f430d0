"""Who may use the lab, and what its pages may do: the lab runs code.

Bound to loopback, the lab answers only requests that name this machine (``ALLOWED_HOSTS``), so a
foreign site cannot lead its own name here. Bound elsewhere, a browser must once open the address
with the token. All that changes something is a POST with Django's CSRF token and a fitting
``Origin``. Pages load nothing from elsewhere and run no script that is not a file of ours.
"""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import urlencode

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.loader import render_to_string
from django.utils.decorators import sync_and_async_middleware

__all__ = ["bad_request", "csrf_failure", "not_found", "policy", "server_error", "shield"]

TOKEN_COOKIE = "twogate_lab_token"  # noqa: S105 - a name


@sync_and_async_middleware
def shield(get_response: Any) -> Any:
    """Middleware: the token, where there is one, and headers that bind the browser."""
    if iscoroutinefunction(get_response):

        async def async_middleware(request: HttpRequest) -> HttpResponseBase:
            refusal = _enter(request)
            return _bind(request, refusal or await get_response(request))

        return async_middleware

    def middleware(request: HttpRequest) -> HttpResponseBase:
        return _bind(request, _enter(request) or get_response(request))

    return middleware


def _enter(request: HttpRequest) -> HttpResponseBase | None:
    request.csp_nonce = secrets.token_urlsafe(16)
    return _refusal(request) if settings.LAB_TOKEN else None


def _refusal(request: HttpRequest) -> HttpResponseBase | None:
    """What somebody gets who has not shown the token; ``None`` for those who have."""
    if _fits(request.COOKIES.get(TOKEN_COOKIE, "")):
        return None
    if request.method in ("GET", "HEAD") and _fits(request.GET.get("token", "")):
        query = request.GET.copy()
        del query["token"]
        response = HttpResponseRedirect(request.path + (f"?{urlencode(query)}" if query else ""))
        response.set_cookie(TOKEN_COOKIE, settings.LAB_TOKEN, httponly=True, samesite="Strict")
        return response
    return sorry(
        request,
        "This lab asks for its token",
        "Open the address that twogate lab has printed; the token is the last part of it.",
        status=403,
    )


def _fits(given: str) -> bool:
    return secrets.compare_digest(given.encode(), settings.LAB_TOKEN.encode())


def policy(request: HttpRequest, *, frame_ancestors: str = "'none'") -> str:
    """The content security policy of a page.

    :param frame_ancestors: which pages may show it in a frame.
    """
    return (
        f"default-src 'self'; style-src 'self' 'nonce-{request.csp_nonce}'; img-src 'self' data:;"
        f" frame-ancestors {frame_ancestors}; base-uri 'none'; form-action 'self';"
        " object-src 'none'"
    )


def _bind(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    response.headers.setdefault("Content-Security-Policy", policy(request))
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    return response


def sorry(request: HttpRequest, title: str, text: str, status: int) -> HttpResponse:
    """A page that says what went wrong and what to do."""
    shown = {"title": title, "text": text, "request": request}
    return HttpResponse(render_to_string("lab/sorry.html", shown), status=status)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """What a POST gets that did not come from a page of the lab."""
    text = "Open the page again and repeat what you did; the lab takes orders only from its pages."
    return sorry(request, "That did not come from this page", text, status=403)


def not_found(request: HttpRequest, exception: Any = None) -> HttpResponse:
    """There is no such page."""
    return sorry(request, "There is no such page", "The menu lists what there is.", status=404)


def bad_request(request: HttpRequest, exception: Any = None) -> HttpResponse:
    """A request that Django refuses, such as one for another host's name."""
    # No template: the page would look for a learner.
    text = "The lab cannot make sense of this request.\n"
    if isinstance(exception, DisallowedHost):
        text = "The lab has another name. Open the address that twogate lab has printed.\n"
    return HttpResponse(text, status=400, content_type="text/plain")


def server_error(request: HttpRequest) -> HttpResponse:
    """A bug of ours."""
    text = "Nothing of yours is lost. The terminal in which the lab runs says what happened."
    return sorry(request, "Something went wrong in the lab", text, status=500)
