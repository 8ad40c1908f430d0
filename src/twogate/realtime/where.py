"""Where real-time messages go: the one setting, ``TWOGATE_REALTIME_URL``, and what it may say.

Knows neither Django, whose setting is handed in, nor Redis.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from twogate.errors import ConfigError

__all__ = ["SETTING", "public_name", "redis_prefix", "redis_url"]

SETTING = "TWOGATE_REALTIME_URL"
#: By scheme, how the Redis client spells it.
_SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
    "unix": "unix",
}


def redis_url(setting: object = None, environ: Mapping[str, str] = os.environ) -> str | None:
    """The address of the Redis or Valkey that carries real-time messages.

    :param setting: Django's setting; without one the environment variable counts.
    :return: as the Redis client wants it; ``None`` where messages stay on this machine.
    :raises ConfigError: the value is none of those that are known.
    """
    source = "settings"
    if setting is None:
        setting, source = environ.get(SETTING), "environment"
    if setting is None or setting in ("", "local"):
        return None
    if not isinstance(setting, str):
        raise ConfigError(SETTING, setting, source, f"It is a string. {_KNOWN}")
    parts = urlsplit(setting)
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None:
        raise ConfigError(SETTING, public_name(setting), source, _KNOWN)
    if not (parts.path if scheme == "unix" else parts.netloc):
        raise ConfigError(SETTING, setting, source, f"It names no server. {_KNOWN}")
    return scheme + setting[len(parts.scheme) :]


_KNOWN = (
    'Use "local" for this machine alone, or the URL of a Redis or Valkey:'
    " redis://HOST:PORT/DATABASE, rediss:// (TLS), valkey://, valkeys:// (TLS)"
    " or unix:///PATH/OF/THE/SOCKET."
)


def public_name(url: str) -> str:
    """A URL without what is secret in it: no name, no password, no query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def redis_prefix(secret: str) -> str:
    """What the keys and channels of a project begin with, so that two may share a Redis.

    :param secret: Django's ``SECRET_KEY``, which says "this installation" on every machine.
    """
    return "twogate:" + hashlib.sha256(f"realtime {secret}".encode()).hexdigest()[:12]
