"""The WSGI gateway: one exchange, one call of the application on a worker thread (PEP 3333).

The loop's thread hands an exchange in (:meth:`WsgiGateway.__call__`); all else runs on the worker
thread, which reads the body and encodes the response itself and posts the bytes to the loop. It
waits when the client is slower than the application, so that nothing piles up.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import twogate
from twogate.errors import ApplicationError, ClientDisconnected
from twogate.exchange import HIGH_WATER, Exchange
from twogate.gateway.failures import report_failure
from twogate.protocol.headers import BoundedMemo
from twogate.protocol.http1_writer import Line, LineMemo, make_line

if TYPE_CHECKING:
    from types import TracebackType

    from twogate.gateway.threads import WorkerThreads
    from twogate.observe.observer import Observer

__all__ = ["FileWrapper", "WsgiGateway"]

ExcInfo: TypeAlias = "tuple[type[BaseException], BaseException, TracebackType | None]"

#: A file smaller than this is cheaper to read than to hand to the kernel.
_SENDFILE_FROM = 65536

# PEP 3333, RFC 3875 §4.1.18: HTTP_ and the name in upper case, "-" as "_"; these two are special.
_SPECIAL_KEYS = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}


def _environ_key(name: bytes) -> str:
    if b"_" in name:
        # "X_Auth" would become HTTP_X_AUTH, as "X-Auth" does: a client could forge what a proxy
        # sets. nginx and Django's runserver drop such names too.
        return ""
    return _SPECIAL_KEYS.get(name) or "HTTP_" + name.decode("latin-1").upper().replace("-", "_")


_environ_keys: BoundedMemo[bytes, str] = BoundedMemo(_environ_key)


def _split_status(status: str) -> tuple[int, bytes]:
    """``"200 OK"`` → (200, b"OK")."""
    code, _, reason = status.partition(" ")
    if len(code) != 3 or not (code.isascii() and code.isdigit()):
        raise ApplicationError(
            f"The status {status!r} must be three digits, a space and a reason (PEP 3333)."
        )
    return int(code), _latin1(reason, "status")


_statuses: BoundedMemo[str, tuple[int, bytes]] = BoundedMemo(_split_status, 128)


def _latin1(text: str, what: str) -> bytes:
    try:
        return text.encode("latin-1")
    except (UnicodeEncodeError, AttributeError):
        raise ApplicationError(
            f"The {what} {text!r} must be a str of latin-1 characters (PEP 3333, Unicode Issues)."
        ) from None


def _make_line(field: Any) -> Line:
    """Check a header of PEP 3333 and write its line."""
    try:
        name, value = field
    except (TypeError, ValueError):
        raise ApplicationError(
            f"The header {field!r} must be a (name, value) tuple (PEP 3333)."
        ) from None
    if not isinstance(value, str):
        raise ApplicationError(f"The value of the header {name} must be a str (PEP 3333).")
    if not isinstance(name, str):
        raise ApplicationError(f"The header name {name!r} must be a str (PEP 3333).")
    return make_line((_latin1(name, "header name"), _latin1(value, f"value of the header {name}")))


_lines: LineMemo[str] = LineMemo(_make_line)


_NOT_STARTED = "start_response was not called before the body (PEP 3333, Specification Details)."


class FileWrapper:
    """``wsgi.file_wrapper``: an iterable over a file that the server may send with sendfile.

    :param filelike: has ``read(size)``, and perhaps ``close()``.
    :param block_size: bytes per read when it cannot be sent by the kernel.
    """

    def __init__(self, filelike: Any, block_size: int = 8192) -> None:
        self.filelike = filelike
        self.block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> Iterator[bytes]:
        while data := self.filelike.read(self.block_size):
            yield data

    def regular_file(self) -> io.BufferedReader | io.BufferedRandom | io.FileIO | None:
        """The plain file behind ``filelike``, if the kernel may read it in its stead.

        A descriptor alone proves nothing: a GzipFile has that of the compressed file.
        """
        file = getattr(self.filelike, "file", self.filelike)
        if file is not self.filelike and self.filelike.read != getattr(file, "read", None):
            return None  # Django's File hands read() on as it is; another wrapper may change bytes
        if type(file) is io.FileIO:
            raw: Any = file
        elif type(file) in (io.BufferedReader, io.BufferedRandom):
            raw = file.raw
        else:
            return None
        if type(raw) is io.FileIO and stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
            return file  # type: ignore[no-any-return]
        return None


class _Waiter:
    """Lets a worker thread wait for a call on the loop."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def done(self) -> None:
        self._lock.release()

    def wait(self) -> None:
        self._lock.acquire()


class _Input(io.RawIOBase):
    """``wsgi.input`` under its buffer: blocks the worker thread until the client has sent more."""

    def __init__(self, exchange: Exchange, threads: WorkerThreads) -> None:
        self._exchange = exchange
        self._threads = threads
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(self._next())
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _next(self) -> bytes:
        """The next piece of the body; ``b""`` at its end."""
        body = self._exchange.body
        while True:
            complete = body.complete
            chunk = body.take()
            if chunk:
                if body.paused:
                    self._threads.post(body.relieve)
                return chunk
            if complete:
                return b""
            if body.failed:
                raise ClientDisconnected("The client went away before it had sent the whole body.")
            waiter = _Waiter()
            self._threads.post(body.when_ready, waiter.done)
            waiter.wait()


class WsgiGateway:
    """Runs a WSGI application on worker threads.

    :param application: a PEP 3333 application.
    :param threads: where it runs.
    :param observer: is told what fails.
    :param multiprocess: the value of ``wsgi.multiprocess``.
    :param around: wraps what runs one call on its thread, for those who record it.
    """

    name = "wsgi"

    def __init__(
        self,
        application: Callable[..., Iterable[bytes]],
        threads: WorkerThreads,
        observer: Observer,
        *,
        multiprocess: bool = False,
        around: Callable[[Callable[[Any, str], None]], Callable[[Any, str], None]] | None = None,
    ) -> None:
        self._application = application
        self._threads = threads
        self._observer = observer
        self._run = around(self._run_call) if around is not None else self._run_call
        self._base: dict[str, Any] = {
            "SCRIPT_NAME": "",
            "SERVER_SOFTWARE": f"twogate/{twogate.__version__}",
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
        }

    def __call__(self, exchange: Exchange) -> None:
        """Take an exchange on; on the loop.

        A thread is taken once the body is at hand, or as much of it as may be buffered, so that a
        slow client costs no thread while it sends a small form.
        """
        body = exchange.body
        if body.complete or exchange.head.expects_continue:
            self._submit(exchange)
        else:
            body.when_ready(lambda: self._submit(exchange), gather=True)

    def _submit(self, exchange: Exchange) -> None:
        # What needs no thread is done here, where it is done for many requests in a row.
        environ = self._environ(exchange)
        self._threads.submit(self._run, _Call(exchange, environ, self._threads, self._observer))

    def _run_call(self, call: _Call, thread: str) -> None:
        exchange = call.exchange
        if exchange.disconnected:
            return  # nobody waits for the answer any more
        exchange.started_at = time.perf_counter()
        exchange.served_by = thread
        try:
            call.run(self._application)
        except BaseException as error:
            # SystemExit from a view must not take the thread with it.
            report_failure(self._observer, exchange, error)
            self._threads.post(exchange.fail)

    def _environ(self, exchange: Exchange) -> dict[str, Any]:
        """PEP 3333, "environ Variables"; text is bytes decoded as latin-1."""
        head, body = exchange.head, exchange.body
        environ = (exchange.peer.environ or self._of_connection(exchange)).copy()
        environ["REQUEST_METHOD"] = head.method
        path = head.raw_path
        environ["PATH_INFO"] = (head.path_bytes if b"%" in path else path).decode("latin-1")
        environ["QUERY_STRING"] = head.query_string.decode("latin-1")
        environ["SERVER_PROTOCOL"] = "HTTP/" + head.http_version
        keys = _environ_keys
        for name, value in head.headers:
            key = keys[name]
            if key in environ:
                # RFC 9110 §5.3: repeated fields are one list; cookies have their own separator.
                separator = "; " if key == "HTTP_COOKIE" else ","
                environ[key] += separator + value.decode("latin-1")
            elif key:
                environ[key] = value.decode("latin-1")
        if body.complete and not body.received:
            environ["wsgi.input"] = io.BytesIO()
        else:
            environ["wsgi.input"] = io.BufferedReader(_Input(exchange, self._threads))
        if head.content_length is None and body.complete:
            # The whole body is here, so its length is known: an application that reads no further
            # than CONTENT_LENGTH finds it (RFC 9112 §7.1.3).
            environ["CONTENT_LENGTH"] = str(body.received)
            environ.pop("HTTP_TRANSFER_ENCODING", None)
        return environ

    def _of_connection(self, exchange: Exchange) -> dict[str, Any]:
        """What is the same for all requests of a connection."""
        peer = exchange.peer
        server = peer.server if peer.server[1] is not None else _named_by(exchange)
        environ = self._base | {
            "SERVER_NAME": server[0],
            "SERVER_PORT": str(server[1]),
            "REMOTE_ADDR": peer.client[0] if peer.client is not None else "",
            "wsgi.url_scheme": peer.scheme,
            "wsgi.errors": sys.stderr,
        }
        if peer.client is not None:
            environ["REMOTE_PORT"] = str(peer.client[1])
        if peer.server[1] is not None:  # else it depends on each request's Host
            peer.environ = environ
        return environ


def _named_by(exchange: Exchange) -> tuple[str, str]:
    """Name and port of the server behind a UNIX socket, which has none (neither may be empty)."""
    host = (exchange.head.header(b"host") or b"").decode("latin-1")
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):  # a port, not the end of a bare IPv6 address
        name, port = host, ""
    return name or "localhost", port or ("443" if exchange.peer.scheme == "https" else "80")


class _Call:
    """One call of the application: ``start_response``, ``write`` and what is returned."""

    __slots__ = (
        "_declared",
        "_ended",
        "_environ",
        "_observer",
        "_started",
        "_threads",
        "_unconfirmed",
        "exchange",
    )

    def __init__(
        self,
        exchange: Exchange,
        environ: dict[str, Any],
        threads: WorkerThreads,
        observer: Observer,
    ) -> None:
        self.exchange = exchange
        self._environ = environ
        self._threads = threads
        self._observer = observer
        self._started = False
        #: The Content-Length, until a piece of the body was posted.
        self._declared: int | None = None
        #: The last piece has been posted.
        self._ended = False
        #: Bytes posted since the client was last seen to keep up.
        self._unconfirmed = 0

    def run(self, application: Callable[..., Iterable[bytes]]) -> None:
        result = application(self._environ, self.start_response)
        try:
            if isinstance(result, FileWrapper) and self._send_file(result):
                return
            self._send(result)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                self._close(close)

    def _close(self, close: Callable[[], object]) -> None:
        """PEP 3333: close() runs however the request ended; the response does not depend on it."""
        try:
            close()
        except BaseException as error:
            report_failure(self._observer, self.exchange, error)

    def start_response(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: ExcInfo | None = None,
    ) -> Callable[[bytes], None]:
        """PEP 3333, "The start_response() Callable"."""
        encoder = self.exchange.encoder
        if exc_info is not None:
            try:
                if self._ended or encoder.head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # the traceback holds this frame, which would hold it
        elif self._started:
            raise ApplicationError(
                "start_response was called twice without exc_info"
                " (PEP 3333, The start_response() Callable)."
            )
        if not isinstance(status, str):
            raise ApplicationError(f"The status {status!r} must be a str (PEP 3333).")
        code, reason = _statuses[status]
        if not isinstance(headers, list | tuple):
            raise ApplicationError(
                f"The headers must be a list, not {type(headers).__name__}"
                " (PEP 3333, The start_response() Callable)."
            )
        known = _lines
        try:
            lines = [known[field] for field in headers]
        except TypeError:  # a field that is no tuple
            lines = [_make_line(field) for field in headers]
        self.exchange.start_lines(code, reason, lines)
        self._declared = encoder.length_left
        self._started = True
        return self._write

    def _write(self, data: bytes) -> None:
        """PEP 3333, "The write() Callable"."""
        if self.exchange.disconnected:
            raise ClientDisconnected("The client went away.")
        self._send_piece(data)

    def _send(self, result: Iterable[bytes]) -> None:
        """Send each piece as it comes; the last one ends the response where it is known to."""
        exchange = self.exchange
        single = isinstance(result, list | tuple) and len(result) == 1
        for data in _iterate(result):
            if exchange.disconnected:
                return
            # An empty piece must not bring the head out: start_response may still be called again.
            if data:
                if type(data) is bytes and self._declared == len(data) and not self._ended:
                    # It goes out whole, before close() runs.
                    self._ended = True
                    self._threads.post_last(exchange.conclude, data)
                else:
                    self._send_piece(data, end=single)
            elif type(data) is not bytes:
                _check_piece(data)
        if not self._ended:
            if not self._started:
                raise ApplicationError(_NOT_STARTED)
            self._post(b"", True)

    def _send_piece(self, data: bytes, *, end: bool = False) -> None:
        if type(data) is not bytes:
            _check_piece(data)
        if not self._started:
            raise ApplicationError(_NOT_STARTED)
        if self._ended:
            raise ApplicationError(
                "The body is longer than its Content-Length"
                " (PEP 3333, Handling the Content-Length Header)."
            )
        # A length that is reached ends the response.
        self._post(data, end or self.exchange.encoder.length_left == len(data))

    def _post(self, data: bytes, end: bool) -> None:
        exchange, threads = self.exchange, self._threads
        self._declared = None
        payload = exchange.encode(data, end)
        if end:
            self._ended = True
            threads.post_last(exchange.write, payload, end)
            return
        threads.post(exchange.write, payload, end)
        self._unconfirmed += len(data)
        if self._unconfirmed >= HIGH_WATER:
            self._unconfirmed = 0
            waiter = _Waiter()
            self._threads.post(exchange.when_writable, waiter.done)
            waiter.wait()

    def _send_file(self, wrapper: FileWrapper) -> bool:
        """Let the kernel copy a regular file; says whether it could.

        The loop gets a descriptor of its own, so the thread is free, and the file closed, while the
        client still reads.
        """
        file = wrapper.regular_file()
        if not self._started:
            raise ApplicationError(_NOT_STARTED)
        encoder = self.exchange.encoder
        if file is None or encoder.head_sent or encoder.status in (204, 304):
            return False
        offset = file.tell()
        count = max(0, os.fstat(file.fileno()).st_size - offset)
        encoder.declare_length(count)
        if not encoder.sends_body:
            self._post(b"", True)  # to HEAD: the length is known without reading a byte
            return True
        declared = encoder.length_left
        if count < _SENDFILE_FROM or declared is None or declared > count:
            return False
        exchange = self.exchange
        self._threads.post(exchange.write, exchange.encode(b"", False), False)
        encoder.sent_elsewhere(declared)
        self._threads.post(exchange.send_file, os.dup(file.fileno()), offset, declared)
        return True


def _iterate(result: Any) -> Iterator[bytes]:
    try:
        return iter(result)
    except TypeError:
        raise ApplicationError(
            f"The application returned {type(result).__name__}, which is not an iterable of byte"
            " strings (PEP 3333, The Application/Framework Side)."
        ) from None


def _check_piece(data: Any) -> None:
    if not isinstance(data, bytes):
        raise ApplicationError(
            f"The body must be made of byte strings, not {type(data).__name__}"
            " (PEP 3333, Unicode Issues)."
        )
