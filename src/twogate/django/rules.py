"""When a hook of a middleware, or a receiver of a signal, may run on the event loop.

One rule for each hook of each middleware that Django ships: it is asked before the hook is called,
with the hook's own arguments, and answers whether this very call can block. What reads or writes
the database, a cache outside the process or the file system, renders a template, sends mail or
computes for long must have a thread. A rule may answer no where yes would have been right, never
the other way round. ``docs/design/0009-django-handlers.md`` says why for each.

Rules hold for Django's own classes and not for classes derived from them, whose methods nobody here
has read. :func:`~twogate.django.nonblocking` and the setting ``TWOGATE_NONBLOCKING`` speak for
others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import django
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.http import HttpRequest

from twogate.django.late import has_untouched_messages
from twogate.django.views import declares_nonblocking

__all__ = [
    "NEVER",
    "STOCK_IS_AS_GOOD_FROM",
    "Rule",
    "is_declared_nonblocking",
    "rule_of",
    "steps_aside",
]

#: Says whether a hook may run on the loop; ``None`` in its place means always.
Rule: TypeAlias = Callable[..., bool]

#: The first Django whose own handler crosses to a thread as seldom as ours (ticket 37177), or
#: ``None`` while there is none: from then on ours steps aside.
STOCK_IS_AS_GOOD_FROM: tuple[int, int] | None = None

#: Sizes in bytes up to which compressing or hashing a page holds the loop up for less than handing
#: it to a thread would: about 0.1 ms.
_COMPRESSED_AT_ONCE = 4096
_HASHED_AT_ONCE = 65536


def NEVER(*_: Any) -> bool:  # noqa: N802 - a constant that happens to be called
    """The rule of what nobody knows: it must have a thread."""
    return False


def steps_aside() -> bool:
    """Whether this Django's own handler is as good."""
    return STOCK_IS_AS_GOOD_FROM is not None and django.VERSION[:2] >= STOCK_IS_AS_GOOD_FROM


def is_declared_nonblocking(thing: Any) -> bool:
    """Whether :func:`~twogate.django.nonblocking` or the setting ``TWOGATE_NONBLOCKING`` names a
    class or function (a class does not inherit it)."""
    return declares_nonblocking(thing) or _path_of(thing) in getattr(
        settings, "TWOGATE_NONBLOCKING", ()
    )


def _path_of(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def rule_of(middleware: Any, hook: str) -> Rule | None:
    """The rule of a middleware's hook: ``None`` when it may always run on the loop.

    :param middleware: an instance.
    :param hook: ``"process_request"``, ``"process_view"`` or ``"process_response"``.
    """
    kind = type(middleware)
    function = getattr(kind, hook, None)
    if is_declared_nonblocking(kind) or (
        function is not None and is_declared_nonblocking(function)
    ):
        return None
    if hook in vars(middleware):  # replaced on the instance
        return NEVER
    return _RULES.get(f"{_path_of(kind)}.{hook}", NEVER)


# What the rules ask.


def _is_in_process(alias: str) -> bool:
    """Whether a cache lives in this process's memory."""
    return type(caches[alias]) in (LocMemCache, DummyCache)


def _session_is_loaded(request: HttpRequest) -> bool:
    """Whether the session's data are at hand, so that nothing has to be read."""
    session = getattr(request, "session", None)
    if session is None or "_session_cache" in vars(session):
        return True
    module = type(session).__module__
    return module == "django.contrib.sessions.backends.signed_cookies" or (
        module in _DJANGOS_SESSIONS and session.session_key is None
    )


_DJANGOS_SESSIONS = frozenset(
    f"django.contrib.sessions.backends.{name}"
    for name in ("cache", "cached_db", "db", "file", "signed_cookies")
)


def _user_is_known(request: HttpRequest) -> bool:
    """Whether nobody has to be looked up: who it is was asked before, or the session is new and
    names nobody."""
    if hasattr(request, "_cached_user"):
        return True
    session = getattr(request, "session", None)
    return (
        session is not None
        and session.session_key is None
        and _session_is_loaded(request)
        and SESSION_KEY not in vars(session).get("_session_cache", ())
    )


# The rules, by middleware.


def _session_request(request: HttpRequest) -> bool:
    # A store of Django's looks at nothing before it is asked for a value.
    return settings.SESSION_ENGINE in _DJANGOS_SESSIONS


def _session_response(request: HttpRequest, response: Any) -> bool:
    session = getattr(request, "session", None)
    if session is None:
        return True
    module = type(session).__module__
    if module not in _DJANGOS_SESSIONS:
        return False
    if not (session.modified or settings.SESSION_SAVE_EVERY_REQUEST):
        return True
    if module.endswith(".signed_cookies") or session.is_empty():
        return True
    return module.endswith(".cache") and _is_in_process(settings.SESSION_CACHE_ALIAS)


def _common_request(request: HttpRequest) -> bool:
    # Else the path is resolved, and a converter may well query the database.
    return not settings.PREPEND_WWW or request.get_host().startswith("www.")


def _csrf_request(request: HttpRequest) -> bool:
    return not settings.CSRF_USE_SESSIONS or _session_is_loaded(request)


def _csrf_view(request: HttpRequest, view: Any, arguments: Any, keywords: Any) -> bool:
    # Else the form is read, perhaps from a file, and a refusal is logged and rendered.
    return (
        request.method in ("GET", "HEAD", "OPTIONS", "TRACE")
        or getattr(view, "csrf_exempt", False)
        or getattr(request, "_dont_enforce_csrf_checks", False)
        or getattr(request, "csrf_processing_done", False)
    )


def _csrf_response(request: HttpRequest, response: Any) -> bool:
    return (
        not settings.CSRF_USE_SESSIONS
        or not request.META.get("CSRF_COOKIE_NEEDS_UPDATE")
        or _session_is_loaded(request)
    )


def _login_required_view(request: HttpRequest, view: Any, arguments: Any, keywords: Any) -> bool:
    return _user_is_known(request)


def _message_request(request: HttpRequest) -> bool:
    return str(settings.MESSAGE_STORAGE).startswith("django.contrib.messages.storage.")


def _message_response(request: HttpRequest, response: Any) -> bool:
    if has_untouched_messages(request):
        return True
    storage = getattr(request, "_messages", None)
    if storage is None:
        return True
    if not type(storage).__module__.startswith("django.contrib.messages.storage."):
        return False
    return not (storage.used or storage.added_new) or _session_is_loaded(request)


def _locale_request(request: HttpRequest) -> bool:
    """A language's catalogue is read from its files when it is first activated.

    Whether it has any is looked up once per language and process, here if nowhere else.
    """
    from django.conf.urls.i18n import is_language_prefix_patterns_used
    from django.utils.translation import (
        get_language_from_path,
        get_language_from_request,
        trans_real,
    )

    if not settings.USE_I18N:
        return True
    urlconf = getattr(request, "urlconf", settings.ROOT_URLCONF)
    prefixed, default_too = is_language_prefix_patterns_used(urlconf)
    if prefixed and not default_too and not get_language_from_path(request.path_info):
        language = settings.LANGUAGE_CODE
    else:
        language = get_language_from_request(request, check_path=prefixed)
    return language in trans_real._translations


def _gzip_response(request: HttpRequest, response: Any) -> bool:
    return (
        response.streaming
        or len(response.content) <= _COMPRESSED_AT_ONCE
        or response.has_header("Content-Encoding")
        or "gzip" not in request.META.get("HTTP_ACCEPT_ENCODING", "")
    )


def _conditional_response(request: HttpRequest, response: Any) -> bool:
    if request.method != "GET":
        return True
    if "HTTP_IF_MATCH" in request.META or "HTTP_IF_UNMODIFIED_SINCE" in request.META:
        return False  # a failed precondition is logged
    return (
        response.streaming
        or response.has_header("ETag")
        or len(response.content) <= _HASHED_AT_ONCE
    )


def _unless_not_found(request: HttpRequest, response: Any) -> bool:
    return bool(response.status_code != 404)


def _broken_link_response(request: HttpRequest, response: Any) -> bool:
    return bool(settings.DEBUG or response.status_code != 404)


def _site_request(request: HttpRequest) -> bool:
    from django.apps import apps

    if not apps.is_installed("django.contrib.sites"):
        return True
    from django.contrib.sites.models import SITE_CACHE

    site = getattr(settings, "SITE_ID", "")
    return (site or request.get_host()) in SITE_CACHE


def _fetch_from_cache_request(request: HttpRequest) -> bool:
    return request.method not in ("GET", "HEAD") or _is_in_process(settings.CACHE_MIDDLEWARE_ALIAS)


def _update_cache_response(request: HttpRequest, response: Any) -> bool:
    return (
        not getattr(request, "_cache_update_cache", False)
        or response.streaming
        or response.status_code not in (200, 304)
        or _is_in_process(settings.CACHE_MIDDLEWARE_ALIAS)
    )


def _x_view(request: HttpRequest, view: Any, arguments: Any, keywords: Any) -> bool:
    return request.method != "HEAD" or _user_is_known(request)


_RULES: dict[str, Rule | None] = {
    "django.contrib.admindocs.middleware.XViewMiddleware.process_view": _x_view,
    "django.contrib.auth.middleware.AuthenticationMiddleware.process_request": None,
    "django.contrib.auth.middleware.LoginRequiredMiddleware.process_view": _login_required_view,
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware.process_response": (
        _unless_not_found
    ),
    "django.contrib.messages.middleware.MessageMiddleware.process_request": _message_request,
    "django.contrib.messages.middleware.MessageMiddleware.process_response": _message_response,
    "django.contrib.redirects.middleware.RedirectFallbackMiddleware.process_response": (
        _unless_not_found
    ),
    "django.contrib.sessions.middleware.SessionMiddleware.process_request": _session_request,
    "django.contrib.sessions.middleware.SessionMiddleware.process_response": _session_response,
    "django.contrib.sites.middleware.CurrentSiteMiddleware.process_request": _site_request,
    "django.middleware.cache.CacheMiddleware.process_request": _fetch_from_cache_request,
    "django.middleware.cache.CacheMiddleware.process_response": _update_cache_response,
    "django.middleware.cache.FetchFromCacheMiddleware.process_request": _fetch_from_cache_request,
    "django.middleware.cache.UpdateCacheMiddleware.process_response": _update_cache_response,
    "django.middleware.clickjacking.XFrameOptionsMiddleware.process_response": None,
    "django.middleware.common.BrokenLinkEmailsMiddleware.process_response": _broken_link_response,
    "django.middleware.common.CommonMiddleware.process_request": _common_request,
    "django.middleware.common.CommonMiddleware.process_response": None,
    "django.middleware.csp.ContentSecurityPolicyMiddleware.process_request": None,
    "django.middleware.csp.ContentSecurityPolicyMiddleware.process_response": None,
    "django.middleware.csrf.CsrfViewMiddleware.process_request": _csrf_request,
    "django.middleware.csrf.CsrfViewMiddleware.process_response": _csrf_response,
    "django.middleware.csrf.CsrfViewMiddleware.process_view": _csrf_view,
    "django.middleware.gzip.GZipMiddleware.process_response": _gzip_response,
    "django.middleware.http.ConditionalGetMiddleware.process_response": _conditional_response,
    "django.middleware.locale.LocaleMiddleware.process_request": _locale_request,
    "django.middleware.locale.LocaleMiddleware.process_response": None,
    "django.middleware.security.SecurityMiddleware.process_request": None,
    "django.middleware.security.SecurityMiddleware.process_response": None,
}
