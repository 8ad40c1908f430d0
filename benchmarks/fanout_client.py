"""Many WebSockets, one of which speaks, and a count of what all of them are sent.

Runs as a process of its own: ``fanout_client.py PORT PATH SOCKETS SECONDS BATCH WORKERS`` prints
one JSON object. It reads with plain system calls into one buffer and counts bytes, so that a
delivery costs it less than any server; ``busy`` says how much of a processor it used all the same.
Near 1 it would be the limit, and not the server. BATCH messages (SO_RCVLOWAT) make a socket worth
reading: more than one for a server that is quick, or else the client is busier than it.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import Counter

from websocket_client import ANSWER, FRAME, TEXT, handshake

#: Messages under way at once: enough to keep a server busy, and fewer than the 100 after which
#: Channels' in-memory layer drops.
DEPTH = 8
#: Part of the time that is not counted, at the beginning.
WARM_UP = 0.2
TIMEOUT = 20.0
#: Sockets opened for each that is wanted, at most, until all workers have their share.
TRIES = 50
QUESTION = FRAME[: -len(TEXT)] + b"which process is it that answers"


def open_socket(port: int, path: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    client.sendall(handshake(port, path))
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = client.recv(4096)
        if not piece:
            raise SystemExit(f"the server refused the WebSocket: {answer!r}")
        answer += piece
    if not answer.startswith(b"HTTP/1.1 101") or not answer.endswith(b"\r\n\r\n"):
        raise SystemExit(f"the server refused the WebSocket: {answer!r}")
    client.setblocking(False)
    return client


def open_sockets(port: int, path: str, count: int, workers: int) -> list[socket.socket]:
    """Sockets of which each worker has the same share; those it has too many of are closed."""
    if workers == 1:
        return [open_socket(port, path) for _ in range(count)]
    clients: list[socket.socket] = []
    shares: Counter[bytes] = Counter()
    for _ in range(TRIES * count):
        client = open_socket(port, path)
        process = ask(client)
        if shares[process] < count // workers:
            shares[process] += 1
            clients.append(client)
        else:
            client.close()
        if len(clients) == count:
            return clients
    raise SystemExit(f"the workers took {sorted(shares.values())} sockets, {count} were meant")


def ask(client: socket.socket) -> bytes:
    """Which process is at the other end; what is said to others meanwhile is for nobody yet."""
    client.settimeout(TIMEOUT)
    client.sendall(QUESTION)
    answer = client.recv(len(ANSWER), socket.MSG_WAITALL)
    client.setblocking(False)
    return answer


class FanOut:
    """All sockets; the first one speaks."""

    def __init__(self, clients: list[socket.socket], batch: int) -> None:
        self.speaker = clients[0]
        self.receivers = {client.fileno(): client.recv_into for client in clients}
        self.round = len(ANSWER) * len(clients)
        self.poll = select.epoll()
        for client in clients:
            self.poll.register(client, select.EPOLLIN)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, batch * len(ANSWER))
        self.clients = clients
        self.buffer = bytearray(65536)
        self.sent = 0
        self.received = 0

    def run(self, seconds: float) -> None:
        """Keep :data:`DEPTH` messages under way for so long."""
        now = time.perf_counter()
        end, progress = now + seconds, now
        receivers, buffer = self.receivers, self.buffer
        while now < end:
            while self.sent < self.received // self.round + DEPTH:
                self.speaker.send(FRAME)
                self.sent += 1
            ready = self.poll.poll(0.5)
            for descriptor, _ in ready:
                size = receivers[descriptor](buffer)
                if not size:
                    raise SystemExit("a WebSocket was closed")
                self.received += size
            now = time.perf_counter()
            if ready:
                progress = now
            elif now - progress > TIMEOUT:
                raise SystemExit("the server stopped sending: were messages dropped?")

    def finish(self) -> None:
        """One last message, then wait for what is under way: all must come as it was sent."""
        for client in self.clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self.speaker.send(FRAME)
        self.sent += 1
        receivers, due, last = self.receivers, self.sent * self.round, b""
        while self.received < due:
            ready = self.poll.poll(TIMEOUT)
            if not ready:
                raise SystemExit(f"{due - self.received} bytes never came")
            for descriptor, _ in ready:
                size = receivers[descriptor](self.buffer)
                last = bytes(self.buffer[:size])
                self.received += size
        if self.received != due or not last.endswith(ANSWER[-8:]):
            raise SystemExit(f"not what was sent: {last[-80:]!r}")


def main(port: int, path: str, sockets: int, seconds: float, batch: int, workers: int) -> None:
    fan_out = FanOut(open_sockets(port, path, sockets, workers), batch)
    fan_out.run(seconds * WARM_UP)
    before, start, work = fan_out.received, time.perf_counter(), time.process_time()
    fan_out.run(seconds)
    elapsed, work = time.perf_counter() - start, time.process_time() - work
    deliveries = (fan_out.received - before) / len(ANSWER)
    fan_out.finish()
    print(json.dumps({"rate": deliveries / elapsed, "busy": work / elapsed}))


if __name__ == "__main__":
    port, path, sockets, seconds, batch, workers = sys.argv[1:]
    main(int(port), path, int(sockets), float(seconds), int(batch), int(workers))
