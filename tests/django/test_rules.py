"""The rules: one for each hook that Django ships, and what it lets run on the loop never blocks."""

from __future__ import annotations

import asyncio
import gettext
import importlib
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import django
import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import RequestFactory
from django.utils.deprecation import MiddlewareMixin
from hypothesis import HealthCheck, given, settings
from tests.support.tripwire import Tripwire
from tests.support.twins.cases import SEVEN, Case, cases
from tests.support.twins.cases import Request as CaseRequest
from tests.support.twins.drive import Project

from twogate.django import nonblocking
from twogate.django.handler import AsgiHandler
from twogate.django.rules import _RULES, NEVER, rule_of

HOOKS = ("process_request", "process_view", "process_response", "process_exception",
         "process_template_response")  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with Project(tmp_path_factory.mktemp("project")) as project:
        yield project


def shipped() -> Iterator[tuple[type, str]]:
    """Every hook of every middleware that this Django ships."""
    root = Path(django.__path__[0])
    for file in [*root.glob("middleware/*.py"), *root.glob("contrib/*/middleware.py")]:
        name = ".".join(("django", *file.relative_to(root).with_suffix("").parts))
        for kind in vars(importlib.import_module(name)).values():
            here = isinstance(kind, type) and kind.__module__ == name
            if here and issubclass(kind, MiddlewareMixin):
                yield from ((kind, hook) for hook in HOOKS if hasattr(kind, hook))


def test_every_hook_that_django_ships_has_a_rule(project: Project) -> None:
    names = {f"{kind.__module__}.{kind.__qualname__}.{hook}" for kind, hook in shipped()}
    assert len(names) > 15
    assert names - set(_RULES) == set()


def test_a_stranger_must_have_a_thread() -> None:
    class Stranger(MiddlewareMixin):  # type: ignore[misc]
        def process_request(self, request: Any) -> None: ...

    assert rule_of(Stranger(lambda request: HttpResponse()), "process_request") is NEVER


def test_what_is_declared_may_run_on_the_loop(urlconf: Callable[..., None]) -> None:
    @nonblocking
    class Declared(MiddlewareMixin):  # type: ignore[misc]
        def process_request(self, request: Any) -> None: ...

    class Derived(Declared):
        pass

    class Hook(MiddlewareMixin):  # type: ignore[misc]
        @nonblocking
        def process_request(self, request: Any) -> None: ...

        def process_response(self, request: Any, response: Any) -> Any:
            return response

    def rule(kind: type, hook: str) -> Any:
        return rule_of(kind(lambda request: HttpResponse()), hook)

    assert rule(Declared, "process_request") is None
    assert rule(Derived, "process_request") is NEVER
    assert rule(Hook, "process_request") is None
    assert rule(Hook, "process_response") is NEVER
    urlconf(TWOGATE_NONBLOCKING=[f"{Derived.__module__}.{Derived.__qualname__}"])
    assert rule(Derived, "process_request") is None


# Each rule, both ways.

LOOP, THREAD, BLOCKS = "loop", "thread", "thread, for it blocks"

DJANGO = "django.middleware."
CONTRIB = "django.contrib."
BACKENDS = "django.contrib.sessions.backends."
STORAGE = "django.contrib.messages.storage."
DB, FILE, CACHE, SIGNED = (
    {"SESSION_ENGINE": BACKENDS + name} for name in ("db", "file", "cache", "signed_cookies")
)
CACHED_DB = {"SESSION_ENGINE": BACKENDS + "cached_db"}


@dataclass(frozen=True)
class Hook:
    """One call of a hook.

    :ivar name: its middleware's dotted name, and its own.
    :ivar where: what the rule must say.
    :ivar settings: of the project.
    :ivar ask: the request's method and headers.
    :ivar prepare: does to the request what was done before.
    :ivar response: for ``process_response``.
    """

    name: str
    where: str
    settings: dict[str, Any] = field(default_factory=dict)
    ask: tuple[str, dict[str, str]] = ("GET", {})
    prepare: Callable[[HttpRequest], object] = lambda request: None
    response: Callable[[], Any] = HttpResponse

    def __str__(self) -> str:
        return f"{'.'.join(self.name.split('.')[-2:])}-{self.where.partition(',')[0]}"


def with_session(key: str | None, **data: Any) -> Callable[[HttpRequest], None]:
    """Gives the request a session: that of the browser's cookie, and what was put into it."""

    def prepare(request: HttpRequest) -> None:
        from django.conf import settings

        store = importlib.import_module(settings.SESSION_ENGINE).SessionStore
        request.session = store(key)
        if data:
            request.session.update(data)

    return prepare


def with_user(key: str | None, **data: Any) -> Callable[[HttpRequest], None]:
    def prepare(request: HttpRequest) -> None:
        from django.contrib.auth.middleware import AuthenticationMiddleware

        with_session(key, **data)(request)
        AuthenticationMiddleware(HttpResponse).process_request(request)

    return prepare


def known_user(request: HttpRequest) -> None:
    with_user("k" * 32)(request)
    str(request.user)


def with_messages(
    key: str | None, *messages: str, loaded: bool = False
) -> Callable[[HttpRequest], None]:
    def prepare(request: HttpRequest) -> None:
        from django.contrib.messages.storage import default_storage

        with_session(key)(request)
        if loaded:
            request.session.get("x")
        request._messages = default_storage(request)
        for message in messages:
            request._messages.add(20, message)

    return prepare


def setting(**values: Any) -> Callable[[HttpRequest], None]:
    return lambda request: vars(request).update(values)


def needs_cookie(key: str | None, loaded: bool) -> Callable[[HttpRequest], None]:
    def prepare(request: HttpRequest) -> None:
        with_session(key)(request)
        if loaded:
            request.session.get("x")
        request.META.update(CSRF_COOKIE="s" * 32, CSRF_COOKIE_NEEDS_UPDATE=True)

    return prepare


def knows_site(request: HttpRequest) -> None:
    from django.contrib.sites.models import Site

    Site.objects.get_current(request)


def speaks(*languages: str, prefixes: bool = False) -> Callable[[HttpRequest], None]:
    """Languages whose catalogues have been read, and whether paths begin with one."""

    def prepare(request: HttpRequest) -> None:
        from django.utils import translation

        for language in languages:
            with translation.override(language):
                translation.gettext("x")
        if prefixes:
            request.urlconf = prefixed_urls()

    return prepare


def prefixed_urls() -> types.ModuleType:
    from django.conf.urls.i18n import i18n_patterns
    from django.urls import path

    module = types.ModuleType("prefixed_urls")
    patterns = i18n_patterns(path("page/", page), prefix_default_language=False)
    module.urlpatterns = patterns  # type: ignore[attr-defined]
    return module


def flushed(request: HttpRequest) -> None:
    with_session(None)(request)
    request.session.clear()


def body(size: int, **headers: str) -> Callable[[], HttpResponse]:
    return lambda: HttpResponse("x" * size, headers=headers)


def answered(status: int) -> Callable[[], HttpResponse]:
    return lambda: HttpResponse(status=status)


def streamed() -> StreamingHttpResponse:
    return StreamingHttpResponse(iter(["x"]))


KEY = "k" * 32
GZIP = ("GET", {"HTTP_ACCEPT_ENCODING": "gzip"})
HEAD: tuple[str, dict[str, str]] = ("HEAD", {})
POST: tuple[str, dict[str, str]] = ("POST", {})
REFERRED = ("GET", {"HTTP_REFERER": "http://testserver/page"})
FILES = {"CACHE_MIDDLEWARE_ALIAS": "files"}
IN_SESSION = {"MESSAGE_STORAGE": STORAGE + "session.SessionStorage", **DB}
USE_SESSIONS = {"CSRF_USE_SESSIONS": True, **DB}
XVIEW = CONTRIB + "admindocs.middleware.XViewMiddleware.process_view"
LOGIN = CONTRIB + "auth.middleware.LoginRequiredMiddleware.process_view"
MESSAGE = CONTRIB + "messages.middleware.MessageMiddleware."
SESSION = CONTRIB + "sessions.middleware.SessionMiddleware."
SITE = CONTRIB + "sites.middleware.CurrentSiteMiddleware.process_request"
CSRF = DJANGO + "csrf.CsrfViewMiddleware."
COMMON = DJANGO + "common.CommonMiddleware."
LOCALE = DJANGO + "locale.LocaleMiddleware."
GZIPPING = DJANGO + "gzip.GZipMiddleware.process_response"
CONDITIONAL = DJANGO + "http.ConditionalGetMiddleware.process_response"
LINKS = DJANGO + "common.BrokenLinkEmailsMiddleware.process_response"
SECURITY = DJANGO + "security.SecurityMiddleware."
CSP = DJANGO + "csp.ContentSecurityPolicyMiddleware."

CALLS = [
    Hook(XVIEW, LOOP, DB, prepare=with_user(KEY)),
    Hook(XVIEW, LOOP, DB, HEAD, with_user(None)),
    Hook(XVIEW, LOOP, DB, HEAD, known_user),
    Hook(XVIEW, BLOCKS, DB, HEAD, with_user(KEY)),
    Hook(CONTRIB + "auth.middleware.AuthenticationMiddleware.process_request", LOOP, DB,
         prepare=with_session(KEY)),
    Hook(LOGIN, LOOP, DB, prepare=with_user(None)),
    Hook(LOGIN, LOOP, DB, prepare=known_user),
    Hook(LOGIN, BLOCKS, DB, prepare=with_user(KEY)),
    Hook(LOGIN, BLOCKS, DB, prepare=with_user(
        None, _auth_user_id="1", _auth_user_backend=CONTRIB + "auth.backends.ModelBackend")),
    *(Hook(CONTRIB + name + ".process_response", where, response=answered(status))
      for name in ("flatpages.middleware.FlatpageFallbackMiddleware",
                   "redirects.middleware.RedirectFallbackMiddleware")
      for where, status in ((LOOP, 200), (LOOP, 500), (BLOCKS, 404))),
    *(Hook(MESSAGE + "process_request", LOOP, {**DB, "MESSAGE_STORAGE": STORAGE + name},
           prepare=with_session(KEY))
      for name in ("cookie.CookieStorage", "session.SessionStorage", "fallback.FallbackStorage")),
    Hook(MESSAGE + "process_request", THREAD, {"MESSAGE_STORAGE": f"{__name__}.OwnStorage"}),
    Hook(MESSAGE + "process_response", LOOP),
    Hook(MESSAGE + "process_response", LOOP, IN_SESSION, prepare=with_messages(KEY)),
    Hook(MESSAGE + "process_response", LOOP, IN_SESSION, prepare=with_messages(None, "new")),
    Hook(MESSAGE + "process_response", LOOP, IN_SESSION,
         prepare=with_messages(KEY, "new", loaded=True)),
    Hook(MESSAGE + "process_response", BLOCKS, IN_SESSION, prepare=with_messages(KEY, "new")),
    Hook(MESSAGE + "process_response", THREAD,
         {**DB, "MESSAGE_STORAGE": f"{__name__}.OwnStorage"}, prepare=with_messages(None, "new")),
    *(Hook(SESSION + "process_request", LOOP, engine, ("GET", {"HTTP_COOKIE": "sessionid=" + KEY}))
      for engine in (DB, FILE, CACHE, SIGNED, CACHED_DB)),
    Hook(SESSION + "process_request", THREAD, {"SESSION_ENGINE": __name__}),
    Hook(SESSION + "process_response", LOOP),
    *(Hook(SESSION + "process_response", LOOP, engine, prepare=with_session(KEY))
      for engine in (DB, FILE, CACHE, SIGNED, CACHED_DB)),
    *(Hook(SESSION + "process_response", BLOCKS, engine, prepare=with_session(None, new="value"))
      for engine in (DB, FILE, CACHED_DB)),
    Hook(SESSION + "process_response", LOOP, CACHE, prepare=with_session(None, new="value")),
    Hook(SESSION + "process_response", LOOP, SIGNED, prepare=with_session(None, new="value")),
    Hook(SESSION + "process_response", BLOCKS, {**CACHE, "SESSION_CACHE_ALIAS": "files"},
         prepare=with_session(None, new="value")),
    Hook(SESSION + "process_response", LOOP, DB, prepare=flushed),
    Hook(SESSION + "process_response", BLOCKS, {**DB, "SESSION_SAVE_EVERY_REQUEST": True},
         prepare=with_session(KEY)),
    Hook(SESSION + "process_response", THREAD, {"SESSION_ENGINE": __name__},
         prepare=with_session(None)),
    *(Hook(SITE, LOOP, site, prepare=knows_site) for site in ({}, {"SITE_ID": 1})),
    *(Hook(SITE, BLOCKS, site) for site in ({}, {"SITE_ID": 1})),
    *(Hook(f"{DJANGO}cache.{name}.process_request", where, alias, asked)
      for name in ("CacheMiddleware", "FetchFromCacheMiddleware")
      for where, alias, asked in ((LOOP, {}, ("GET", {})), (LOOP, FILES, POST),
                                  (BLOCKS, FILES, HEAD), (BLOCKS, FILES, ("GET", {})))),
    *(Hook(f"{DJANGO}cache.{name}.process_response", where, alias,
           prepare=setting(_cache_update_cache=flag), response=response)
      for name in ("CacheMiddleware", "UpdateCacheMiddleware")
      for where, alias, flag, response in (
          (LOOP, {}, True, HttpResponse), (LOOP, FILES, False, HttpResponse),
          (LOOP, FILES, True, streamed), (LOOP, FILES, True, answered(404)),
          (BLOCKS, FILES, True, HttpResponse))),
    Hook(DJANGO + "clickjacking.XFrameOptionsMiddleware.process_response", LOOP),
    Hook(LINKS, LOOP, ask=REFERRED),
    Hook(LINKS, LOOP, {"DEBUG": True}, REFERRED, response=answered(404)),
    Hook(LINKS, BLOCKS, ask=REFERRED, response=answered(404)),
    Hook(COMMON + "process_request", LOOP),
    Hook(COMMON + "process_request", LOOP, {"PREPEND_WWW": True},
         ("GET", {"HTTP_HOST": "www.testserver"})),
    Hook(COMMON + "process_request", THREAD, {"PREPEND_WWW": True}),
    Hook(COMMON + "process_response", LOOP),
    Hook(COMMON + "process_response", LOOP, response=answered(404)),
    *((Hook(CSP + "process_request", LOOP), Hook(CSP + "process_response", LOOP))
      if django.VERSION >= (6,) else ()),
    Hook(CSRF + "process_request", LOOP, DB, prepare=with_session(KEY)),
    Hook(CSRF + "process_request", LOOP, USE_SESSIONS, prepare=with_session(None)),
    Hook(CSRF + "process_request", LOOP, {**USE_SESSIONS, **SIGNED}, prepare=with_session(KEY)),
    Hook(CSRF + "process_request", BLOCKS, USE_SESSIONS, prepare=with_session(KEY)),
    *(Hook(CSRF + "process_view", LOOP, ask=(method, {}))
      for method in ("GET", "HEAD", "OPTIONS", "TRACE")),
    Hook(CSRF + "process_view", LOOP, ask=POST, prepare=setting(_dont_enforce_csrf_checks=True)),
    Hook(CSRF + "process_view", LOOP, ask=POST, prepare=setting(csrf_processing_done=True)),
    *(Hook(CSRF + "process_view", BLOCKS, ask=(method, {})) for method in ("POST", "DELETE")),
    Hook(CSRF + "process_response", LOOP, DB, prepare=needs_cookie(KEY, loaded=False)),
    Hook(CSRF + "process_response", LOOP, USE_SESSIONS, prepare=with_session(KEY)),
    Hook(CSRF + "process_response", LOOP, USE_SESSIONS, prepare=needs_cookie(KEY, loaded=True)),
    Hook(CSRF + "process_response", BLOCKS, USE_SESSIONS, prepare=needs_cookie(KEY, loaded=False)),
    Hook(GZIPPING, LOOP, ask=GZIP, response=body(4096)),
    Hook(GZIPPING, LOOP, response=body(10_000)),
    Hook(GZIPPING, LOOP, ask=GZIP, response=body(10_000, **{"Content-Encoding": "br"})),
    Hook(GZIPPING, LOOP, ask=GZIP, response=streamed),
    Hook(GZIPPING, THREAD, ask=GZIP, response=body(4097)),
    Hook(CONDITIONAL, LOOP, response=body(65536)),
    Hook(CONDITIONAL, LOOP, response=streamed),
    Hook(CONDITIONAL, LOOP, ask=POST, response=body(100_000)),
    Hook(CONDITIONAL, LOOP, response=body(100_000, ETag='"one"')),
    Hook(CONDITIONAL, THREAD, response=body(65537)),
    Hook(CONDITIONAL, BLOCKS, ask=("GET", {"HTTP_IF_MATCH": '"two"'}), response=body(1)),
    Hook(CONDITIONAL, BLOCKS,
         ask=("GET", {"HTTP_IF_UNMODIFIED_SINCE": "Wed, 21 Oct 2005 07:28:00 GMT"}),
         response=body(1, **{"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"})),
    Hook(LOCALE + "process_request", LOOP, prepare=speaks("en")),
    Hook(LOCALE + "process_request", LOOP, ask=("GET", {"HTTP_ACCEPT_LANGUAGE": "de"}),
         prepare=speaks("de")),
    Hook(LOCALE + "process_request", LOOP, {"USE_I18N": False}),
    Hook(LOCALE + "process_request", BLOCKS, ask=("GET", {"HTTP_ACCEPT_LANGUAGE": "de"})),
    # As many as the project has, but not the one that is asked for.
    Hook(LOCALE + "process_request", BLOCKS, ask=("GET", {"HTTP_ACCEPT_LANGUAGE": "de"}),
         prepare=speaks("en", "fr", "nl")),
    # A path without a prefix is in the project's own language, whatever the browser prefers.
    Hook(LOCALE + "process_request", LOOP, ask=("GET", {"HTTP_ACCEPT_LANGUAGE": "de"}),
         prepare=speaks("en-us", prefixes=True)),
    Hook(LOCALE + "process_request", BLOCKS, prepare=speaks(prefixes=True)),
    Hook(LOCALE + "process_response", LOOP),
    Hook(SECURITY + "process_request", LOOP),
    Hook(SECURITY + "process_request", LOOP, {"SECURE_SSL_REDIRECT": True}),
    Hook(SECURITY + "process_response", LOOP, {"SECURE_HSTS_SECONDS": 60}),
]  # fmt: skip


class OwnStorage:
    """A storage for messages that is not Django's."""

    def __init__(self, request: HttpRequest) -> None: ...

    def add(self, level: int, message: str) -> None: ...


class SessionStore(dict[str, Any]):
    """A session engine that is not Django's: this module is one."""

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__()


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def test_each_rule_is_tested() -> None:
    tested = {call.name for call in CALLS}
    assert tested == {name for name in _RULES if django.VERSION >= (6,) or ".csp." not in name}
    for name in tested:
        said = {call.where == LOOP for call in CALLS if call.name == name}
        assert said == ({True} if _RULES[name] is None else {True, False}), name


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_rule(project: Project, monkeypatch: pytest.MonkeyPatch, call: Hook) -> None:
    """It says where; and there really is nothing that blocks, or really something."""
    from django.utils.translation import trans_real

    monkeypatch.setattr(trans_real, "_translations", {})
    monkeypatch.setattr(gettext, "_translations", {})
    path, hook = call.name.rsplit(".", 1)
    module, kind = path.rsplit(".", 1)
    with project.begun(**call.settings):
        middleware: Any = getattr(importlib.import_module(module), kind)(page)
        method, headers = call.ask
        request = RequestFactory().generic(method, "/page/", **headers)
        call.prepare(request)
        arguments: tuple[Any, ...] = (request,)
        if hook == "process_view":
            arguments = (request, page, (), {})
        elif hook == "process_response":
            arguments = (request, call.response())
        tripwire = Tripwire()
        rule = rule_of(middleware, hook)
        with tripwire.stretched():
            if rule is not None:
                # The rule is asked on the loop, too.
                said = run_on_loop(tripwire.guard("rule", rule), *arguments)
                assert bool(said) is (call.where == LOOP)
            else:
                assert call.where == LOOP
            assert tripwire.tripped == []
            if call.where != THREAD:
                run_on_loop(tripwire.guard("hook", getattr(middleware, hook)), *arguments)
                assert bool(tripwire.tripped) is (call.where == BLOCKS), tripwire.tripped


def run_on_loop(function: Callable[..., Any], *arguments: Any) -> Any:
    from django.core.exceptions import SynchronousOnlyOperation

    async def run() -> Any:
        try:
            return function(*arguments)
        except SynchronousOnlyOperation:
            return None  # the tripwire has seen it

    return asyncio.run(run())


@settings(
    max_examples=150, derandomize=True, database=None, deadline=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(case=cases())
def guarded_cases(project: Project, tripwire: Tripwire, case: Case) -> None:
    project.asgi(AsgiHandler, case)
    assert tripwire.tripped == []


def test_what_runs_on_the_loop_does_not_block(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the project: hooks and rules, guarded while whole requests are answered."""
    tripwire = Tripwire()
    for kind, hook in set(shipped()):
        if hook in vars(kind):
            name = f"{kind.__qualname__}.{hook}"
            monkeypatch.setattr(kind, hook, tripwire.guard(name, getattr(kind, hook)))
    for name, rule in list(_RULES.items()):
        if rule is not None:
            monkeypatch.setitem(_RULES, name, tripwire.guard(f"rule of {name}", rule))
    with tripwire.stretched():
        guarded_cases(project, tripwire)
        # The guard itself: what the rules would not let through is seen.
        monkeypatch.setitem(_RULES, SESSION + "process_response", None)
        saving = CaseRequest(query="do=write+session", headers=(("host", "testserver"),))
        project.asgi(AsgiHandler, Case(SEVEN, DB, requests=(saving,)))
    assert len(tripwire.passed) > 25
    assert {name for name, _, _ in tripwire.tripped} == {"SessionMiddleware.process_response"}
