"""Thousands of WebSockets that wait: they answer pings and count what comes.

Runs as a process of its own: ``idle_client.py PORT PATH ADDRESS``. ADDRESS is its own on the
loopback, so that ports do not run short. It takes commands, a line each, and answers with a JSON
object each: ``open COUNT`` more sockets, ``speak`` (the first one says 32 bytes), ``state``.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from typing import Any

from websocket_client import FRAME, MASK, handshake

TIMEOUT = 30.0
_TEXT, _CLOSE, _PING = 0x81, 0x88, 0x89
#: Sockets opened between two looks at what has come for the others: a ping waits for 20 s.
_AT_A_TIME = 20


class Crowd:
    """All sockets of this process.

    :ivar closed: sockets that the server has closed.
    :ivar messages: texts that came, on all of them.
    :ivar last: when the last one came, by the clock of all processes (CLOCK_MONOTONIC).
    """

    def __init__(self, port: int, path: str, address: str) -> None:
        self._server = ("127.0.0.1", port)
        self._request = handshake(port, path)
        self._address = address
        self._sockets: dict[int, socket.socket] = {}
        self._partial: dict[int, bytes] = {}
        self._poll = select.epoll()
        self.closed = self.messages = self.pings = 0
        self.last = 0.0

    def open(self, count: int) -> None:
        for number in range(count):
            client = socket.create_connection(self._server, TIMEOUT, (self._address, 0))
            client.sendall(self._request)
            answer = b""
            while b"\r\n\r\n" not in answer:
                piece = client.recv(4096)
                if not piece:
                    raise SystemExit(f"the server refused the WebSocket: {answer!r}")
                answer += piece
            head, _, rest = answer.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101"):
                raise SystemExit(f"the server refused the WebSocket: {head!r}")
            client.setblocking(False)
            self._sockets[client.fileno()] = client
            self._poll.register(client, select.EPOLLIN)
            if rest:
                self._take(client, rest)
            if number % _AT_A_TIME == 0:
                self.look(0)

    def look(self, timeout: float, *, also: int = -1) -> bool:
        """Read what has come.

        :param also: a descriptor that ends the waiting, too; whether it did is returned.
        """
        ready = self._poll.poll(timeout)
        for descriptor, _ in ready:
            client = self._sockets.get(descriptor)
            if client is not None:
                self._read(client)
        return any(descriptor == also for descriptor, _ in ready)

    def watch(self, descriptor: int) -> None:
        self._poll.register(descriptor, select.EPOLLIN)

    def _read(self, client: socket.socket) -> None:
        try:
            data = client.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(client, data)
        else:
            self._forget(client)

    def _take(self, client: socket.socket, data: bytes) -> None:
        """Whole frames, all of them short; what is left of one is kept."""
        descriptor = client.fileno()
        data = self._partial.pop(descriptor, b"") + data
        while len(data) >= 2 and len(data) >= 2 + data[1]:
            first, payload = data[0], data[2 : 2 + data[1]]
            data = data[2 + len(payload) :]
            if first == _TEXT:
                self.messages += 1
                self.last = time.monotonic()
            elif first == _PING:
                self.pings += 1
                client.send(bytes((0x8A, 0x80 | len(payload))) + MASK + payload)
            elif first == _CLOSE:
                self._forget(client)
                return
        if data:
            self._partial[descriptor] = data

    def _forget(self, client: socket.socket) -> None:
        self.closed += 1
        del self._sockets[client.fileno()]
        self._poll.unregister(client)
        client.close()

    def speak(self) -> float:
        """Let the first one speak; says when."""
        at = time.monotonic()
        next(iter(self._sockets.values())).send(FRAME)
        return at

    def state(self) -> dict[str, Any]:
        return {
            "open": len(self._sockets),
            "closed": self.closed,
            "messages": self.messages,
            "pings": self.pings,
            "last": self.last,
        }


def main(port: int, path: str, address: str) -> None:
    crowd = Crowd(port, path, address)
    commands = sys.stdin.fileno()
    crowd.watch(commands)
    while True:
        if not crowd.look(1.0, also=commands):
            continue
        words = os.read(commands, 4096).decode().split()
        if not words:
            return  # whoever started us is gone, or has seen enough
        answer: dict[str, Any] = {}
        if words[0] == "open":
            crowd.open(int(words[1]))
        elif words[0] == "speak":
            answer["at"] = crowd.speak()
        print(json.dumps({**crowd.state(), **answer}), flush=True)


if __name__ == "__main__":
    port, path, address = sys.argv[1:]
    main(int(port), path, address)
