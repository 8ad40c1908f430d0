"""What the lab records of itself: its rooms, and nothing else."""

from __future__ import annotations

from tests.lab.web.conftest import Lab
from tests.lab.web.rooms import Room
from tests.lab.web.test_windows import ADA


def test_a_room_is_recorded_and_its_traces_are_shown(lab: Lab) -> None:
    room = Room(lab)  # which has loaded the page, outside of the room
    assert room.rows() == []
    room.get("?who=ada&name=<b>")
    room.post("say/", **ADA)
    room.get("stream/")
    rows = {row["path"]: row for row in room.rows()}
    assert len(rows) == 3
    assert (rows["/say/"]["gateway"], rows["/stream/"]["gateway"]) == ("wsgi", "asgi")
    assert rows["/say/"]["reason"] == "sync view twogate.lab.web.pages.live.say"
    # Nothing of ours makes an async view leave the loop.
    assert rows["/stream/"]["crossings"] == rows["/say/"]["crossings"] == 0
    page = room.trace(rows["/say/"]["id"])
    assert page.status == 200 and "/say/" in page.text
    assert "twogate_lab_csrf=" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert room.trace(10**9).status == 404
