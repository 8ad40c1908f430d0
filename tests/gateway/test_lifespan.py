"""The lifespan protocol, with applications that know it, do not, or break it."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from tests.support.gateways import serve
from tests.support.settings import configure

from twogate.errors import WorkerFailed
from twogate.gateway.asgi import Message, Scope
from twogate.gateway.lifespan import Lifespan

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Knows:
    """Answers as told, and remembers what it got."""

    def __init__(self, *answers: Message | BaseException) -> None:
        self.answers = answers
        self.got: list[str] = []
        self.scope: Scope = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["state"]["mine"] = "only mine"
            text = repr(sorted(scope["state"].items())).encode()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": text})
            return
        self.scope = scope
        scope["state"]["pool"] = "a pool"
        for answer in self.answers:
            self.got.append((await receive())["type"])
            if isinstance(answer, BaseException):
                raise answer
            await send(answer)


STARTED: Message = {"type": "lifespan.startup.complete"}
STOPPED: Message = {"type": "lifespan.shutdown.complete"}


async def ignorant(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError(f"cannot handle {scope['type']}")


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    return None


def live(
    application: Application, mode: str = "auto", timeout: float = 5.0, pause: float = 0.0
) -> Lifespan:
    """A whole life, on a loop that complains about every task left behind."""

    async def run() -> Lifespan:
        complaints: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: complaints.append(context)
        )
        lifespan = Lifespan(application, mode)
        try:
            async with asyncio.timeout(15):
                await lifespan.startup()
                await asyncio.sleep(pause)
                await lifespan.shutdown(timeout)
        finally:
            assert asyncio.all_tasks() == {asyncio.current_task()}
            gc.collect()
            await asyncio.sleep(0)
            assert complaints == []
        return lifespan

    return asyncio.run(run())


def records(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """What was said about the lifespan; threads of others may have something to say, too."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= level and record.name == "twogate.lifespan"
    ]


@pytest.fixture(autouse=True)
def every_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="twogate")


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_a_whole_life(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    application = Knows(STARTED, STOPPED)
    lifespan = live(application, mode)
    assert application.got == ["lifespan.startup", "lifespan.shutdown"]
    assert application.scope["type"] == "lifespan"
    assert application.scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
    assert application.scope["state"] is lifespan.state
    assert records(caplog, logging.DEBUG) == []


def test_off_says_nothing_to_the_application() -> None:
    application = Knows(STARTED, STOPPED)
    live(application, "off")
    assert application.got == []


def test_django_is_served_without_it_and_not_a_word_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    configure()
    live(ASGIHandler())
    assert records(caplog, logging.INFO) == []
    assert "ASGI/HTTP connections, not lifespan" in records(caplog, logging.DEBUG)[0]


@pytest.mark.parametrize("application", [ignorant, silent])
def test_in_auto_an_application_without_it_is_served(
    application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    live(application)
    assert records(caplog, logging.INFO) == []


@pytest.mark.parametrize(
    ("application", "cause"),
    [(ignorant, "cannot handle lifespan"), (silent, "without an answer")],
)
def test_on_insists(application: Application, cause: str) -> None:
    with pytest.raises(WorkerFailed, match=cause):
        live(application, "on")


def test_a_start_up_that_failed_fails_the_worker() -> None:
    with pytest.raises(WorkerFailed, match="no database"):
        live(Knows({"type": "lifespan.startup.failed", "message": "no database"}))
    with pytest.raises(WorkerFailed, match="gave no reason"):
        live(Knows({"type": "lifespan.startup.failed"}))


def test_a_start_up_that_failed_and_then_raises_leaves_no_complaint() -> None:
    """As Starlette does."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "as I said"})
        raise RuntimeError("and again")

    with pytest.raises(WorkerFailed, match="as I said"):
        live(application)


def test_a_start_up_that_raises_is_told_because_nobody_else_would(
    caplog: pytest.LogCaptureFixture,
) -> None:
    live(Knows(RuntimeError("no cache")))
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert record.exc_info
    assert "no cache" in str(record.exc_info[1])


def test_exiting_in_start_up_does_not_stop_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    live(Knows(SystemExit(3)))
    assert len(records(caplog, logging.WARNING)) == 1
    with pytest.raises(WorkerFailed, match="SystemExit"):
        live(Knows(SystemExit(3)), "on")


def test_an_answer_out_of_turn_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(WorkerFailed, match=r"lifespan.shutdown.complete.* was sent where"):
        live(Knows(STOPPED), "on")


def test_a_shutdown_that_failed_is_told(caplog: pytest.LogCaptureFixture) -> None:
    live(Knows(STARTED, {"type": "lifespan.shutdown.failed", "message": "lost a page"}))
    assert records(caplog, logging.ERROR) == ["The application's shutdown failed: lost a page"]


def test_a_shutdown_that_raises_is_told(caplog: pytest.LogCaptureFixture) -> None:
    live(Knows(STARTED, RuntimeError("lost a page")))
    assert records(caplog, logging.ERROR) == ["The application's lifespan raised"]


def test_a_lifespan_that_ends_early_is_told_in_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        raise RuntimeError("in the middle")

    live(application, pause=0.01)
    assert records(caplog, logging.ERROR) == ["The application's lifespan raised"]


def test_a_shutdown_that_never_ends_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await receive()
        await asyncio.Event().wait()

    live(application, timeout=0.05)
    assert records(caplog, logging.ERROR) == ["The application's shutdown took longer than 0.05 s"]


def test_the_state_reaches_requests_as_copies() -> None:
    application = Knows(STARTED, STOPPED)
    with serve(asgi=application) as served:
        expected = repr([("mine", "only mine"), ("pool", "a pool")]).encode()
        assert served.request().body == expected
        assert application.scope["state"] == {"pool": "a pool"}
    assert application.got == ["lifespan.startup", "lifespan.shutdown"]


def test_a_server_whose_start_up_failed_does_not_start() -> None:
    application = Knows({"type": "lifespan.startup.failed", "message": "no database"})
    with pytest.raises(WorkerFailed, match="no database"), serve(asgi=application):
        pytest.fail("it started")
