"""The carrier that a project's settings ask for."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from twogate.protocol.websocket import encode_message
from twogate.realtime import broadcast, topics
from twogate.realtime.carrier import LocalCarrier
from twogate.realtime.folder import RuntimeFolder


def test_processes_of_a_project_meet_where_the_settings_say(urlconf: Callable[..., None]) -> None:
    from django.conf import settings

    from twogate.django.carriers import find

    heard: list[tuple[str, bytes]] = []
    with tempfile.TemporaryDirectory(prefix="tg-") as name:
        urlconf(TWOGATE_TOPICS={"folder": name})
        folder = RuntimeFolder(f"broadcast {settings.SECRET_KEY}", Path(name))
        other = LocalCarrier(folder, lambda *message: heard.append(message))
        other.listen()
        carrier = find()
        assert isinstance(carrier, LocalCarrier)
        topics.carry(carrier)
        try:
            broadcast("room", "hello")
            deadline = time.monotonic() + 15
            while not heard:
                assert time.monotonic() < deadline
                time.sleep(0.005)
        finally:
            topics.carry(None)
            carrier.close()
            other.close()
    assert heard == [("room", encode_message("hello"))]


def test_a_wrong_setting_is_named(urlconf: Callable[..., None]) -> None:
    from twogate.django.carriers import find

    urlconf(TWOGATE_TOPICS=["folder"])
    with pytest.raises(ImproperlyConfigured, match="TWOGATE_TOPICS"):
        find()


def test_redis_where_the_settings_say_so(urlconf: Callable[..., None]) -> None:
    from twogate.django.carriers import find
    from twogate.realtime.redis_carrier import RedisCarrier

    urlconf(TWOGATE_REALTIME_URL="valkey://nobody.invalid:6379/1")
    carrier = find()
    assert isinstance(carrier, RedisCarrier)
    carrier.close()
