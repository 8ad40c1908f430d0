"""A Django project in one module, for the parity test: views that show what reached them.

Sessions live in signed cookies, so that every handler starts from the same state. Nothing here may
depend on time, on chance or on the server.
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FILE = Path(tempfile.gettempdir()) / f"twogate-parity-{os.getpid()}"


#: For ``override_settings``: other tests of this process have Django to themselves.
SETTINGS: dict[str, Any] = {
    "DEBUG": False,
    "ALLOWED_HOSTS": ["*"],
    "ROOT_URLCONF": __name__,
    "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    "MESSAGE_STORAGE": "django.contrib.messages.storage.cookie.CookieStorage",
    "MIDDLEWARE": [
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.gzip.GZipMiddleware",
        "django.middleware.http.ConditionalGetMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.locale.LocaleMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": [("django.template.loaders.locmem.Loader", {})]},
        }
    ],
}

from tests.support.settings import configure  # noqa: E402

configure()

from django.contrib import messages  # noqa: E402
from django.http import (  # noqa: E402
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseNotModified,
    HttpResponsePermanentRedirect,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path, re_path  # noqa: E402
from django.utils.translation import gettext  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402
from django.views.decorators.http import condition, require_POST  # noqa: E402


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def describe(request: HttpRequest) -> dict[str, Any]:
    """All that a request says, apart from who sent it and where to."""
    body = request.body
    return {
        "method": request.method,
        "path": request.path,
        "path_info": request.path_info,
        "full": request.get_full_path(),
        "query": request.META["QUERY_STRING"],
        "get": dict(request.GET.lists()),
        "cookies": request.COOKIES,
        "host": request.get_host(),
        "secure": request.is_secure(),
        "scheme": request.scheme,
        "type": request.content_type,
        "params": request.content_params,
        "headers": {
            name: value
            for name, value in request.headers.items()
            if name not in ("Content-Length", "Transfer-Encoding")
        },
        "body": [len(body), digest(body)],
        "post": dict(request.POST.lists()),
    }


@csrf_exempt
def echo(request: HttpRequest, **kwargs: Any) -> JsonResponse:
    return JsonResponse(describe(request), json_dumps_params={"sort_keys": True})


@csrf_exempt
async def async_echo(request: HttpRequest) -> JsonResponse:
    await asyncio.sleep(0)
    return JsonResponse(describe(request), json_dumps_params={"sort_keys": True})


@csrf_exempt
def upload(request: HttpRequest) -> JsonResponse:
    files = {
        name: [[file.name, file.content_type, file.size, digest(file.read())] for file in uploaded]
        for name, uploaded in request.FILES.lists()
    }
    return JsonResponse({"post": dict(request.POST.lists()), "files": files})


@csrf_exempt
def read(request: HttpRequest) -> JsonResponse:
    """Reads the body as a stream, line by line."""
    lines = list(request)
    return JsonResponse({"lines": len(lines), "digest": digest(b"".join(lines))})


@csrf_exempt
def as_json(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"got": json.loads(request.body)})


@csrf_exempt
def unread(request: HttpRequest) -> HttpResponse:
    return HttpResponse("never looked")


def text(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain ünïcode", content_type="text/plain; charset=utf-8")


def empty(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"")


def large(request: HttpRequest) -> HttpResponse:
    return HttpResponse(bytes(range(256)) * 2000, content_type="application/octet-stream")


def status(request: HttpRequest, code: int) -> HttpResponse:
    return HttpResponse(b"" if code in (204, 304) else b"body", status=code)


def reason(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"short and stout", status=418, reason="Teapot")


def headers(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("x", headers={"X-One": "1", "X-Latin": "caf\xe9", "Vary": "Cookie"})
    response.set_cookie("a", "1", max_age=None, httponly=True, samesite="Lax")
    response.set_cookie("b", "é;,", path="/b")
    response.delete_cookie("c")
    return response


def redirect(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/text?next=é")


def moved(request: HttpRequest) -> HttpResponse:
    return HttpResponsePermanentRedirect("https://example.org/")


def not_modified(request: HttpRequest) -> HttpResponse:
    return HttpResponseNotModified()


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a view that raises")


async def async_broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("an async view that raises")


def pieces() -> Iterator[bytes]:
    yield b"first,"
    yield b""
    yield b"second," * 1000
    yield "däst".encode()


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(pieces(), content_type="text/plain")


async def async_stream(request: HttpRequest) -> StreamingHttpResponse:
    async def content() -> AsyncIterator[bytes]:
        for piece in pieces():
            await asyncio.sleep(0)
            yield piece

    return StreamingHttpResponse(content(), content_type="text/plain")


def stream_with_length(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b"ab", b"cd"]), headers={"Content-Length": "4"})


def file(request: HttpRequest) -> FileResponse:
    opened = FILE.open("rb")
    opened.seek(int(request.GET.get("offset", "0")))
    return FileResponse(opened, as_attachment="save" in request.GET, filename="päge.bin")


def buffer(request: HttpRequest) -> FileResponse:
    return FileResponse(io.BytesIO(b"in memory" * 10), filename="x.txt")


def session(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.session.get("count", 0)))


def set_session(request: HttpRequest) -> HttpResponse:
    request.session["count"] = 1
    request.session.set_expiry(0)  # with the browser: no moment in the cookie
    return HttpResponse("counted")


def message(request: HttpRequest) -> HttpResponse:
    messages.success(request, "sävéd")
    messages.info(request, "and noted")
    return HttpResponse(", ".join(str(m) for m in messages.get_messages(request)))


@require_POST
def guarded(request: HttpRequest) -> HttpResponse:
    return HttpResponse("let in")


def zipped(request: HttpRequest) -> HttpResponse:
    return HttpResponse("compressible " * 200)


MOMENT = datetime(2024, 2, 29, 12, 0, tzinfo=UTC)


@condition(etag_func=lambda r: '"v1"', last_modified_func=lambda r: MOMENT)
def dated(request: HttpRequest) -> HttpResponse:
    return HttpResponse("dated")


def locale(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.LANGUAGE_CODE} {gettext('January')}")


urlpatterns = [
    path("echo/", echo),
    re_path(r"^any/(?P<rest>.*)$", echo),
    path("async/", async_echo),
    path("upload/", upload),
    path("read/", read),
    path("json/", as_json),
    path("unread/", unread),
    path("text", text),
    path("empty", empty),
    path("large", large),
    path("status/<int:code>", status),
    path("reason", reason),
    path("headers", headers),
    path("redirect", redirect),
    path("moved", moved),
    path("304", not_modified),
    path("broken", broken),
    path("async/broken", async_broken),
    path("stream", stream),
    path("async/stream", async_stream),
    path("stream/length", stream_with_length),
    path("file", file),
    path("buffer", buffer),
    path("session", session),
    path("session/set", set_session),
    path("message", message),
    path("guarded", guarded),
    path("zipped", zipped),
    path("dated", dated),
    path("locale", locale),
]
