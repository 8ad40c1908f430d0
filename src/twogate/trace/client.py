"""A client that sends one request over a real socket and notes each byte and its time.

Blocking; runs in the process of ``twogate trace``, beside the one that serves. Reads an answer to
its end, but no longer than :data:`PATIENCE` and no more than :data:`MOST`.
"""

from __future__ import annotations

import http.client
import io
import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

__all__ = ["MOST", "PATIENCE", "Request", "ask", "talk"]

#: Seconds until an answer that does not end is cut.
PATIENCE = 10.0
#: Bytes of an answer that are read.
MOST = 16 * 1024 * 1024
#: What :attr:`Request.quiet` is if nobody says otherwise.
QUIET = 0.3
_PREVIEW = 4096
#: Arrivals that are noted.
_MOST_ARRIVALS = 200


@dataclass(slots=True)
class Request:
    """What is sent.

    :ivar path: with its query.
    :ivar headers: beside ``Host``, ``Connection`` and ``Content-Length``.
    :ivar host: the value of ``Host``.
    :ivar messages: what to say over a WebSocket; ``None`` for HTTP.
    :ivar quiet: seconds without a message after which a WebSocket has said what it wants to say.
    """

    method: str
    path: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    host: str = "localhost"
    messages: Sequence[str] | None = None
    quiet: float = QUIET

    def encode(self) -> bytes:
        """The bytes of an HTTP request."""
        given = {name.lower() for name, _ in self.headers}
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        if "host" not in given:
            lines.append(f"Host: {self.host}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body or self.method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(self.body)}")
        lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


def ask(port: int, request: Request) -> dict[str, Any]:
    """Send an HTTP request to this machine and read the answer.

    :return: ``sent`` and ``ended`` (nanoseconds), ``bytes_in`` and ``bytes_out`` as the server sees
        them, ``arrivals``: pairs of a time and the bytes that came then, ``response`` as in the
        trace document, and ``body``.
    :raises OSError: nobody answers there.
    """
    outgoing = request.encode()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        sent = time.perf_counter_ns()
        sock.sendall(outgoing)
        incoming, arrivals, ended, cut = _read(sock)
    return {
        "sent": sent, "ended": ended, "bytes_in": len(outgoing), "bytes_out": len(incoming),
        "arrivals": arrivals, "cut": cut, **_parse(request.method, incoming),
    }  # fmt: skip


def _read(sock: socket.socket) -> tuple[bytes, list[tuple[int, int]], int, bool]:
    """All that comes, when how much of it came, when the last did, and whether it was cut."""
    pieces: list[bytes] = []
    arrivals: list[tuple[int, int]] = []
    size, ended = 0, time.perf_counter_ns()
    deadline = time.monotonic() + PATIENCE
    while size < MOST and (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            piece = sock.recv(65536)
        except TimeoutError:
            break
        if not piece:
            return b"".join(pieces), arrivals, ended, False
        ended = time.perf_counter_ns()
        pieces.append(piece)
        size += len(piece)
        if len(arrivals) < _MOST_ARRIVALS:
            arrivals.append((ended, len(piece)))
    return b"".join(pieces), arrivals, ended, True


class _Fake:
    """What :class:`http.client.HTTPResponse` asks of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(self._data)


def _parse(method: str, data: bytes) -> dict[str, Any]:
    answer = http.client.HTTPResponse(_Fake(data), method=method)  # type: ignore[arg-type]
    try:
        answer.begin()
    except (http.client.HTTPException, OSError) as error:
        return {"response": _response(0, f"no HTTP answer: {error!r}", [], b""), "body": b""}
    try:
        body = answer.read()
    except http.client.IncompleteRead as error:
        body = error.partial
    headers = answer.getheaders()
    return {"response": _response(answer.status, answer.reason, headers, body), "body": body}


def _response(
    status: int, reason: str, headers: list[tuple[str, str]], body: bytes
) -> dict[str, Any]:
    return {
        "status": status,
        "reason": reason,
        "headers": [[name, value] for name, value in headers],
        "cookies": _cookies(headers),
        "body_bytes": len(body),
        "body_preview": body[:_PREVIEW].decode("utf-8", "replace"),
    }


def _cookies(headers: list[tuple[str, str]]) -> dict[str, str]:
    cookies: SimpleCookie = SimpleCookie()
    for name, value in headers:
        if name.lower() == "set-cookie":
            try:
                cookies.load(value)
            except CookieError:
                continue
    return {name: morsel.OutputString() for name, morsel in cookies.items()}


# WebSocket.


def talk(port: int, request: Request) -> dict[str, Any]:
    """Open a WebSocket to this machine, say each message, hear until it is quiet, and close.

    :return: as :func:`ask`, with ``heard``: what was received, in order; and ``refused`` where the
        server would not: its status and sentence.
    :raises OSError: nobody answers there.
    """
    return _Talk(port, request).run()


class _Talk:
    def __init__(self, port: int, request: Request) -> None:
        self._request = request
        uri = parse_uri(f"ws://{request.host}:{port}{request.path}")
        given = {name.lower() for name, _ in request.headers}
        # As browsers do: many consumers ask for it.
        origin = None if "origin" in given else f"http://{request.host}:{port}"
        self._protocol = ClientProtocol(uri, origin=cast("Any", origin))
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._bytes_in = self._bytes_out = 0
        self._sent = self._ended = 0
        self._heard: list[str] = []
        self._answer: Response | None = None

    def run(self) -> dict[str, Any]:
        with self._sock:
            handshake = self._protocol.connect()
            for name, value in self._request.headers:
                handshake.headers[name] = value
            self._sent = time.perf_counter_ns()
            self._protocol.send_request(handshake)
            self._flush()
            refused = self._shake_hands()
            if not refused:
                self._converse()
        return self._told(refused)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._sock.sendall(data)
                self._bytes_in += len(data)
            else:
                self._sock.shutdown(socket.SHUT_WR)

    def _hear(self, timeout: float) -> bool:
        """Read once; false when nothing came, or nothing more will."""
        self._sock.settimeout(timeout)
        try:
            data = self._sock.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        if not data:
            self._protocol.receive_eof()
            return False
        self._ended = time.perf_counter_ns()
        self._bytes_out += len(data)
        self._protocol.receive_data(data)
        self._flush()
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self._answer = event
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY):
                self._heard.append(bytes(event.data).decode("utf-8", "replace"))
        return True

    def _shake_hands(self) -> str:
        """Until the server has answered; how it refused, or ``""``."""
        while self._answer is None and self._protocol.handshake_exc is None:
            if not self._hear(PATIENCE):
                break
        error = self._protocol.handshake_exc
        if error is None:
            return "" if self._answer is not None else "no answer"
        if isinstance(error, InvalidStatus):
            self._answer = error.response
            body = bytes(error.response.body or b"").decode("utf-8", "replace").strip()
            return f"{error.response.status_code} {error.response.reason_phrase}: {body}"
        return str(error)

    def _converse(self) -> None:
        for message in self._request.messages or ():
            self._protocol.send_text(message.encode())
            self._flush()
            before = len(self._heard)
            while len(self._heard) == before and self._hear(self._request.quiet):
                pass
        while self._hear(self._request.quiet):
            pass
        if not self._protocol.close_expected():
            self._protocol.send_close(1000)
            self._flush()
            while self._hear(2.0):
                pass

    def _told(self, refused: str) -> dict[str, Any]:
        answer = self._answer
        headers = list(answer.headers.raw_items()) if answer is not None else []
        body = bytes(answer.body or b"") if answer is not None else b""
        status, reason = (0, refused)
        if answer is not None:
            status, reason = answer.status_code, answer.reason_phrase
        told = {
            "sent": self._sent, "ended": self._ended or time.perf_counter_ns(), "cut": False,
            "bytes_in": self._bytes_in, "bytes_out": self._bytes_out, "body": body,
            "response": _response(status, reason, headers, body), "heard": self._heard,
        }  # fmt: skip
        if refused:
            told["refused"] = refused
        elif self._protocol.close_code is not None:
            told["close_code"] = self._protocol.close_code
        told["body"] = body or json.dumps(self._heard).encode()
        return told
