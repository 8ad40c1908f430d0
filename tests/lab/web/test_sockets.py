"""The WebSockets of a room: who may open them, what they hear, and what they are told."""

from __future__ import annotations

import json

import pytest
from tests.lab.web.conftest import Lab
from tests.lab.web.rooms import Room
from tests.lab.web.test_windows import ADA
from websockets.exceptions import ConnectionClosed, InvalidStatus


@pytest.fixture(scope="module")
def room(lab: Lab) -> Room:
    return Room(lab)


def test_what_is_said_in_either_way_is_heard(room: Room) -> None:
    with room.socket("hear/?who=ada&name=Ada") as hears, room.socket("talk/") as talks:
        wanted = {"type": "subscribe", "topics": [f"live.{room.name}"], "presence": True}
        hears.send(json.dumps(wanted))
        assert json.loads(hears.recv(15))["type"] == "subscribed"
        assert json.loads(hears.recv(15))["here"] == [{"id": "ada", "name": "Ada"}]
        talks.send(json.dumps(ADA))
        key = json.loads(talks.recv(15))["published"]
        heard = json.loads(hears.recv(15))["data"]
        assert heard == {**ADA, "kind": "say", "key": key, "way": "a consumer"}
        key = room.post("ring/", **ADA).data["published"]
        heard = json.loads(hears.recv(15))["data"]
        assert (heard["kind"], heard["key"], heard["way"]) == ("ring", key, "a sync view")
        rows = {row["path"]: row for row in room.rows()}
    assert rows["/talk/"]["gateway"] == rows["/hear/?who=ada&name=Ada"]["gateway"] == "asgi"
    for path in ("/talk/", "/ring/"):
        assert "left through 1 WebSocket of the ASGI gateway" in rows[path]["tell"][-1]


def test_one_room_does_not_hear_another(lab: Lab, room: Room) -> None:
    with room.socket("hear/") as hears:
        hears.send(json.dumps({"type": "subscribe", "topics": [f"live.{Room(lab).name}"]}))
        assert json.loads(hears.recv(15))["type"] == "denied"


@pytest.mark.parametrize(
    "said", ["no JSON", "[]", b"{}", json.dumps({**ADA, "text": ""}), "[" * 9999]
)
def test_what_makes_no_message_ends_the_consumer(room: Room, said: str | bytes) -> None:
    with room.socket("talk/") as talks:
        talks.send(said)
        with pytest.raises(ConnectionClosed) as closed:
            talks.recv(15)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4400
    assert closed.value.rcvd.reason


def test_nobody_enters_a_room_that_we_did_not_name(lab: Lab) -> None:
    for path in ("hear/", "talk/", "elsewhere/"):
        with pytest.raises(InvalidStatus) as refused:
            with Room(lab, "1-00000000000000000000").socket(path):
                pass
        assert refused.value.response.status_code == 403


def test_pages_of_other_sites_open_none(room: Room) -> None:
    with pytest.raises(InvalidStatus) as refused:
        with room.socket("hear/", origin="http://evil.example"):
            pass
    assert refused.value.response.status_code == 403
