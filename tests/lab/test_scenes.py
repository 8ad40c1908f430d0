"""The small project of the lab: each view through each gateway, by a server that listens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import twogate.lab
from twogate.trace.client import Request, ask, talk
from twogate.trace.driver import Host

SCENES = Path(twogate.lab.__file__).parent / "scenes"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with closing(Host("twogate.django.trace_server", {}, SCENES)) as host:
        yield host


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def served(request: pytest.FixtureRequest, host: Host) -> tuple[str, int]:
    return request.param, host.tell("start", gateway=request.param)["port"]


def get(port: int, path: str) -> tuple[int, str]:
    answer = ask(port, Request("GET", path))
    return answer["response"]["status"], answer["body"].decode()


def test_every_view_answers(served: tuple[str, int]) -> None:
    _, port = served
    assert get(port, "/page/")[0] == 200
    assert "a sync view" in get(port, "/page/")[1]
    assert "an async view" in get(port, "/async-page/")[1]
    pieces = "".join(f"piece {number} of 3\n" for number in (1, 2, 3))
    assert get(port, "/stream/?pieces=3&pause=0") == (200, pieces)


@pytest.mark.parametrize("query", ["slow/?wait=0.05", "async-slow/?wait=0.05",
                                   "compute/?compute=50", "async-compute/?compute=50"])  # fmt: skip
def test_work_takes_as_long_as_it_was_told_to(served: tuple[str, int], query: str) -> None:
    status, body = get(served[1], f"/{query}")
    told: dict[str, Any] = json.loads(body)
    assert status == 200
    assert told["ended"] - told["began"] >= 0.045
    assert told["thread"]
    assert (told["busy"] >= 0.045) == ("compute" in query)


@pytest.mark.parametrize("query", ["slow/?wait=11", "async-slow/?wait=nan", "compute/?compute=-1",
                                   "stream/?pieces=many"])  # fmt: skip
def test_what_is_asked_for_has_limits(served: tuple[str, int], query: str) -> None:
    status, body = get(served[1], f"/{query}")
    assert status == 400
    assert "must be a number from 0 to" in body


def test_the_echo_is_for_asgi(served: tuple[str, int]) -> None:
    gateway, port = served
    told = talk(port, Request("GET", "/ws/echo/", messages=["hello", "again"]))
    if gateway == "asgi":
        assert told["heard"] == ["hello", "again"]
    else:
        assert told["refused"].startswith("501")
