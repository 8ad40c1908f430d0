"""Clients that go away: their view is told, and all that was theirs is cleaned up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.http import eventually, get, post

from .visits import Visits, visiting

SERVERS = ["twogate", "uvicorn"]


@pytest.fixture(scope="module", params=SERVERS)
def visits(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Visits]:
    """One server for all tests, which has answered before."""
    folder: Path = tmp_path_factory.mktemp("visits")
    with visiting(request.param, folder, VISITS_LISTEN="1") as served:
        served.noted("finished")
        yield served


def multipart(size: int) -> tuple[bytes, str]:
    """A form with one file of so many bytes, and its Content-Type field."""
    head = (
        b'--limit\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head + bytes(size) + b"\r\n--limit--\r\n"
    return body, "Content-Type: multipart/form-data; boundary=limit"


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("view", ["waits", "stubborn", "streams", "upload_and_wait"])
def test_a_view_is_cancelled_and_cleaned_up_after(visits: Visits, view: str, how: str) -> None:
    before = visits.state()
    client = visits.connect()
    if view == "upload_and_wait":
        body, content_type = multipart(4_000_000)
        client.send(post(f"/{view}/", body, content_type))
    else:
        client.send(get(f"/{view}/"))
    notes = visits.noted("begun")
    if view == "upload_and_wait":
        assert visits.state()["open"] == ["uploaded"]
    if view == "streams":
        assert client.line().startswith(b"HTTP/1.1 200")
    getattr(client, how)()
    notes += visits.noted("cancelled", *(["closed"] if view == "streams" else []))
    visits.settles(before)
    assert notes.count("cancelled") == 1


def test_request_finished_is_sent_for_a_request_that_was_cancelled(visits: Visits) -> None:
    with visits.connect() as asking, visits.connect() as client:
        # On one connection a question is answered when the one before it has finished.
        asking.ask(get("/state/"))
        client.send(get("/waits/"))
        notes: list[str] = []
        questions = 0

        def noted(what: str) -> bool:
            nonlocal questions
            questions += 1
            notes.extend(json.loads(asking.ask(get("/state/")).body)["notes"])
            return what in notes

        eventually(lambda: noted("begun"))
        client.close()
        eventually(lambda: noted("cancelled"))
        eventually(lambda: noted("finished") and notes.count("finished") == questions + 1)


def test_a_body_that_is_cut_off_reaches_no_view(visits: Visits) -> None:
    before = visits.state()
    body, content_type = multipart(8_000_000)
    with visits.connect() as client:
        client.send(post("/upload_and_wait/", body, content_type)[: len(body) // 2])
        # As long as it comes, it is a file.
        eventually(lambda: visits.state()["descriptors"] > before["descriptors"] + 1)
    visits.settles(before)
    assert "begun" not in visits.state()["notes"]


def test_a_body_that_is_cut_off_in_memory(visits: Visits) -> None:
    before = visits.state()
    for _ in range(20):
        with visits.connect() as client:
            client.send(post("/upload_and_wait/", bytes(1000))[:-500])
    visits.settles(before)
