"""P11 and P12: memory, while a large transfer meets a slow other side, and at rest."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable

from measure import Figures, Measure, Metric, Settings
from processes import Server, peak, proportional, reset_peak, resident
from targets import Target

MIB = 1 << 20
PIECE = b"x" * 65536
RATE = 1e6
#: A server that keeps this much has failed; filling the machine would teach nothing more.
ENOUGH = 512 * MIB
TRANSFER_TIMEOUT = 180.0
SAMPLE_EVERY = 0.1

P11_TARGETS = {
    "twogate",
    "granian WSGI, 1 thread",
    "gunicorn gthread, 4 threads",
    "granian ASGI",
    "uvicorn",
    "hypercorn",
    "daphne",
}


class Watch:
    """How far a server's resident memory grows beyond what it was at first."""

    def __init__(self, server: Server) -> None:
        self._pids = server.pids()
        for pid in self._pids:
            reset_peak(pid)
        self._before = {pid: resident(pid) for pid in self._pids}
        self._next = 0.0
        self._deadline = time.monotonic() + TRANSFER_TIMEOUT

    def growth(self) -> int:
        """Bytes; the kernel remembers the peak, so nothing between two looks is missed."""
        return sum(max(0, peak(pid) - self._before[pid]) for pid in self._pids)

    def too_much(self) -> bool:
        """Look now and then.

        :raises TimeoutError: the transfer does not come to an end.
        """
        now = time.monotonic()
        if now < self._next:
            return False
        if now > self._deadline:
            raise TimeoutError("the transfer took too long")
        self._next = now + SAMPLE_EVERY
        return self.growth() > ENOUGH


def connect(server: Server) -> socket.socket:
    """A client with a small window, so that a slow reader is felt at once."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.settimeout(TRANSFER_TIMEOUT)
    client.connect(("127.0.0.1", server.port))
    return client


def download(server: Server, path: str, size: int, slow: float, watch: Watch | None) -> None:
    """Read a streamed response, at 1 MB/s for ``slow`` seconds."""
    with connect(server) as client:
        client.sendall(
            f"GET {path}?size={size} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode()
        )
        received, start = 0, time.monotonic()
        while piece := client.recv(65536):
            received += len(piece)
            if watch is not None and watch.too_much():
                return
            if time.monotonic() - start < slow:
                time.sleep(len(piece) / RATE)
    if received < size:
        raise TimeoutError(f"{path} ended after {received} bytes")


def upload(server: Server, path: str, size: int, slow: float, watch: Watch | None) -> None:
    """Send a body as fast as the server takes it; the view reads 1 MB/s for ``slow`` seconds."""
    with connect(server) as client:
        client.sendall(
            f"POST {path}?slow={slow} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n"
            f"Content-Length: {size}\r\n\r\n".encode()
        )
        client.settimeout(SAMPLE_EVERY)
        sent = 0
        while sent < size:
            if watch is not None and watch.too_much():
                return
            try:
                sent += client.send(PIECE[: size - sent])
            except TimeoutError:
                continue
        read_answer(client, size, watch)


def read_answer(client: socket.socket, size: int, watch: Watch | None) -> None:
    """The view answers with the number of bytes it has read."""
    answer = b""
    while not answer.endswith(str(size).encode()):
        if watch is not None and watch.too_much():
            return
        try:
            piece = client.recv(65536)
        except TimeoutError:
            continue
        if not piece:
            break
        answer += piece
    if str(size).encode() not in answer:
        raise TimeoutError(f"the upload was answered with {answer[-200:]!r}")


def growth_of(
    transfer: Callable[..., None], server: Server, path: str, settings: Settings
) -> float:
    """A small transfer to warm up, then the large one; MiB."""
    transfer(server, path, len(PIECE), 0, None)
    watch = Watch(server)
    transfer(server, path, settings.size, settings.slow, watch)
    return watch.growth() / MIB


def transfers(server: Server, settings: Settings) -> Figures:
    """Both directions, through each gateway the server has."""
    figures = {}
    for gate, suffix in (("wsgi", ""), ("asgi", "_async")):
        if gate in server.target.gates:
            for name, transfer in (("stream", download), ("upload", upload)):
                path = f"/{name}{suffix}/"
                figures[f"{name} {gate}"] = growth_of(transfer, server, path, settings)
    return figures


def ask(server: Server, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", path)
    connection.getresponse().read()
    connection.close()


def at_rest(server: Server, settings: Settings) -> Figures:
    """After one page, so that everything is loaded."""
    ask(server, "/hello/")
    return {
        "worker RSS": resident(server.worker()) / MIB,
        "worker PSS": proportional(server.worker()) / MIB,
        "all PSS": sum(map(proportional, server.pids())) / MIB,
    }


def moves_much(target: Target) -> bool:
    return target.name in P11_TARGETS


def grown(name: str) -> Metric:
    return Metric(name, "MiB", lower_is_better=True, ratio=False)


MEASURES = (
    Measure(
        "P11",
        "Growth of resident memory: a large stream to a slow reader, a large upload to a slow view",
        "at most 8 MiB, through either gateway",
        tuple(map(grown, ("stream wsgi", "upload wsgi", "stream asgi", "upload asgi"))),
        moves_much,
        transfers,
        every_round=False,
        needs_wrk=False,
    ),
    Measure(
        "P12",
        "Memory at rest, project loaded; PSS shares out the pages that processes have in common",
        "the worker at most 5 MiB above the leanest peer's",
        (
            Metric("worker RSS", "MiB", lower_is_better=True),
            Metric("worker PSS", "MiB", lower_is_better=True, ratio=False),
            Metric("all PSS", "MiB", lower_is_better=True),
        ),
        lambda target: target.does("sync"),
        at_rest,
        every_round=False,
        needs_wrk=False,
    ),
)
