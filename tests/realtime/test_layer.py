"""The one name for CHANNEL_LAYERS, and the setting that it follows."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from channels.layers import ChannelLayerManager
from django.test import override_settings
from tests.support.redis import RedisServer
from tests.support.settings import configure

from twogate.errors import ConfigError
from twogate.realtime import ChannelLayer, LocalChannelLayer

configure()


def made(**config: Any) -> Any:
    """As Channels makes it."""
    backend = {"BACKEND": "twogate.realtime.ChannelLayer", "CONFIG": config}
    with override_settings(CHANNEL_LAYERS={"default": backend}):
        return ChannelLayerManager()["default"]


def test_this_machine_where_nothing_is_said(folder: Path) -> None:
    layer = made(folder=str(folder), capacity=7, prefix="only Redis knows it")
    assert isinstance(layer, LocalChannelLayer)
    assert layer.capacity == 7


def test_redis_where_the_setting_says_so(redis: RedisServer, folder: Path) -> None:
    from twogate.realtime.redis_layer import RedisLayer

    with override_settings(TWOGATE_REALTIME_URL=redis.url):
        layer = made(folder=str(folder), capacity=7, group_expiry=60, channel_capacity={"x": 1})
        other, named = made(), made(name="other")
    assert isinstance(layer, RedisLayer)
    assert (layer.capacity, layer.group_expiry, layer.get_capacity("x")) == (7, 60, 1)
    assert layer.prefix == other.prefix != named.prefix

    async def main() -> None:
        await other.send("a", {"type": "t"})
        assert await layer.receive("a") == {"type": "t"}
        for each in (layer, other):
            await each.close()

    asyncio.run(main())


def test_the_environment_will_do(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOGATE_REALTIME_URL", redis.url)
    assert type(made()).__name__ == "RedisLayer"


def test_options_that_nobody_knows_are_errors(redis: RedisServer, folder: Path) -> None:
    with pytest.raises(TypeError, match="nonsense"):
        made(nonsense=1)
    with override_settings(TWOGATE_REALTIME_URL=redis.url):
        with pytest.raises(TypeError, match="nonsense"):
            made(nonsense=1)
        with pytest.raises(ConfigError, match="remove “hosts”"):
            made(hosts=["redis://a"])


def test_a_scheme_that_nobody_knows() -> None:
    with override_settings(TWOGATE_REALTIME_URL="amqp://a"):
        with pytest.raises(ConfigError, match="TWOGATE_REALTIME_URL = 'amqp://a'"):
            ChannelLayer()


@pytest.mark.parametrize("missing", ["channels_redis.core", "redis"])
def test_a_missing_package_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "twogate.realtime.redis_layer", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with override_settings(TWOGATE_REALTIME_URL="valkey://missing.invalid"):
        with pytest.raises(ConfigError, match=r'pip install "twogate\[redis\]"'):
            ChannelLayer()
