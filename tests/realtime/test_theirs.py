"""What runs channels_redis' tests sees what is wrong; shown on a few tests that need no network."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from tests.realtime.theirs.__main__ import EXCEPTIONS, VERSION, exceptions, main

CORE = """
import async_timeout
import pytest
from asgiref.sync import async_to_sync
from channels_redis.core import ChannelFull, RedisChannelLayer

@pytest.fixture()
async def channel_layer():
    layer = RedisChannelLayer(hosts=["redis://localhost:6379"], capacity=1)
    yield layer
    await layer.flush()

@pytest.mark.asyncio
async def test_full(channel_layer):
    await channel_layer.send("a", {"type": "b"})
    with pytest.raises(ChannelFull):
        await channel_layer.send("a", {"type": "b"})

@pytest.mark.asyncio
@pytest.mark.parametrize("seconds", [0.01, 0.02])
async def test_flushed(channel_layer, seconds):
    with pytest.raises(TimeoutError):
        async with async_timeout.timeout(seconds):
            await channel_layer.receive("a")

def test_sync(channel_layer):
    assert async_to_sync(channel_layer.new_channel)()
"""

PUBSUB = """
import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer
from channels_redis.utils import _close_redis

@pytest.mark.asyncio
async def test_wrong():
    layer = RedisPubSubChannelLayer()
    await layer.send("a", {"type": "b"})
    assert await layer.receive("a") == {"type": "c"}
"""


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The few tests as the cached source package."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    name = f"channels_redis-{VERSION}"
    archive = tmp_path / "cache" / "twogate" / "channels_redis" / f"{name}.tar.gz"
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as tar:
        for file, text in {"test_core": CORE, "test_pubsub": PUBSUB}.items():
            (tmp_path / file).write_text(text)
            tar.add(tmp_path / file, f"{name}/tests/{file}.py")
    return archive


def test_it_tells_what_fails(cached: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(reasons={"test_pubsub::test_other": "not there"}) == 1
    printed = capsys.readouterr().out
    assert "test_pubsub::test_wrong\n" in printed
    assert "{'type': 'c'}" in printed
    assert "does not fail, and must go from exceptions.toml: test_pubsub::test_other" in printed
    assert "{'passed': 4, 'failed': 1}" in printed


@pytest.mark.parametrize("layer", ["local", "redis"])
def test_a_known_exception_is_no_failure(cached: Path, layer: str) -> None:
    assert main(layer, {"test_pubsub::test_wrong": "the letter"}) == 0


def test_it_says_why_it_cannot_run(
    cached: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with tarfile.open(cached, "w:gz"):
        pass
    assert main(reasons={}) == 2
    assert "has no test_core.py, test_pubsub.py" in capsys.readouterr().err
    cached.unlink()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert main(reasons={}) == 2
    assert f"channels_redis {VERSION} cannot be fetched" in capsys.readouterr().err


def test_each_exception_has_its_reason() -> None:
    for file in EXCEPTIONS.values():
        assert all(why.strip() for why in exceptions(file).values())
