"""What is recorded of Django: crossings as an independent count has them, causes, queries, places.

Each test traces a real project, whose processes are its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import django
import pytest
from tests.support.traced import counted, write

from twogate.cli.trace import SERVER
from twogate.trace.client import Request
from twogate.trace.driver import trace

Trace: TypeAlias = Callable[..., dict[str, dict[str, Any]]]

#: Without the lines of the log, which a page that fails writes.
FLAGS = {"access_logfile": "off", "log_level": "critical"}


@pytest.fixture
def traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trace:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)

    def run(path: str, method: str = "GET", **more: Any) -> dict[str, dict[str, Any]]:
        request = {name: more.pop(name) for name in ("headers", "body", "messages") if name in more}
        document = trace(SERVER, FLAGS, Request(method, path, **request), **more)
        return {run["id"]: run for run in document["runs"]}

    return run


def crossings(run: dict[str, Any]) -> list[tuple[str, str]]:
    return [(crossing["cause_kind"], crossing["cause"]) for crossing in run["crossings"]]


def named(run: dict[str, Any], kind: str) -> list[str]:
    return [span["name"] for span in run["spans"] if span["kind"] == kind]


#: Crossings through WSGI, Django's ASGI handler and ours, of a page behind the seven middlewares;
#: the same in Django 5.2 and 6 with asgiref 3.13.
KNOWN = [("/", 0, 16, 1), ("/live/", 1, 15, 0), ("/class/", 1, 15, 0), ("/ausers/", 2, 16, 1)]


@pytest.mark.parametrize(("path", "wsgi", "stock", "ours"), KNOWN)
def test_crossings_agree_with_an_independent_count(
    traced: Trace, tmp_path: Path, path: str, wsgi: int, stock: int, ours: int
) -> None:
    runs = traced(path)
    counts = [runs[name]["counts"]["crossings"] for name in ("wsgi", "asgi-stock", "asgi")]
    assert counts == [wsgi, stock, ours], django.VERSION
    assert [len(run["crossings"]) for run in runs.values()] == counts
    # The project's own count: of the request to warm up, and of the one that is shown.
    there = counted(tmp_path)
    assert [count for gateway, count in there if gateway == "wsgi"] == [wsgi, wsgi]
    assert sorted(count for gateway, count in there if gateway == "asgi") == sorted(
        [stock, stock, ours, ours]
    )


def test_causes_of_the_stock_handler(traced: Trace) -> None:
    found = crossings(traced("/")["asgi-stock"])
    assert found[0] == ("receiver", "signal request_started")
    assert found[-1] == ("response", "response.close(), which sends request_finished")
    assert ("view", "site1.views.page") in found
    hooks = [cause for kind, cause in found if kind == "middleware"]
    assert len(hooks) == 13
    assert hooks[0] == "SecurityMiddleware.process_request"
    assert "CsrfViewMiddleware.process_view" in hooks


def test_causes_of_our_handlers(traced: Trace) -> None:
    runs = traced("/users/", user="anna")
    assert crossings(runs["wsgi"]) == []
    assert crossings(runs["asgi"]) == [("view", "site1.views.users")]
    crossing = runs["asgi"]["crossings"][0]
    assert crossing["from_thread"] != crossing["to_thread"]
    assert 0 < crossing["cost_us"] < crossing["end_us"] - crossing["at_us"]
    assert crossings(traced("/live/")["wsgi"]) == [("view", "site1.views.live")]
    assert crossings(traced("/ausers/")["asgi"])[0] == ("orm", "QuerySet.count")


def test_queries_templates_and_connections(traced: Trace) -> None:
    for run in traced("/users/").values():
        queries = [span for span in run["spans"] if span["kind"] == "query"]
        assert run["counts"]["queries"] == len(queries) == 6
        assert queries[0]["detail"]["sql"].startswith('SELECT "auth_user"')
        assert queries[0]["detail"]["alias"] == "default"
        assert named(run, "template") == ["page.html"]
        assert run["counts"]["templates"] == 1
        # Connections are Django's to close after each request, as CONN_MAX_AGE says.
        opened, reused = (run["counts"][f"connections_{what}"] for what in ("opened", "reused"))
        assert (opened, reused) == (1, 0)
        assert named(run, "connect") == ["connect to default (sqlite)"]


def test_each_step_is_there_with_its_place(traced: Trace) -> None:
    for name, run in traced("/").items():
        kinds = [span["kind"] for span in run["spans"]]
        assert {"request", "protocol", "dispatch", "gateway", "handler", "middleware", "view",
                "response"} <= set(kinds), name  # fmt: skip
        view = next(span for span in run["spans"] if span["kind"] == "view")
        assert view["file"].endswith("site1/views.py")
        assert view["line"] == 8
        assert view["sync"]
        begin, end = run["spans"][0]["start_us"], run["spans"][0]["end_us"]
        assert (begin, end) == (0, run["duration_us"])
        assert all(span["start_us"] <= span["end_us"] for span in run["spans"])
    assert run["response"]["status"] == 200


def test_a_user_is_logged_in_and_out_again(traced: Trace, tmp_path: Path) -> None:
    runs = traced("/users/", user="anna")
    assert all("<p>anna</p>" in run["response"]["body_preview"] for run in runs.values())
    with sqlite3.connect(tmp_path / "db.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM django_session").fetchone() == (0,)
    database.close()


def test_a_view_that_raises_is_shown_with_its_error(traced: Trace) -> None:
    for run in traced("/wrong/").values():
        assert run["response"]["status"] == 500
        view = next(span for span in run["spans"] if span["kind"] == "view")
        assert view["detail"]["error"] == "LookupError: not here"


def test_a_form_is_sent_past_the_protection_against_forgery(traced: Trace, tmp_path: Path) -> None:
    headers = [("Content-Type", "application/x-www-form-urlencoded")]
    runs = traced("/save/", "POST", body=b"name=%s", headers=headers)
    statuses = [run["response"]["status"] for run in runs.values()]
    assert statuses.count(201) == 1  # the name is unique: the others fail, as they would
    with sqlite3.connect(tmp_path / "db.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM auth_user").fetchone() == (2,)
    database.close()


def test_a_websocket_and_its_refusal(traced: Trace) -> None:
    runs = traced("/ws/", messages=["one", "two"])
    assert runs["ws-asgi"]["heard"] == ["you said one", "you said two"]
    views = named(runs["ws-asgi"], "view")
    assert [name.rpartition(".")[2] for name in views] == [
        "websocket_connect", "websocket_receive", "websocket_receive", "websocket_disconnect",
    ]  # fmt: skip
    assert not any(span["detail"].get("error") for span in runs["ws-asgi"]["spans"])
    refused = runs["ws-wsgi"]
    assert refused["response"]["status"] == 501
    assert "A WebSocket needs the ASGI gateway" in refused["refused"]
    assert {row["request_type"] for row in refused["table"]} == {"WebSocket"}
