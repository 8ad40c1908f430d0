"""A room is one learner's, and takes messages that make sense."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.lab.web.conftest import Lab
from tests.lab.web.rooms import Room

ADA = {"who": "ada", "name": "Ada", "text": "hello"}


def test_each_learner_has_a_room(lab: Lab) -> None:
    one, other = Room(lab), Room(lab)
    assert one.name != other.name
    assert one.post("say/", **ADA).status == 200
    assert other.rows() == []


def test_twenty_learners_at_once_hear_their_own_room(lab: Lab) -> None:
    def talk(number: int) -> list[str]:
        room = Room(lab)
        with room.socket("hear/") as hears:
            hears.send(json.dumps({"type": "subscribe", "topics": [f"live.{room.name}"]}))
            hears.recv(15)
            for text in range(5):
                room.post("say/", **{**ADA, "text": f"{number} {text}"})
            heard = [json.loads(hears.recv(15))["data"]["text"] for _ in range(5)]
            said = [row for row in room.rows() if row["path"] == "/say/"]
        assert all("left through 1 WebSocket" in row["tell"][-1] for row in said)
        return [*heard, str(len(said))]

    with ThreadPoolExecutor(20) as pool:
        for number, heard in enumerate(pool.map(talk, range(20))):
            assert heard == [*(f"{number} {text}" for text in range(5)), "5"]


@pytest.mark.parametrize("name", ["1-00000000000000000000", "1-", "x", "1"])
def test_nobody_enters_a_room_that_we_did_not_name(lab: Lab, name: str) -> None:
    room = Room(lab, name)
    for answer in (room.get(""), room.get("stream/"), room.post("say/", **ADA), room.trace(1)):
        assert answer.status == 404


@pytest.mark.parametrize(
    "wrong", [{"text": ""}, {"text": 5}, {"name": " "}, {"who": "x" * 41}, {"text": "x" * 501}]
)
def test_what_makes_no_message(lab: Lab, wrong: dict[str, Any]) -> None:
    answer = Room(lab).post("say/", **{**ADA, **wrong})
    assert answer.status == 400
    (name,) = wrong
    assert answer.data["error"].startswith(f"“{name}” should be a text of 1 to ")
