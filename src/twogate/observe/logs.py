"""The logs: one tree named ``twogate`` on standard error, and the access log as an observer.

They know the points of :class:`~twogate.observe.observer.Observer` and nothing of who calls them.
An access log belongs to one worker and runs on its loop's thread; errors may come from any thread.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import logging
import os
import re
import select
import stat
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from twogate.config import Config
from twogate.errors import ApplicationError, ConfigError
from twogate.observe.observer import Observer, Observers

if TYPE_CHECKING:
    from twogate.exchange import Exchange

__all__ = [
    "AccessLog",
    "ErrorLog",
    "JsonLines",
    "LineWriter",
    "TextLines",
    "configure",
    "enable",
    "escape",
    "make_observer",
]

#: Seconds that an access log line may wait for company.
FLUSH_AFTER = 0.05
#: Bytes that wait for a reader which does not read before lines are dropped.
MOST_HELD = 1 << 20
#: Milliseconds that a reader may take for the last lines.
PATIENCE = 500
#: POSIX lets a pipe that polls as writable take so much without blocking, and in one piece.
PIPE_BUF = select.PIPE_BUF

_errors = logging.getLogger("twogate.error")
_peers = logging.getLogger("twogate.http")


# The tree.


def configure(config: Config) -> None:
    """Send the tree ``twogate`` to standard error at the configured level; may be called again."""
    logger = logging.getLogger("twogate")
    handler = logging.StreamHandler(sys.stderr)
    layout = "%(asctime)s [%(process)d] %(levelname)s %(message)s"
    handler.setFormatter(logging.Formatter(layout, "%Y-%m-%d %H:%M:%S"))
    logger.handlers[:] = [handler]
    logger.setLevel(config.log_level.upper())
    logger.propagate = False
    enable()


def enable() -> None:
    """Switch the tree on again after a ``dictConfig`` that disables the loggers it does not name,
    as a project's ``LOGGING`` does unless told otherwise."""
    for name in list(logging.Logger.manager.loggerDict):
        if name == "twogate" or name.startswith("twogate."):
            logging.getLogger(name).disabled = False


def make_observer(config: Config) -> Observer:
    """What a worker listens with: the error log, and the access log if there is one.

    :raises ConfigError: the access log's file cannot be opened.
    """
    configure(config)
    if not config.access_logfile:
        return ErrorLog()
    lines = JsonLines() if config.access_log_format == "json" else TextLines()
    log = AccessLog(lines, LineWriter(_open(config), owned=config.access_logfile != "-"))
    atexit.register(log.close)
    return Observers([ErrorLog(), log])


def _open(config: Config) -> int:
    if config.access_logfile == "-":
        return 1
    try:
        # O_APPEND: the lines of several workers never overwrite each other.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(Path(config.access_logfile), flags, 0o644)
    except OSError as error:
        source = config.source("access_logfile")
        message = f"The file cannot be opened: {error.strerror}."
        raise ConfigError("--access-logfile", config.access_logfile, source, message) from error


# Errors.


class ErrorLog(Observer):
    """Tells what failed: ``twogate.error`` for applications, ``twogate.http`` for peers."""

    def application_failed(self, exchange: Exchange, error: BaseException) -> None:
        """A traceback for an exception; one line for a broken rule, which needs none."""
        where = f"{exchange.head.method} {escape(exchange.head.raw_path.decode('latin-1'))}"
        if isinstance(error, ApplicationError):
            _errors.error("%s: %s", where, error)
        else:
            _errors.error("%s: the application raised", where, exc_info=error)

    def request_refused(self, client: str, status: int, message: str) -> None:
        """One line at info: strangers' mistakes are no concern of the operator's."""
        _peers.info("%s was refused with %d: %s", client, status, message)


# Access.


class LineWriter:
    """Gathers lines and writes those of one moment in one system call. The loop's thread.

    It never waits for a reader. Pipes and terminals get at most :data:`PIPE_BUF` bytes at a time,
    each time they poll as writable; what they do not take is held, up to :data:`MOST_HELD`, and
    then dropped and counted, and the count is told in the error log. Files are always written.
    A worker that is killed loses the lines of its last :data:`FLUSH_AFTER` seconds.

    :param fd: an open file descriptor.
    :param owned: close it at the end.
    """

    def __init__(self, fd: int, owned: bool = False) -> None:
        self._fd = fd
        self._owned = owned
        self._is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        self._lines: list[str] = []
        self._held = b""
        self._timer: asyncio.TimerHandle | None = None
        #: Lines that were dropped because nobody read.
        self.dropped = 0

    def write(self, line: str) -> None:
        """Add a line, which ends in a newline."""
        self._lines.append(line)
        if self._timer is None:
            self._schedule()

    def flush(self) -> None:
        """Write what was gathered, as far as the reader takes it."""
        self._timer = None
        self._gather()
        with contextlib.suppress(OSError):
            self._write_held()
        if self._held:
            self._schedule()
        elif self.dropped:
            _errors.warning("%d access log lines were dropped: nobody read them", self.dropped)
            self.dropped = 0

    def close(self) -> None:
        """Write what was gathered, with a little patience, and be done. May be called again."""
        if self._timer is not None:
            self._timer.cancel()
        self._gather()
        with contextlib.suppress(OSError):
            self._write_held(PATIENCE)
        if self._owned:
            self._owned = False
            os.close(self._fd)

    def _gather(self) -> None:
        lines, self._lines = self._lines, []
        if len(self._held) >= MOST_HELD:
            self.dropped += len(lines)
        else:
            self._held += "".join(lines).encode("utf-8", "backslashreplace")

    def _schedule(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # the loop is over: its last lines
            if not self._held:
                self.flush()
        else:
            self._timer = loop.call_later(FLUSH_AFTER, self.flush)

    def _write_held(self, patience: int = 0) -> None:
        """Write what the reader takes, keep the rest.

        :param patience: milliseconds to wait for a reader each time.
        :raises OSError: nobody will ever read it; it is dropped.
        """
        data, self._held = self._held, b""
        if self._is_file and data:
            os.write(self._fd, data)
        elif data:
            self._held = _write_to_pipe(self._fd, data, patience)


def _write_to_pipe(fd: int, data: bytes, patience: int) -> bytes:
    """Write without ever blocking, a piece at a time; return what was not taken."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    position = 0
    while position < len(data) and poll.poll(patience):
        try:
            position += os.write(fd, _whole_lines(data, position))
        except BlockingIOError:  # another process was quicker
            break
    return data[position:]


def _whole_lines(data: bytes, start: int) -> bytes:
    """As many whole lines as a pipe takes in one piece, so that workers' lines do not mix."""
    most = start + PIPE_BUF
    if len(data) <= most:
        return data[start:]
    return data[start : data.rfind(b"\n", start, most) + 1 or most]


class AccessLog(Observer):
    """A line for each response and for each WebSocket that opens and closes.

    :param lines: how they look.
    :param writer: takes them.
    """

    def __init__(self, lines: TextLines | JsonLines, writer: LineWriter) -> None:
        self._lines = lines
        self._writer = writer
        self._second = 0
        self._date = ""

    def request_finished(self, exchange: Exchange, duration: float) -> None:
        """A response is complete or was cut short."""
        self._writer.write(self._lines.request(self._now(), exchange, duration))

    def websocket_opened(self, exchange: Exchange) -> None:
        """The application accepted a WebSocket."""
        self._writer.write(self._lines.opened(self._now(), exchange))

    def websocket_closed(self, exchange: Exchange, code: int, reason: str, duration: float) -> None:
        """A WebSocket is closed."""
        line = self._lines.closed(self._now(), exchange, code, reason, duration)
        self._writer.write(line)

    def close(self) -> None:
        """The worker ends: write what is held back. May be called again."""
        atexit.unregister(self.close)
        self._writer.close()

    def _now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._date = time.strftime(self._lines.date_format, time.localtime(second))
        return self._date


class TextLines:
    """Lines for people: ``date client "request" status bytes duration gateway(thread) reason``."""

    date_format = "%Y-%m-%d %H:%M:%S"

    def request(self, date: str, exchange: Exchange, duration: float) -> str:
        """A response."""
        encoder = exchange.encoder
        return (
            f"{self._start(date, exchange)} {encoder.status} {encoder.bytes_sent}"
            f" {duration * 1000:.2f}ms {self._end(exchange)}"
        )

    def opened(self, date: str, exchange: Exchange) -> str:
        """An accepted WebSocket."""
        return f"{self._start(date, exchange)} websocket opened {self._end(exchange)}"

    def closed(self, date: str, exchange: Exchange, code: int, reason: str, duration: float) -> str:
        """A closed WebSocket."""
        why = f' "{escape(reason)}"' if reason else ""
        return (
            f"{self._start(date, exchange)} websocket closed {code}{why}"
            f" {duration:.2f}s {self._end(exchange)}"
        )

    def _start(self, date: str, exchange: Exchange) -> str:
        head = exchange.head
        client = exchange.peer.client
        target = _shown(head.raw_path)
        if head.query_string:
            target = f"{target}?{_shown(head.query_string)}"
        return (
            f"{date} {client[0] if client else 'unix'}"
            f' "{head.method} {target} HTTP/{head.http_version}"'
        )

    def _end(self, exchange: Exchange) -> str:
        # What the server answers itself runs on no thread or loop of a gateway.
        where = f"({exchange.served_by})" if exchange.served_by else ""
        return f"{exchange.gateway}{where} {exchange.reason}\n"


class JsonLines:
    """Lines for machines: one object each, with the same keys for every kind of event."""

    date_format = "%Y-%m-%dT%H:%M:%S%z"

    def request(self, date: str, exchange: Exchange, duration: float) -> str:
        """A response."""
        return self._line(date, "request", exchange, exchange.encoder.status, duration, "")

    def opened(self, date: str, exchange: Exchange) -> str:
        """An accepted WebSocket."""
        return self._line(date, "websocket opened", exchange, 101, 0.0, "")

    def closed(self, date: str, exchange: Exchange, code: int, reason: str, duration: float) -> str:
        """A closed WebSocket: ``status`` is the close code."""
        return self._line(date, "websocket closed", exchange, code, duration, reason)

    def _line(
        self, date: str, event: str, exchange: Exchange, status: int, duration: float, detail: str
    ) -> str:
        head = exchange.head
        client = exchange.peer.client
        started = exchange.started_at or exchange.received_at
        values = {
            "time": date,
            "event": event,
            "client": client[0] if client else "unix",
            "method": head.method,
            "path": head.raw_path.decode("latin-1"),
            "query": head.query_string.decode("latin-1"),
            "status": status,
            "bytes": exchange.encoder.bytes_sent,
            "duration_ms": round(duration * 1000, 3),
            "queue_ms": round((started - exchange.received_at) * 1000, 3),
            "gateway": exchange.gateway,
            "served_by": exchange.served_by,
            "reason": exchange.reason,
            "detail": detail,
            "user_agent": (head.header(b"user-agent") or b"").decode("latin-1"),
            "referer": (head.header(b"referer") or b"").decode("latin-1"),
        }
        return json.dumps(values) + "\n"


_UNSAFE = re.compile(r"[^ !#-\[\]-~]")


def escape(text: str) -> str:
    """Make what a stranger sent safe between the quotes of a log line: control characters, quotes,
    backslashes and what is not ASCII become ``\\xNN``."""
    if _UNSAFE.search(text) is None:
        return text
    return _UNSAFE.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


@lru_cache(maxsize=1024)
def _shown(raw: bytes) -> str:
    """A path or query, as it stands in a line; the same few are asked for over and over."""
    return escape(raw.decode("latin-1"))
