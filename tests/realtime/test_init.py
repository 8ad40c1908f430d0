"""What the package offers, and what it needs for it only once it is asked for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import twogate.realtime

from .conftest import ROOT

WITHOUT = """
import sys
import twogate.realtime
assert not {{"channels", "django", "msgpack"}} & set(sys.modules)
sys.modules[{missing!r}] = None  # as if it were not installed
try:
    from twogate.realtime import {name}
except ImportError as error:
    print(error)
"""


def without(missing: str, name: str) -> str:
    script = WITHOUT.format(missing=missing, name=name)
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=True,
        capture_output=True,
        text=True,
        timeout=15,
    ).stdout


@pytest.mark.parametrize("name", twogate.realtime.__all__)
def test_every_name_is_there(name: str) -> None:
    assert callable(getattr(twogate.realtime, name))


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"twogate\.realtime.*'shout'"):
        twogate.realtime.__getattr__("shout")


def test_publish_is_that_of_django_s_topics() -> None:
    from twogate.django import topics
    from twogate.realtime import apublish, publish

    assert (publish, apublish) == (topics.publish, topics.apublish)


@pytest.mark.parametrize(
    ("missing", "name", "extra"),
    [
        ("django", "publish", "django"),
        ("django", "apublish", "django"),
        ("channels", "LocalChannelLayer", "realtime"),
        ("msgpack", "LocalChannelLayer", "realtime"),
    ],
)
def test_what_is_missing_is_named_with_the_mend(missing: str, name: str, extra: str) -> None:
    said = without(missing, name)
    assert said.startswith(f"{name} needs {missing}")
    assert f'pip install "twogate[{extra}]"' in said


@pytest.mark.parametrize("name", ["broadcast", "join", "leave"])
def test_the_rest_needs_nothing(name: str) -> None:
    assert without("django", name) == ""
