"""What a pytest process needs in order to run channels_redis' tests on a layer of ours.

Puts it where theirs would be, and runs coroutines: the few features of
pytest-asyncio and async_timeout that they use. Loaded before their tests are imported.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from functools import wraps
from types import ModuleType
from typing import Any

import pytest
from channels.exceptions import ChannelFull
from django.conf import settings

from twogate.realtime import LocalChannelLayer

#: The layers of the test that runs. Each is closed after it, for what it then has to say in the log
#: would be another test's.
made: list[Any] = []


class AsRedisLayer(LocalChannelLayer):
    """The local layer with those arguments and attributes of theirs that have a counterpart."""

    def __init__(self, hosts: object = None, **options: Any) -> None:
        super().__init__(folder=os.environ["THEIRS_FOLDER"], **options)
        made.append(self)

    @property
    def client_prefix(self) -> str:
        return self.bus.node.name

    async def close_pools(self) -> None:
        """There are no connections that only one loop can use."""


def over_redis() -> None:
    """Put the layer over Redis where theirs is."""
    import channels_redis.core
    import channels_redis.pubsub

    from twogate.realtime.redis_layer import RedisLayer

    class InTheirPlace(RedisLayer):
        """With the one Redis of the run, whatever hosts they name."""

        def __init__(self, hosts: object = None, prefix: str = "asgi", **options: Any) -> None:
            super().__init__(os.environ["THEIRS_REDIS"], prefix=prefix, **options)
            made.append(self)

    channels_redis.core.RedisChannelLayer = InTheirPlace
    channels_redis.pubsub.RedisPubSubChannelLayer = InTheirPlace


def module(name: str, **content: object) -> None:
    sys.modules[name] = ModuleType(name)
    sys.modules[name].__dict__.update(content)


def pytest_configure(config: pytest.Config) -> None:
    settings.configure(SECRET_KEY="theirs")
    config.addinivalue_line("markers", "asyncio: a coroutine")
    if "async_timeout" not in sys.modules:
        module("async_timeout", timeout=asyncio.timeout)
    if os.environ["THEIRS_REDIS"]:
        over_redis()
        return
    module("channels_redis")
    module("channels_redis.core", RedisChannelLayer=AsRedisLayer, ChannelFull=ChannelFull)
    module("channels_redis.pubsub", RedisPubSubChannelLayer=AsRedisLayer)
    module("channels_redis.utils", _close_redis=None)


#: The loop of the test that runs.
runners: list[asyncio.Runner] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    with asyncio.Runner() as runner:
        runners.append(runner)
        try:
            return (yield)
        finally:
            while made:
                runner.run(made.pop().close())
            runners.pop()


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: Any) -> None:
    if inspect.isasyncgenfunction(fixturedef.func):
        fixturedef.func = in_loop(fixturedef.func)


def in_loop(function: Callable[..., AsyncIterator[Any]]) -> Callable[..., Iterator[Any]]:
    """An async generator fixture as a plain one."""

    @wraps(function)
    def fixture(*args: Any, **kwargs: Any) -> Iterator[Any]:
        steps = function(*args, **kwargs)
        yield runners[-1].run(step(steps))
        runners[-1].run(step(steps))

    return fixture


async def step(steps: AsyncIterator[Any]) -> Any:
    return await anext(steps, None)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: Any) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    runners[-1].run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
