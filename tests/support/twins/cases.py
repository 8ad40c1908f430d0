"""Cases: middleware stacks, settings, requests, and what the middlewares of ours do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import django
from hypothesis import strategies as st

from tests.support.twins.site import ACTIONS, ENDINGS, MIDDLEWARES, TRICKS_OF

__all__ = ["BUILT_IN", "SEVEN", "SITE", "Case", "Request", "cases"]

#: Where the middlewares of ours are.
SITE = "tests.support.twins.site"

_SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
_AUTH = "django.contrib.auth.middleware.AuthenticationMiddleware"
_MESSAGES = "django.contrib.messages.middleware.MessageMiddleware"
_CSRF = "django.middleware.csrf.CsrfViewMiddleware"

#: What a new project has.
SEVEN = (
    "django.middleware.security.SecurityMiddleware",
    _SESSION,
    "django.middleware.common.CommonMiddleware",
    _CSRF,
    _AUTH,
    _MESSAGES,
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)

BUILT_IN = (
    *SEVEN,
    "django.contrib.admindocs.middleware.XViewMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.auth.middleware.PersistentRemoteUserMiddleware",
    "django.contrib.auth.middleware.RemoteUserMiddleware",
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
    "django.contrib.redirects.middleware.RedirectFallbackMiddleware",
    "django.contrib.sites.middleware.CurrentSiteMiddleware",
    "django.middleware.cache.CacheMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
    "django.middleware.cache.UpdateCacheMiddleware",
    "django.middleware.common.BrokenLinkEmailsMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    *(("django.middleware.csp.ContentSecurityPolicyMiddleware",) if django.VERSION >= (6,) else ()),
)

#: What each needs to stand before it.
_NEEDS = {
    _AUTH: (_SESSION,),
    _MESSAGES: (_SESSION,),
    "django.contrib.admindocs.middleware.XViewMiddleware": (_SESSION, _AUTH),
    "django.contrib.auth.middleware.LoginRequiredMiddleware": (_SESSION, _AUTH),
    "django.contrib.auth.middleware.PersistentRemoteUserMiddleware": (_SESSION, _AUTH),
    "django.contrib.auth.middleware.RemoteUserMiddleware": (_SESSION, _AUTH),
}


@dataclass(frozen=True)
class Request:
    """One request of a case.

    :ivar body: of a form, ``None`` for none.
    """

    method: str = "GET"
    path: str = "/apage/"
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    cookies: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    scheme: str = "http"


@dataclass(frozen=True)
class Case:
    """A project's settings, and the requests of one visitor, who keeps cookies.

    :ivar tricks: what each middleware of ours does, by name.
    :ivar listening: whether the project has receivers of its own: ``""``, ``"sync"``, ``"async"``.
    :ivar urlconf: ``"plain"``, ``"prefixed"`` with a language in some paths, or ``"broken"`` with
        handlers for failures that fail.
    """

    middleware: tuple[str, ...] = SEVEN
    settings: dict[str, Any] = field(default_factory=dict)
    tricks: dict[str, str] = field(default_factory=dict)
    requests: tuple[Request, ...] = (Request(),)
    listening: str = ""
    urlconf: str = "plain"


def _completed(names: list[str]) -> tuple[str, ...]:
    """A stack in which each has before it what it needs."""
    stack: list[str] = []
    for name in names:
        for wanted in (*_NEEDS.get(name, ()), name):
            if wanted not in stack:
                stack.append(wanted)
    return tuple(stack)


_ours = st.sampled_from([f"{SITE}.{name}" for name in MIDDLEWARES])
_names = st.one_of(st.sampled_from(BUILT_IN), _ours)
_valid_stacks = st.one_of(
    st.lists(_names, max_size=9, unique=True).map(_completed),
    # The usual stack, with others anywhere in it.
    st.lists(st.tuples(st.integers(0, 9), _names), max_size=4).map(
        lambda more: _completed(_inserted(more))
    ),
)


# Seldom, what needs something is without it.
_stacks = st.integers(0, 15).flatmap(
    lambda n: _valid_stacks if n else st.lists(_names, max_size=4, unique=True).map(tuple)
)


def _inserted(more: list[tuple[int, str]]) -> list[str]:
    stack = list(SEVEN)
    for position, name in more:
        if name not in stack:
            stack.insert(position, name)
    return stack


_BACKENDS = "django.contrib.sessions.backends."
_STORAGE = "django.contrib.messages.storage."
#: Seldom on: most of what would happen does not happen then.
_seldom = st.integers(0, 7).map(lambda n: n == 7)
_settings = st.fixed_dictionaries(
    {
        "SESSION_ENGINE": st.sampled_from(
            [_BACKENDS + name for name in ("db", "cache", "cached_db", "file", "signed_cookies")]
        )
    },
    optional={
        "SESSION_CACHE_ALIAS": st.sampled_from(["default", "files"]),
        "SESSION_SAVE_EVERY_REQUEST": st.booleans(),
        "MESSAGE_STORAGE": st.sampled_from(
            [_STORAGE + name for name in ("fallback.FallbackStorage", "session.SessionStorage",
                                          "cookie.CookieStorage")]
        ),
        "CSRF_USE_SESSIONS": _seldom,
        "CSRF_TRUSTED_ORIGINS": st.just(["https://*.example.org"]),
        "CACHE_MIDDLEWARE_ALIAS": st.sampled_from(["default", "files"]),
        "APPEND_SLASH": st.booleans(),
        "PREPEND_WWW": _seldom,
        "DEBUG": _seldom,
        "DEBUG_PROPAGATE_EXCEPTIONS": _seldom,
        "SITE_ID": st.just(1),
        "USE_I18N": st.booleans(),
        "SECURE_SSL_REDIRECT": _seldom,
        "SECURE_HSTS_SECONDS": st.just(60),
        "DISALLOWED_USER_AGENTS": st.just([__import__("re").compile("robot")]),
        "INTERNAL_IPS": st.just(["127.0.0.1"]),
        "FILE_UPLOAD_MAX_MEMORY_SIZE": st.sampled_from([0, 10]),
        "DATA_UPLOAD_MAX_MEMORY_SIZE": st.sampled_from([2**20, 2**20, 20]),
        "SECURE_CSP": st.just({"default-src": ["'self'"]}),
        "FORCE_SCRIPT_NAME": st.sampled_from([None, "/prefix"]),
    },
)  # fmt: skip

#: A secret as a CSRF cookie holds it.
SECRET = "s" * 32
#: The key of a session that exists.
SESSION_KEY = "k" * 32

_boundary = b"----b"
_upload = (
    b"".join(
        b"--%s\r\nContent-Disposition: form-data; name=%s\r\n\r\n%s\r\n" % (_boundary, name, value)
        for name, value in [
            (b'"csrfmiddlewaretoken"', SECRET.encode()),
            (b'"file"; filename="f.txt"', b"of a file " * 5),
        ]
    )
    + b"--%s--\r\n" % _boundary
)

_FORM = ("content-type", "application/x-www-form-urlencoded")
_bodies = st.sampled_from(
    [
        (None, ()),
        (b"csrfmiddlewaretoken=" + SECRET.encode() + b"&a=1", (_FORM,)),
        (b"csrfmiddlewaretoken=" + b"t" * 32, (_FORM,)),
        (b"csrfmiddlewaretoken=short", (_FORM,)),
        (b"a=1", (_FORM, ("x-csrftoken", SECRET))),
        (b"a=1", (_FORM,)),
        (_upload, (("content-type", f"multipart/form-data; boundary={_boundary.decode()}"),)),
        (b"torn", (("content-type", f"multipart/form-data; boundary={_boundary.decode()}"),)),
        (b'{"a": 1}', (("content-type", "application/json"),)),
    ]
)
_optional_headers = (
    st.sampled_from([("accept-language", v) for v in ("de", "fr;q=0.5, de", "xx", "en-gb", "*")]),
    st.just(("accept-encoding", "gzip, br")),
    st.sampled_from([("if-none-match", '"one"'), ("if-none-match", "*"), ("if-match", '"two"')]),
    st.sampled_from(
        [("if-modified-since", "Wed, 21 Oct 2025 07:28:00 GMT"),
         ("if-unmodified-since", "Wed, 21 Oct 2005 07:28:00 GMT")]
    ),
    st.sampled_from([("origin", v) for v in ("http://testserver", "https://evil.test", "null",
                                             "https://a.example.org")]),
    st.sampled_from([("referer", v) for v in ("https://testserver/", "http://testserver/x",
                                              "https://evil.test/")]),
    st.sampled_from([("user-agent", "robot"), ("user-agent", "browser")]),
    st.just(("authorization", "Basic x")),
    st.sampled_from([("remote-user", "known"), ("remote-user", "unknown")]),
)  # fmt: skip
_hosts = st.sampled_from(["testserver"] * 6 + ["www.testserver", "evil.test"])
_headers = st.tuples(
    _hosts.map(lambda host: ("host", host)),
    *(st.one_of(st.none(), st.none(), header) for header in _optional_headers),
).map(lambda headers: tuple(header for header in headers if header is not None))

_cookies = st.tuples(
    st.sampled_from([None, None, "known", "unknown", "x"]),
    st.sampled_from([None, SECRET, SECRET, "bad!", "short", "t" * 64]),
    st.sampled_from([None, None, None, "fr", "xx"]),
    st.sampled_from([None, None, None, "forged"]),
).map(
    lambda values: tuple(
        (name, value)
        for name, value in zip(
            ("sessionid", "csrftoken", "django_language", "messages"), values, strict=True
        )
        if value is not None
    )
)

_paths = st.sampled_from(
    [
        *("/page/", "/apage/") * 4,
        "/class/", "/aclass/", "/number/1/", "/anumber/2/", "/anumber/13/", "/exempt/", "/open/",
        "/told/", "/fr/told/", "/fr/apage/",
        "/page", "/apage", "/anumber/2", "/told", "/unknown/", "/unknown", "/flat/", "/flat",
        "/old/", "/gone/", "//apage/",
    ]
)  # fmt: skip
_withs = ("cookie", "etag", "modified", "private", "no_store", "public", "max_age", "vary",
          "closer")  # fmt: skip


def _query(do: list[str], end: str, extra: list[str], sync: bool) -> str:
    from urllib.parse import urlencode

    pairs = [("do", name) for name in do] + [("with", name) for name in extra] + [("end", end)]
    return urlencode(pairs + [("sync", "1")] * sync)


_queries = st.builds(
    _query,
    st.lists(st.sampled_from(list(ACTIONS)), max_size=3),
    st.sampled_from(list(ENDINGS)),
    st.lists(st.sampled_from(_withs), max_size=2),
    st.integers(0, 5).map(lambda n: n == 5),
)


def _request(method: str, body: tuple[Any, Any], headers: Any, **more: Any) -> Request:
    content, described = body
    if method in ("GET", "HEAD", "OPTIONS"):
        content, described = None, ()
    return Request(method=method, body=content, headers=(*headers, *described), **more)


_requests = st.builds(
    _request,
    st.sampled_from(["GET", "GET", "GET", "POST", "POST", "HEAD", "PUT", "OPTIONS"]),
    _bodies,
    _headers,
    path=_paths,
    query=_queries,
    cookies=_cookies,
    scheme=st.sampled_from(["http", "http", "http", "https"]),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Cases of all kinds."""
    middleware = draw(_stacks)
    ours = sorted({path.rpartition(".")[2] for path in middleware if path.startswith(SITE)})
    tricks = {
        name: draw(st.one_of(st.just(""), st.sampled_from(TRICKS_OF[MIDDLEWARES[name]])))
        for name in ours
    }
    return Case(
        middleware=middleware,
        settings=draw(_settings),
        tricks=tricks,
        requests=tuple(draw(st.lists(_requests, min_size=1, max_size=3))),
        listening=draw(st.sampled_from(["", "sync", "async"])),
        urlconf=draw(st.sampled_from(["plain", "plain", "prefixed", "prefixed", "broken"])),
    )
