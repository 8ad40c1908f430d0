"""A project that does what the case of the moment says, and notes every call.

What its middlewares do beside noting is in :attr:`Case.tricks`, what its views do in the request.
"""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.core.exceptions import (
    BadRequest,
    MiddlewareNotUsed,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.http import (
    FileResponse,
    Http404,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.http.multipartparser import MultiPartParserError
from django.middleware.csrf import get_token, rotate_token
from django.template.response import SimpleTemplateResponse, TemplateResponse
from django.urls import path
from django.utils import translation
from django.utils.cache import patch_cache_control
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from twogate.django import nonblocking

__all__ = ["ACTIONS", "ENDINGS", "EVENTS", "MIDDLEWARES", "TRICKS", "TRICKS_OF", "note", "note_end"]

#: What has happened, in order.
EVENTS: list[tuple[Any, ...]] = []
#: What each middleware, by name, does beside noting its calls.
TRICKS: dict[str, str] = {}

#: Seen by all that runs for one request, wherever it runs.
TRAIL: ContextVar[tuple[str, ...]] = ContextVar("trail", default=())


def note(who: str, what: str, *more: Any) -> None:
    """Note an event, with what code that runs now could notice."""
    TRAIL.set((*TRAIL.get()[-3:], f"{who}.{what}"))
    handled = sys.exc_info()[1]
    EVENTS.append(
        (who, what, type(handled).__name__, translation.get_language(), TRAIL.get(), *more)
    )


def note_end(who: str, what: str, *more: Any) -> None:
    """Note an event at the end of a request, which up to Django 5.2 does not see what came before
    it: there the request is answered in a task of its own."""
    EVENTS.append((who, what, *more))


# The middlewares.

HOOK_TRICKS = (
    "request responds", "request raises", "request denies", "request responds unrendered",
    "request falsy", "request fills session", "request activates", "request sets user",
    "request asks for user",
    "view responds", "view raises", "view falsy", "view exempts",
    "response raises", "response replaces", "response none", "response cookie",
    "response closer", "response session",
    "exception responds", "exception raises",
    "template responds", "template raises", "template none",
)  # fmt: skip
CALL_TRICKS = (
    "call responds", "call raises", "call raises after", "call replaces", "call none",
    "call closer",
)  # fmt: skip
TRICKS_OF = {"hooks": HOOK_TRICKS, "call": CALL_TRICKS}


def trick(name: str, hook: str, request: Any, response: Any = None) -> Any:
    """Do what the middleware ``name`` has been told to do in a hook; its result."""
    told = TRICKS.get(name, "")
    if not told.startswith(hook + " "):
        return response
    match told.removeprefix(hook + " "):
        case "responds":
            return HttpResponse(f"{name} responds", status=203)
        case "responds unrendered":
            return SimpleTemplateResponse("page.html", {"who": name})
        case "replaces":
            return HttpResponse(f"{name} replaces", status=response.status_code)
        case "falsy":
            return ""
        case "none":
            return None
        case "raises" | "raises after":
            raise ValueError(f"{name} {told}")
        case "denies":
            raise PermissionDenied(name)
        case "exempts":
            request._dont_enforce_csrf_checks = True
        case "activates":
            translation.activate("fr")
        case "sets user":
            request.user, request._messages = f"set by {name}", []
        case "asks for user":
            note(name, "user", hasattr(request, "user"), hasattr(request, "_messages"))
        case "fills session":
            request.session["_auth_user_id"] = "1"
            request.session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
        case "session":
            request.session["late"] = name
        case "cookie":
            response.set_cookie(name, "late")
        case "closer":
            watch_close(name, response)
        case other:
            raise AssertionError(other)
    return response


def watch_close(name: str, response: Any) -> None:
    """What monitoring tools do to see the end of a response."""
    close = response.close

    def closed() -> None:
        note_end(name, "close")
        close()

    response.close = closed


class Hooks:
    """All hooks, for middlewares to inherit."""

    def _name(self) -> str:
        return type(self).__name__

    def process_request(self, request: Any) -> Any:
        note(self._name(), "request")
        return trick(self._name(), "request", request)

    def process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> Any:
        note(self._name(), "view", view.__name__)
        return trick(self._name(), "view", request)

    def process_exception(self, request: Any, error: Exception) -> Any:
        note(self._name(), "exception", describe(error))
        return trick(self._name(), "exception", request)

    def process_template_response(self, request: Any, response: Any) -> Any:
        note(self._name(), "template", response.is_rendered)
        if TRICKS.get(self._name()) == "template responds":
            return SimpleTemplateResponse("page.html", {"who": self._name()})
        return trick(self._name(), "template", request, response)

    def process_response(self, request: Any, response: Any) -> Any:
        note(self._name(), "response", getattr(response, "status_code", None))
        return trick(self._name(), "response", request, response)


def describe(error: BaseException | None) -> str:
    """An exception and what it came from."""
    said = []
    while error is not None:
        said.append(f"{type(error).__name__}({error})")
        error = error.__cause__ or error.__context__
    return " from ".join(said)


class PlainA(Hooks, MiddlewareMixin):  # type: ignore[misc]
    pass


class PlainB(Hooks, MiddlewareMixin):  # type: ignore[misc]
    pass


class OnlyResponse(MiddlewareMixin):  # type: ignore[misc]
    process_response = Hooks.process_response
    _name = Hooks._name


@nonblocking
class Declared(Hooks, MiddlewareMixin):  # type: ignore[misc]
    pass


class AwaitedHooks(MiddlewareMixin):  # type: ignore[misc]
    """Hooks around the view that are coroutine functions."""

    async def process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> Any:
        note("AwaitedHooks", "view")
        return trick("AwaitedHooks", "view", request)

    async def process_exception(self, request: Any, error: Exception) -> Any:
        note("AwaitedHooks", "exception", describe(error))
        return trick("AwaitedHooks", "exception", request)

    async def process_template_response(self, request: Any, response: Any) -> Any:
        note("AwaitedHooks", "template")
        return trick("AwaitedHooks", "template", request, response)


class OwnCall(Hooks, MiddlewareMixin):  # type: ignore[misc]
    """Derived from MiddlewareMixin, with a call of its own."""

    def __call__(self, request: Any) -> Any:
        note("OwnCall", "call")
        return super().__call__(request)


class SyncMixin(Hooks, MiddlewareMixin):  # type: ignore[misc]
    async_capable = False


class AsyncMixin(Hooks, MiddlewareMixin):  # type: ignore[misc]
    sync_capable = False


class Called:
    """Middlewares that are called as a whole: hooks around the view, and a call around it."""

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response

    def _name(self) -> str:
        return type(self).__name__

    def before(self, request: Any, mode: str = "") -> Any:
        note(self._name(), "call", mode)
        if TRICKS.get(self._name()) not in ("call responds", "call raises"):
            return None
        return trick(self._name(), "call", request)

    def after(self, request: Any, response: Any) -> Any:
        note(self._name(), "after", getattr(response, "status_code", None))
        return trick(self._name(), "call", request, response)


class SyncClass(Called):
    process_view = Hooks.process_view
    process_exception = Hooks.process_exception
    process_template_response = Hooks.process_template_response

    def __call__(self, request: Any) -> Any:
        return self.before(request) or self.after(request, self.get_response(request))


class AsyncClass(Called):
    sync_capable, async_capable = False, True
    process_view = AwaitedHooks.process_view
    process_exception = Hooks.process_exception

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        super().__init__(get_response)
        markcoroutinefunction(self)

    async def __call__(self, request: Any) -> Any:
        return self.before(request) or self.after(request, await self.get_response(request))


class HybridClass(Called):
    async_capable = True
    process_view = Hooks.process_view
    process_template_response = Hooks.process_template_response

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        super().__init__(get_response)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        if iscoroutinefunction(self):
            return self._acall(request)
        return self.before(request) or self.after(request, self.get_response(request))

    async def _acall(self, request: Any) -> Any:
        return self.before(request) or self.after(request, await self.get_response(request))


class _Function(Called):
    def __init__(self, name: str) -> None:
        self.name = name

    def _name(self) -> str:
        return self.name


def sync_function(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    calls = _Function("sync_function")

    def middleware(request: Any) -> Any:
        return calls.before(request) or calls.after(request, get_response(request))

    return middleware


def async_function(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    calls = _Function("async_function")

    async def middleware(request: Any) -> Any:
        return calls.before(request) or calls.after(request, await get_response(request))

    return middleware


async_function.sync_capable = False  # type: ignore[attr-defined]
async_function.async_capable = True  # type: ignore[attr-defined]


@sync_and_async_middleware  # type: ignore[untyped-decorator]
def hybrid_function(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    calls = _Function("hybrid_function")

    async def awaited(request: Any) -> Any:
        return calls.before(request, "awaited") or calls.after(request, await get_response(request))

    def called(request: Any) -> Any:
        return calls.before(request, "called") or calls.after(request, get_response(request))

    return awaited if iscoroutinefunction(get_response) else called


def not_used(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    raise MiddlewareNotUsed("said so")


#: Each middleware by name, and the family of its tricks.
MIDDLEWARES = {
    "PlainA": "hooks", "PlainB": "hooks", "OnlyResponse": "hooks", "Declared": "hooks",
    "AwaitedHooks": "hooks", "OwnCall": "hooks", "SyncMixin": "hooks", "AsyncMixin": "hooks",
    "SyncClass": "call", "AsyncClass": "call", "HybridClass": "call",
    "sync_function": "call", "async_function": "call", "hybrid_function": "call",
    "not_used": "call",
}  # fmt: skip


# The views: what to do first, and how to end.


def _session(name: str) -> Callable[[Any], Any]:
    return lambda request: getattr(request.session, name)()


ACTIONS: dict[str, Callable[[Any], Any]] = {
    "read session": lambda request: request.session.get("visits"),
    "write session": lambda request: request.session.update({"visits": "more"}),
    "flush session": _session("flush"),
    "cycle session": _session("cycle_key"),
    "expire session": lambda request: request.session.set_expiry(0),
    "date session": lambda request: request.session.set_expiry(300),
    "add message": lambda request: messages.info(request, "hello"),
    "add long message": lambda request: messages.info(request, "hello" * 500),
    "read messages": lambda request: [str(m) for m in messages.get_messages(request)],
    "get token": lambda request: get_token(request),
    "rotate token": lambda request: rotate_token(request),
    "read user": lambda request: str(request.user),
    "read form": lambda request: sorted(request.POST.items()),
    "read files": lambda request: sorted((n, f.read()) for n, f in request.FILES.items()),
    "read body": lambda request: request.body,
    "count users": lambda request: get_user_model().objects.count(),
    "add user": lambda request: get_user_model().objects.create(username="new").pk,
    "activate": lambda request: translation.activate("de"),
}

AWAITED: dict[str, Callable[[Any], Any]] = {
    "read session": lambda request: request.session.aget("visits"),
    "write session": lambda request: request.session.aupdate({"visits": "more"}),
    "flush session": _session("aflush"),
    "cycle session": _session("acycle_key"),
    "expire session": lambda request: request.session.aset_expiry(0),
    "date session": lambda request: request.session.aset_expiry(300),
    "read user": lambda request: request.auser(),
    "count users": lambda request: get_user_model().objects.acount(),
    "add user": lambda request: get_user_model().objects.acreate(username="new"),
}


def _raise(error: Exception) -> Any:
    raise error


def _pieces(count: int) -> Iterator[str]:
    for number in range(count):
        note_end("stream", "piece", number)
        yield f"piece {number};" * 60


async def _awaited_pieces(count: int) -> AsyncIterator[str]:
    for piece in _pieces(count):
        yield piece


async def _coroutine() -> None: ...


def _page(who: str, status: int = 200) -> TemplateResponse:
    return TemplateResponse(None, "page.html", {"who": who}, status=status)


def _file() -> FileResponse:
    opened = io.BytesIO(b"from a file " * 10_000)
    opened.name = "file.txt"
    return FileResponse(opened)


ENDINGS: dict[str, Callable[[Any], Any]] = {
    "small": lambda request: HttpResponse("small"),
    "page": lambda request: HttpResponse("a page of some length " * 30),
    "big": lambda request: HttpResponse("a big page " * 8_000),
    "empty": lambda request: HttpResponse(status=204),
    "json": lambda request: JsonResponse({"key": "value"}),
    "not found": lambda request: HttpResponse("nothing here", status=404),
    "failed": lambda request: HttpResponse("we failed", status=500),
    "template": lambda request: TemplateResponse(request, "page.html", {"who": "view"}),
    "simple template": lambda request: _page("view", 202),
    "broken template": lambda request: TemplateResponse(request, "broken.html"),
    "missing template": lambda request: TemplateResponse(request, "missing.html"),
    "redirect": lambda request: HttpResponseRedirect("/page/"),
    "none": lambda request: None,
    "coroutine": lambda request: _coroutine(),
    "404": lambda request: _raise(Http404("not here")),
    "denied": lambda request: _raise(PermissionDenied("not you")),
    "suspicious": lambda request: _raise(SuspiciousOperation("odd")),
    "too big": lambda request: _raise(RequestDataTooBig("fat")),
    "bad": lambda request: _raise(BadRequest("bad")),
    "multipart": lambda request: _raise(MultiPartParserError("torn")),
    "error": lambda request: _raise(ValueError("wrong")),
    "stream": lambda request: StreamingHttpResponse(_pieces(3)),
    "long stream": lambda request: StreamingHttpResponse(_pieces(200)),
    "async stream": lambda request: StreamingHttpResponse(_awaited_pieces(3)),
    "file": lambda request: _file(),
}


def _headers(request: Any, response: Any) -> Any:
    """What the query asks for, on any response."""
    if not hasattr(response, "headers"):
        return response
    for wanted in request.GET.getlist("with"):
        match wanted:
            case "cookie":
                response.set_cookie("mine", "1")
            case "etag":
                response["ETag"] = '"one"'
            case "modified":
                response["Last-Modified"] = "Wed, 21 Oct 2015 07:28:00 GMT"
            case "private" | "no_store" | "public":
                patch_cache_control(response, **{wanted: True})
            case "max_age":
                patch_cache_control(response, max_age=100)
            case "vary":
                response["Vary"] = "X-Thing"
            case "closer":
                watch_close("view", response)
    return response


def _do(request: Any, name: str) -> Any:
    return ACTIONS[name](request)


def work(request: Any, **keywords: Any) -> Any:
    note("view", "called", request.method, sorted(keywords.items()))
    for name in request.GET.getlist("do"):
        note("view", name, ACTIONS[name](request))
    return _headers(request, ENDINGS[request.GET.get("end", "small")](request))


async def awork(request: Any, **keywords: Any) -> Any:
    note("view", "called", request.method, sorted(keywords.items()))
    for name in request.GET.getlist("do"):
        if name in AWAITED and "sync" not in request.GET:
            result = await AWAITED[name](request)
        else:
            result = ACTIONS[name](request)
        note("view", name, str(result))
    return _headers(request, ENDINGS[request.GET.get("end", "small")](request))


class Page(View):  # type: ignore[misc]
    def get(self, request: Any, **keywords: Any) -> Any:
        return work(request, **keywords)

    post = get


class AsyncPage(View):  # type: ignore[misc]
    def dispatch(self, request: Any, **keywords: Any) -> Any:
        note("view", "dispatched")
        return super().dispatch(request, **keywords)

    async def get(self, request: Any, **keywords: Any) -> Any:
        return await awork(request, **keywords)

    post = get


class Number:
    """A path converter, called wherever a path is resolved."""

    regex = "[0-9]+"

    def to_python(self, value: str) -> int:
        if value == "13":
            raise ValueError
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


def open_to_all(view: Any) -> Any:
    @functools.wraps(view)
    def opened(request: Any, **keywords: Any) -> Any:
        return view(request, **keywords)

    opened.login_required = False  # type: ignore[attr-defined]
    return opened


@csrf_exempt  # type: ignore[untyped-decorator]
async def exempt(request: Any) -> Any:
    return await awork(request)


def login(request: Any) -> HttpResponse:
    return HttpResponse("log in")


def patterns(prefixed: bool) -> list[Any]:
    """The paths of the site: each view sync and async.

    :param prefixed: whether some begin with a language.
    """
    from django.conf.urls.i18n import i18n_patterns
    from django.urls import register_converter
    from django.urls.converters import get_converters

    if "number" not in get_converters():
        register_converter(Number, "number")
    told = [path("told/", awork)]
    return [
        path("page/", work),
        path("apage/", awork),
        path("class/", Page.as_view()),
        path("aclass/", AsyncPage.as_view()),
        path("number/<number:number>/", work),
        path("anumber/<number:number>/", awork),
        path("exempt/", exempt),
        path("open/", open_to_all(work)),
        path("accounts/login/", open_to_all(login)),
        *(i18n_patterns(*told, prefix_default_language=False) if prefixed else told),
    ]


def broken_handler500(request: Any) -> Any:
    """A page for failures that fails."""
    raise RuntimeError("handler500 fails")


def late_handler404(request: Any, exception: Exception) -> Any:
    """A page that is rendered late."""
    return _page("handler404", 404)
