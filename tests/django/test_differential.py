"""No response differs from that of Django's own handlers, whatever the project.

By default the cases are the same in each run. ``DIFFERENTIAL_EXAMPLES=5000`` asks for so many, and
for others each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.twins.cases import SEVEN, SITE, Case, Request, cases
from tests.support.twins.drive import Outcome, Project

from twogate.django.handler import AsgiHandler, WsgiHandler

EXAMPLES = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "0"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with Project(tmp_path_factory.mktemp("project")) as project:
        yield project


def assert_same(ours: Outcome, stock: Outcome) -> None:
    """Compared piece by piece, or nobody would find the difference."""
    for mine, theirs in zip(ours.answers, stock.answers, strict=True):
        for part in fields(mine):
            assert getattr(mine, part.name) == getattr(theirs, part.name), part.name
    for part in fields(ours):
        assert getattr(ours, part.name) == getattr(stock, part.name), part.name


def compare(project: Project, case: Case, asgi: bool) -> None:
    if asgi:
        assert_same(project.asgi(AsgiHandler, case), project.asgi(ASGIHandler, case))
    else:
        assert_same(project.wsgi(WsgiHandler, case), project.wsgi(WSGIHandler, case))


def case(*names: str, path: str = "/apage/", end: str = "small", **more: Any) -> Case:
    """A case with middlewares of ours inside the usual ones, by name, and one request."""
    tricks = dict(name.split(": ") for name in names if ": " in name)
    stack = (*SEVEN, *(f"{SITE}.{name.partition(':')[0]}" for name in names))
    request = Request("GET", path, f"end={end}", (("host", "testserver"),))
    more.setdefault("settings", {"SESSION_ENGINE": "django.contrib.sessions.backends.db"})
    return Case(stack, tricks=tricks, requests=(request,), **more)


GZIP = "django.middleware.gzip.GZipMiddleware"
DEBUG = {"DEBUG": True}
PROPAGATE = {"DEBUG_PROPAGATE_EXCEPTIONS": True}

#: What once differed.
FOUND = {
    "hooks on the way back handle no exception": case("PlainA", end="404"),
    "nor do they raise from one": case("PlainA: response raises", end="error", settings=DEBUG),
    "each layer hears of what is propagated": case("PlainA", end="error", settings=PROPAGATE),
    "also from the way back": case("PlainA", "PlainB: response raises", settings=PROPAGATE),
    "each layer asks for the page for failures": case("PlainA", end="error", urlconf="broken"),
    "a rule may meet no response": replace(
        case("Declared: response none"), middleware=(GZIP, f"{SITE}.Declared")
    ),
    "or one that is not rendered": replace(
        case("Declared: request responds unrendered"), middleware=(GZIP, f"{SITE}.Declared")
    ),
    "a false answer for the view is an answer": case("Declared: view falsy"),
    "a response that is closed by others": case("PlainA: response closer"),
    "a hybrid's call is made on the loop": case("OwnCall", "AsyncClass", path="/page/"),
    "a plain middleware that is sync alone": case("hybrid_function", "SyncMixin", settings=DEBUG),
    "and one that is async alone": case("SyncClass", "AsyncMixin", settings=DEBUG),
    "a user and messages that others have set": replace(
        case("PlainA: request sets user"), middleware=(f"{SITE}.PlainA", *SEVEN)
    ),
    "a class behind a sync middleware": case("sync_function", path="/aclass/"),
    "a class inside an async middleware": case("async_function", path="/aclass/"),
    "a session with a user, not yet saved": replace(
        case("Declared: request fills session"),
        middleware=(*SEVEN[:2], f"{SITE}.Declared", *SEVEN[2:],
                    "django.contrib.auth.middleware.LoginRequiredMiddleware"),
    ),
}  # fmt: skip

# Django's own handler leaves the body's file open where an exception leaves it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize("asgi", [True, False], ids=["asgi", "wsgi"])
@pytest.mark.parametrize("found", FOUND.values(), ids=list(FOUND))
def test_what_once_differed_does_not(project: Project, found: Case, asgi: bool) -> None:
    compare(project, found, asgi)


@settings(
    max_examples=EXAMPLES or 400,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(case=cases(), asgi=st.booleans())
def test_no_answer_differs(project: Project, case: Case, asgi: bool) -> None:
    compare(project, case, asgi)
