from __future__ import annotations

import asyncio
import io
import json
import logging
import logging.config
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from twogate.config import Config
from twogate.errors import ApplicationError, ConfigError
from twogate.exchange import Exchange, Peer, RequestBody
from twogate.observe.logs import (
    MOST_HELD,
    AccessLog,
    ErrorLog,
    JsonLines,
    LineWriter,
    TextLines,
    configure,
    enable,
    escape,
    make_observer,
)
from twogate.observe.observer import Observers
from twogate.protocol.events import RequestHead
from twogate.protocol.http1_writer import Payload


class Wire:
    """Carries an exchange whose bytes nobody looks at."""

    writable = True
    default_headers: Any = ()

    def write(self, exchange: Exchange, payload: Payload, end: bool) -> None: ...

    def want_body(self, body: RequestBody) -> None: ...

    def when_writable(self, callback: Callable[[], None]) -> None: ...

    def send_file(self, exchange: Exchange, fd: int, offset: int, count: int) -> None: ...

    def upgrade(self, exchange: Exchange, make: Callable[..., Any]) -> Any: ...

    def abort(self, exchange: Exchange) -> None: ...


def make_exchange(
    raw_path: bytes = b"/polls/", query: bytes = b"", headers: Any = (), body: bytes = b"Hello"
) -> Exchange:
    head = RequestHead("GET", raw_path, query, "1.1", list(headers))
    exchange = Exchange(head, Peer(("127.0.0.1", 5000), ("127.0.0.1", 8000)), Wire())
    exchange.gateway, exchange.reason = "wsgi", "sync view polls.views.index"
    exchange.served_by = "thread-1"
    exchange.started_at = exchange.received_at + 0.002
    exchange.start_response(200, [(b"Content-Type", b"text/plain")])
    exchange.encode(body, True)
    return exchange


@contextmanager
def tree() -> Iterator[None]:
    """The tree ``twogate`` as it is before anything is configured, put back afterwards."""
    logger = logging.getLogger("twogate")
    before = logger.handlers[:], logger.level, logger.propagate
    logger.handlers[:], logger.level, logger.propagate = [], logging.NOTSET, True
    try:
        yield
    finally:
        logger.handlers[:], logger.level, logger.propagate = before


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


# Lines.


def test_a_text_line_is_fixed_and_readable() -> None:
    exchange = make_exchange(query=b"page=2")
    line = TextLines().request("2026-11-21 10:00:00", exchange, 0.00321)
    assert line == (
        '2026-11-21 10:00:00 127.0.0.1 "GET /polls/?page=2 HTTP/1.1" 200 5 3.21ms '
        "wsgi(thread-1) sync view polls.views.index\n"
    )


def test_what_the_server_answers_itself_runs_nowhere() -> None:
    exchange = make_exchange()
    exchange.gateway, exchange.served_by, exchange.reason = "server", "", "no gateway"
    line = TextLines().request("", exchange, 0.0)
    assert line.endswith(" 0.00ms server no gateway\n")


def test_a_client_of_a_unix_socket_has_no_address() -> None:
    exchange = make_exchange()
    exchange.peer.client = None
    assert TextLines().request("now", exchange, 0).startswith('now unix "GET')
    assert json.loads(JsonLines().request("now", exchange, 0))["client"] == "unix"


def test_a_json_line_has_all_there_is() -> None:
    headers = [(b"user-agent", b"curl/8"), (b"referer", b"http://a/")]
    exchange = make_exchange(query=b"page=2", headers=headers)
    assert json.loads(JsonLines().request("2026-11-21T10:00:00+0000", exchange, 0.00321)) == {
        "time": "2026-11-21T10:00:00+0000",
        "event": "request",
        "client": "127.0.0.1",
        "method": "GET",
        "path": "/polls/",
        "query": "page=2",
        "status": 200,
        "bytes": 5,
        "duration_ms": 3.21,
        "queue_ms": 2.0,
        "gateway": "wsgi",
        "served_by": "thread-1",
        "reason": "sync view polls.views.index",
        "detail": "",
        "user_agent": "curl/8",
        "referer": "http://a/",
    }


def test_websockets_are_told_when_they_open_and_close() -> None:
    exchange = make_exchange()
    text = TextLines()
    assert '"GET /polls/ HTTP/1.1" websocket opened wsgi(' in text.opened("now", exchange)
    closed = text.closed("now", exchange, 1001, 'go"ing\n', 2.5)
    assert 'websocket closed 1001 "go\\x22ing\\x0a" 2.50s' in closed
    assert "websocket closed 1000 2.50s" in text.closed("now", exchange, 1000, "", 2.5)
    opened = json.loads(JsonLines().opened("now", exchange))
    assert (opened["event"], opened["status"]) == ("websocket opened", 101)
    closed_json = json.loads(JsonLines().closed("now", exchange, 1001, "bye", 2.5))
    assert (closed_json["status"], closed_json["detail"]) == (1001, "bye")
    assert closed_json["duration_ms"] == 2500


@pytest.mark.parametrize("lines", [TextLines(), JsonLines()])
def test_a_stranger_cannot_forge_a_line(lines: TextLines | JsonLines) -> None:
    forged = b'/a"\n2026-11-21 10:00:00 10.0.0.1 "GET /admin \x1b[31m\x9b\xe2\x80\xa8'
    headers = [(b"user-agent", forged), (b"referer", forged)]
    line = lines.request("now", make_exchange(forged, forged, headers), 0)
    assert len(line.splitlines()) == 1
    assert line.isascii()
    assert line.strip("\n").isprintable()
    if isinstance(lines, TextLines):
        assert line.count('"') == 2
    else:
        assert json.loads(line)["path"] == forged.decode("latin-1")


def test_what_is_safe_is_not_touched() -> None:
    assert escape("/a-b_c%20~'()[]é\\") == "/a-b_c%20~'()[]\\xe9\\x5c"


# Writing.


def test_lines_of_one_moment_are_written_together(tmp_path: Path) -> None:
    path = tmp_path / "access.log"

    async def serve() -> list[int]:
        observer = make_observer(Config(access_logfile=str(path)))
        sizes = []
        for _ in range(3):
            observer.request_finished(make_exchange(), 0.001)
            sizes.append(path.stat().st_size)
        deadline = time.monotonic() + 5
        while path.stat().st_size == 0 and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        return sizes

    with tree():
        assert asyncio.run(serve()) == [0, 0, 0]
    assert len(lines_of(path)) == 3


def test_closing_writes_what_is_held_back(tmp_path: Path) -> None:
    path = tmp_path / "access.log"

    async def serve() -> None:
        observer = make_observer(Config(access_logfile=str(path), access_log_format="json"))
        observer.request_finished(make_exchange(), 0.001)
        observer.websocket_opened(make_exchange())
        observer.websocket_closed(make_exchange(), 1000, "", 1.0)
        observer.close()

    with tree():
        asyncio.run(serve())
    events = [json.loads(line)["event"] for line in lines_of(path)]
    assert events == ["request", "websocket opened", "websocket closed"]


def test_lines_after_the_loop_are_written_at_once(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with path.open("wb") as file:
        LineWriter(file.fileno()).write("last\n")
    assert lines_of(path) == ["last"]


def test_a_reader_that_does_not_read_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    line = "x" * 1023 + "\n"
    writer = LineWriter(writing)

    async def flood() -> None:
        for _ in range(2 * MOST_HELD // len(line)):
            writer.write(line)
            writer.flush()

    try:
        with tree():
            asyncio.run(asyncio.wait_for(flood(), 10))
            assert writer.dropped > 0
            received = _drain(reading, writer)
    finally:
        os.close(reading)
        os.close(writing)
    kept = 2 * MOST_HELD // len(line) - _dropped_in(caplog)
    assert received == line.encode() * kept
    assert writer.dropped == 0


def _drain(reading: int, writer: LineWriter) -> bytes:
    received = b""
    while True:
        try:
            received += os.read(reading, 1 << 20)
        except BlockingIOError:
            before = len(received)
            writer.flush()
            try:
                received += os.read(reading, 1 << 20)
            except BlockingIOError:
                if len(received) == before:
                    return received


def _dropped_in(caplog: pytest.LogCaptureFixture) -> int:
    (message,) = {record.getMessage() for record in caplog.records}
    found = re.match(r"(\d+) access log lines were dropped", message)
    assert found is not None
    return int(found[1])


def test_a_reader_that_is_gone_stops_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        writer = LineWriter(writing)
        for _ in range(10):
            writer.write("x\n")
            writer.flush()
    finally:
        os.close(writing)


def test_the_clock_is_read_in_the_format_of_the_lines(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with path.open("wb") as file:
        log = AccessLog(TextLines(), LineWriter(file.fileno()))
        log.request_finished(make_exchange(), 0)
        log.request_finished(make_exchange(), 0)
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d 127", line) for line in lines_of(path))


def test_a_file_that_cannot_be_opened_is_a_configuration_error(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing" / "access.log")
    with tree(), pytest.raises(ConfigError, match="--access-logfile"):
        make_observer(Config(access_logfile=missing))


def test_no_access_log_is_no_access_log() -> None:
    with tree():
        assert isinstance(make_observer(Config(access_logfile="")), ErrorLog)
        assert isinstance(make_observer(Config()), Observers)


# Errors.


def test_a_broken_rule_is_told_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with tree():
        ErrorLog().application_failed(make_exchange(b"/a\nb"), ApplicationError("PEP 3333 says no"))
    (record,) = caplog.records
    assert record.getMessage() == "GET /a\\x0ab: PEP 3333 says no"
    assert (record.name, record.exc_info) == ("twogate.error", None)


def test_an_exception_is_told_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ZeroDivisionError("oh")
    except ZeroDivisionError as error:
        caught = error
    with tree():
        ErrorLog().application_failed(make_exchange(), caught)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is caught


def test_strangers_mistakes_are_told_at_info(caplog: pytest.LogCaptureFixture) -> None:
    with tree(), caplog.at_level(logging.INFO, "twogate"):
        ErrorLog().request_refused("10.0.0.1", 400, "RFC 9112 §3.2")
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert record.getMessage() == "10.0.0.1 was refused with 400: RFC 9112 §3.2"


def test_the_tree_writes_time_process_and_level(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with tree():
        configure(Config(log_level="warning"))
        configure(Config(log_level="warning"))  # twice is once
        logging.getLogger("twogate.supervisor").info("not told")
        logging.getLogger("twogate.supervisor").warning("told")
    pattern = rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d \[{os.getpid()}\] WARNING told\n"
    assert re.fullmatch(pattern, stream.getvalue())


def test_a_projects_logging_does_not_silence_the_tree() -> None:
    child = logging.getLogger("twogate.error")
    loggers = [one for one in logging.root.manager.loggerDict.values() if hasattr(one, "disabled")]
    before = [logger.disabled for logger in loggers]
    try:
        with tree():
            logging.config.dictConfig({"version": 1})  # disables loggers that exist
            assert child.disabled
            enable()
            assert not child.disabled
    finally:
        for logger, disabled in zip(loggers, before, strict=True):  # those of other tests, too
            logger.disabled = disabled
