"""How often a request crosses from the loop to a thread, and how many threads it starts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import SyncToAsync
from django.core.handlers.asgi import ASGIHandler
from tests.support.twins.cases import SEVEN, SITE, Case, Request
from tests.support.twins.drive import Project

from twogate.django.handler import AsgiHandler

DB = {"SESSION_ENGINE": "django.contrib.sessions.backends.db"}
SECURITY, *REST = SEVEN


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with Project(tmp_path_factory.mktemp("project")) as project:
        yield project


class Counter:
    """Counts all crossings of the process, and the threads it starts.

    :ivar crossed: the functions that were called on a thread.
    :ivar started: the names of new threads.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.crossed: list[str] = []
        self.started: list[str] = []
        call, start = SyncToAsync.__call__, threading.Thread.start

        async def counted_call(this: Any, *arguments: Any, **keywords: Any) -> Any:
            self.crossed.append(this.func.__qualname__)
            return await call(this, *arguments, **keywords)

        def counted_start(this: threading.Thread) -> None:
            self.started.append(this.name)
            start(this)

        monkeypatch.setattr(SyncToAsync, "__call__", counted_call)
        monkeypatch.setattr(threading.Thread, "start", counted_start)


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    return Counter(monkeypatch)


def ask(
    project: Project, path: str, query: str = "", *, middleware: Any = SEVEN, cookies: Any = (),
    kind: type = AsgiHandler, times: int = 1,
) -> int:  # fmt: skip
    """The status of the last answer to a request, asked so many times."""
    request = Request("GET", path, query, (("host", "testserver"),), cookies)
    outcome = project.asgi(kind, Case(middleware, DB, requests=(request,) * times))
    return int(outcome.answers[-1].status)


def test_an_async_view_that_leaves_the_session_alone_stays_on_the_loop(
    project: Project, counter: Counter
) -> None:
    assert ask(project, "/apage/", cookies=(("sessionid", "known"),)) == 200
    assert counter.crossed == []
    assert counter.started == []


def test_the_stock_handler_is_counted_the_same_way(project: Project, counter: Counter) -> None:
    assert ask(project, "/apage/", kind=ASGIHandler) == 200
    assert len(counter.crossed) > 10
    assert counter.started != []


def test_a_session_that_is_read_and_saved_costs_one_crossing(
    project: Project, counter: Counter
) -> None:
    query = "do=read+session&do=write+session"
    assert ask(project, "/apage/", query, cookies=(("sessionid", "known"),)) == 200
    # The view asks for the session by Django's own means, which is not the handler's doing.
    assert counter.crossed == ["QuerySet.get", "Chain._unwind"]


def test_a_sync_view_costs_one_crossing(project: Project, counter: Counter) -> None:
    query = "do=read+session&do=write+session&do=read+user&end=template"
    assert ask(project, "/page/", query, cookies=(("sessionid", "known"),)) == 200
    assert counter.crossed == ["Chain._complete"]


def test_threads_live_on(project: Project, counter: Counter) -> None:
    """The next request may come before the thread of the last one is back: then there are two."""
    assert ask(project, "/page/", times=20) == 200
    assert len(counter.crossed) == 20
    assert len(counter.started) <= 4


@pytest.mark.parametrize("path", ["/page/", "/apage/"])
@pytest.mark.parametrize("name", ["sync_function", "SyncClass"])
def test_a_middleware_that_is_sync_costs_one_crossing(
    project: Project, counter: Counter, path: str, name: str
) -> None:
    """View, and all middleware inside it, included; and what has hooks needs no more."""
    stack = (SECURITY, f"{SITE}.{name}", *REST)
    assert ask(project, path, middleware=stack) == 200
    assert counter.crossed == ["Chain._complete"]


def test_hooks_that_nobody_knows_cost_one_crossing_each_way(
    project: Project, counter: Counter
) -> None:
    stack = (SECURITY, f"{SITE}.OnlyResponse", *REST)
    assert ask(project, "/apage/", middleware=stack) == 200
    assert counter.crossed == ["Chain._unwind"]


def test_what_is_declared_or_awaits_costs_no_crossing(project: Project, counter: Counter) -> None:
    stack = (SECURITY, f"{SITE}.Declared", f"{SITE}.hybrid_function", *REST)
    assert ask(project, "/apage/", middleware=stack) == 200
    assert counter.crossed == []
