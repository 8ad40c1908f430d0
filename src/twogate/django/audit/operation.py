"""Settings that hurt once others can reach the site. What ``check --deploy`` says of cookies, TLS
and headers is not said again.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from twogate.config import Config
from twogate.django.audit import catalogue
from twogate.django.audit.finding import Finding
from twogate.django.audit.source import Source
from twogate.django.project import is_local

__all__ = ["check_operation"]

_SHORTEST_KEY = 32
#: Host names that only this machine, or a test, answers to.
_LOCAL_HOSTS = frozenset(
    ("localhost", ".localhost", "127.0.0.1", "::1", "[::1]", "testserver", "*")
)


def check_operation(config: Config, source: Source) -> Iterator[Finding]:
    """All of them."""
    if settings.DEBUG:
        yield from _debug(config, source)
    else:
        yield from _hosts(source)
        yield from _key(source)
    yield from _sessions(config, source)
    yield from _runserver(source)


def _debug(config: Config, source: Source) -> Iterator[Finding]:
    elsewhere = [address for address in config.bind if not is_local(address)]
    public = [host for host in settings.ALLOWED_HOSTS if host not in _LOCAL_HOSTS]
    if not elsewhere and not public:
        return
    reached = (
        f"--bind {elsewhere[0]} lets others in" if elsewhere else f"ALLOWED_HOSTS has {public[0]!r}"
    )
    yield catalogue.DEBUG_IS_ON.at(
        source.setting("DEBUG"),
        f"DEBUG is on, and {reached}.",
        "DEBUG = False where others can reach the site.",
    )


def _hosts(source: Source) -> Iterator[Finding]:
    place = source.setting("ALLOWED_HOSTS")
    if not settings.ALLOWED_HOSTS:
        yield catalogue.NO_HOSTS.at(
            place, "ALLOWED_HOSTS is empty.", 'ALLOWED_HOSTS = ["your.host"]'
        )
    elif "*" in settings.ALLOWED_HOSTS:
        yield catalogue.ANY_HOST.at(
            place, "ALLOWED_HOSTS has '*'.", 'ALLOWED_HOSTS = ["your.host"]'
        )


def _key(source: Source) -> Iterator[Finding]:
    try:
        key = str(settings.SECRET_KEY)
    except ImproperlyConfigured:  # it is empty
        key = ""
    reason = ""
    if key.startswith("django-insecure-"):
        reason = "is the one that startproject made, which stands in the code"
    elif len(key) < _SHORTEST_KEY or len(set(key)) < 5:
        reason = (
            "is short enough to be guessed"
            if key
            else "is empty, and Django fails wherever it needs it"
        )
    if reason:
        yield catalogue.SECRET_KEY.at(
            source.setting("SECRET_KEY"),
            f"SECRET_KEY {reason}.",
            "Read it from the environment or a file; django.core.management.utils"
            ".get_random_secret_key() makes one.",
        )


def _sessions(config: Config, source: Source) -> Iterator[Finding]:
    if config.workers < 2 or not apps.is_installed("django.contrib.sessions"):
        return
    cache = settings.CACHES.get(settings.SESSION_CACHE_ALIAS, {})
    if settings.SESSION_ENGINE == "django.contrib.sessions.backends.cache" and str(
        cache.get("BACKEND")
    ).endswith("LocMemCache"):
        yield catalogue.SESSIONS_IN_MEMORY.at(
            source.setting("SESSION_ENGINE"),
            f"Sessions are kept in LocMemCache, which each of {config.workers} workers has to"
            " itself.",
            'SESSION_ENGINE = "django.contrib.sessions.backends.cached_db", or a shared cache.',
        )


def _runserver(source: Source) -> Iterator[Finding]:
    names = [config.name for config in apps.get_app_configs()]
    if "twogate" not in names:
        return
    earlier = names[: names.index("twogate")]
    for other in ("daphne", "django.contrib.staticfiles"):
        if other in earlier:
            yield catalogue.RUNSERVER_TAKEN.at(
                source.setting("INSTALLED_APPS"),
                f"{other!r} stands before 'twogate' in INSTALLED_APPS.",
                "Put 'twogate' first.",
            )
            return
