"""One setting says where messages go, and what is wrong with it."""

from __future__ import annotations

import pytest

from twogate.errors import ConfigError
from twogate.realtime.where import SETTING, public_name, redis_prefix, redis_url


@pytest.mark.parametrize(
    ("setting", "environ", "url"),
    [
        (None, "", None), ("local", "redis://a", None), (None, "local", None),
        ("redis://a:1/2", "local", "redis://a:1/2"), (None, "rediss://a", "rediss://a"),
        ("valkey://a", "", "redis://a"), ("valkeys://u:p@a?x=1", "", "rediss://u:p@a?x=1"),
        ("unix:///run/redis.sock?db=1", "", "unix:///run/redis.sock?db=1"),
    ],
)  # fmt: skip
def test_known_values(setting: object, environ: str, url: str | None) -> None:
    assert redis_url(setting, {SETTING: environ} if environ else {}) == url


@pytest.mark.parametrize(
    "setting", [5, "http://a", "redis:", "redis:///0", "unix://", "somewhere", b"redis://a"]
)
def test_unknown_values(setting: object) -> None:
    with pytest.raises(ConfigError, match=r'Use "local".*redis://HOST') as error:
        redis_url(setting, {})
    assert error.value.option == SETTING
    assert error.value.source == "settings"


def test_where_it_came_from() -> None:
    with pytest.raises(ConfigError, match="from environment"):
        redis_url(None, {SETTING: "ftp://me:secret@a"})


def test_no_password_is_told() -> None:
    with pytest.raises(ConfigError) as error:
        redis_url("http://me:secret@a/1?password=secret", {})
    assert "secret" not in str(error.value)
    assert public_name("redis://me:secret@a:1/2?password=secret") == "redis://a:1/2"


def test_projects_do_not_meet() -> None:
    assert redis_prefix("one") != redis_prefix("two")
    assert "one" not in redis_prefix("one")
