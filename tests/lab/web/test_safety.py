"""Who is let in, and what pages may do."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from tests.lab.web.conftest import Lab, Visitor, start_lab, stop_lab
from tests.lab.web.rooms import Room

TOKEN = "a-token-for-a-test"


def test_other_names_lead_nowhere(visitor: Visitor) -> None:
    answer = visitor.get("/", Host="evil.example")
    assert (answer.status, answer.headers["Content-Type"]) == (400, "text/plain")
    assert "has another name" in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"X-CSRFToken": "x" * 32},
        {"X-CSRFToken": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_orders_come_from_pages_of_the_lab_alone(visitor: Visitor, headers: dict[str, str]) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = visitor.post("/learner/become/", b"name=Mallory", **form, **headers)
    assert answer.status == 403
    assert "That did not come from this page" in answer.text
    assert "Mallory" not in visitor.get("/learner/").text


def test_pages_load_nothing_from_elsewhere(visitor: Visitor) -> None:
    headers = visitor.get("/").headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_what_is_not_there_is_said_plainly(visitor: Visitor) -> None:
    for path in ("/nowhere/", "/static/lab/../settings.py", "/static/%2e%2e/settings.py"):
        answer = visitor.get(path)
        assert answer.status in (400, 404)
        assert "Traceback" not in answer.text and "SECRET" not in answer.text


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab that other machines could reach."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = tmp_path_factory.mktemp("guarded")
    lab = start_lab(data, "--bind", f"0.0.0.0:{port}", "--allow-others", "--token", TOKEN)
    yield lab
    assert stop_lab(lab.process) == 0


def test_others_need_the_token(guarded: Lab) -> None:
    stranger, friend = Visitor(guarded), Visitor(guarded)
    assert stranger.get("/").status == 403
    assert stranger.get("/?token=wrong").status == 403
    assert stranger.get("/static/lab/base.js").status == 403
    answer = friend.get(f"/learner/?token={TOKEN}&x=1")
    assert answer.status == 200
    assert friend.get("/").status == 200
    cookie = next(c for c in friend.cookies if c.name == "twogate_lab_token")
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert friend.submit("/learner/become/", name="Friend").status == 200


def test_who_has_shown_the_token_has_a_room_with_websockets(guarded: Lab) -> None:
    stranger, friend = Visitor(guarded), Visitor(guarded)
    friend.get(f"/?token={TOKEN}")
    room = Room(guarded, visitor=friend)
    with room.socket("hear/"):
        pass
    assert room.get("stream/").status == 200
    assert stranger.get(f"/live/room/{room.name}/stream/").status == 403
