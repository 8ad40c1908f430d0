"""The channel layer that follows ``TWOGATE_REALTIME_URL``: local, or by Redis.

``CHANNEL_LAYERS = {"default": {"BACKEND": "twogate.realtime.ChannelLayer"}}``. Knows Channels and
Django; both layers are imported only when they are chosen.
"""

from __future__ import annotations

from typing import Any

from channels.layers import BaseChannelLayer
from django.conf import settings

from twogate.errors import ConfigError
from twogate.realtime.where import SETTING, public_name, redis_prefix, redis_url

__all__ = ["ChannelLayer"]

#: Options that mean something only to one of them; with the other they are left out, so that the
#: setting alone is enough to change from one to the other.
_LOCAL_ONLY = frozenset({"folder", "max_message_size"})
_REDIS_ONLY = frozenset(
    {"prefix", "symmetric_encryption_keys", "random_prefix_length", "serializer_format"}
)


def ChannelLayer(*, name: str = "", **config: Any) -> BaseChannelLayer:  # noqa: N802
    """The layer that the setting asks for.

    :param name: sets apart layers of one project that should not hear of each other.
    :param config: ``expiry``, ``group_expiry``, ``capacity``, ``channel_capacity``, and the options
        of either layer, see :class:`~twogate.realtime.local.LocalChannelLayer` and channels_redis.
    :raises ConfigError: the setting cannot be used, or a package is missing.
    """
    url = redis_url(getattr(settings, SETTING, None))
    if url is None:
        from twogate.realtime.local import LocalChannelLayer

        return LocalChannelLayer(name=name, **_without(config, _REDIS_ONLY))
    if "hosts" in config:
        raise ConfigError(
            "CHANNEL_LAYERS", config["hosts"], "settings", f"{SETTING} says where Redis is: remove"
            " “hosts”."
        )  # fmt: skip
    try:
        from twogate.realtime.redis_layer import RedisLayer
    except ModuleNotFoundError as error:
        raise ConfigError(
            SETTING,
            public_name(url),
            "settings or environment",
            f"The channel layer needs {error.name}, which is not installed:"
            ' run `pip install "twogate[redis]"`.',
        ) from error
    options = _without(config, _LOCAL_ONLY)
    prefix = redis_prefix(settings.SECRET_KEY) + ":layer:" + (f"{name}:" if name else "")
    options.setdefault("prefix", prefix)
    return RedisLayer(url, **options)


def _without(config: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in names}
