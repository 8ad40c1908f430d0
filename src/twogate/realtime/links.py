"""The sending side of a node: one connection to each peer, and what waits for it.

Any thread sends, and none ever waits: what a peer does not read is kept, up to a limit, and written
by the node's own thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from twogate.realtime.folder import RuntimeFolder
from twogate.realtime.statistics import Drops, Reason

__all__ = ["Link", "Links"]


class Link:
    """A connection to one peer.

    :param limit: bytes that may wait.
    :param watch: called when something begins to wait: :meth:`flush` must be called in time.
    :ivar backlog: bytes that wait.
    """

    __slots__ = ("_limit", "_lock", "_waiting", "_watch", "_watched", "backlog", "closed", "sock")

    def __init__(self, sock: socket.socket, limit: int, watch: Callable[[Link], None]) -> None:
        self.sock = sock
        self.closed = False
        self.backlog = 0
        self._limit = limit
        self._watch = watch
        self._watched = False
        self._lock = threading.Lock()
        self._waiting: deque[memoryview] = deque()

    def fileno(self) -> int:
        """For a selector."""
        return self.sock.fileno()

    def send(self, frame: bytes) -> bool:
        """Write a frame, or keep it for later; ``False`` when there is no room for it.

        :raises OSError: the peer is gone.
        """
        with self._lock:
            if self.closed:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            if self._waiting and self.backlog + len(frame) > self._limit:
                return False
            written = 0 if self._waiting else self._write(frame)
            if written < len(frame):
                # Part of a frame must be followed by the rest, whatever the limit.
                self._waiting.append(memoryview(frame)[written:])
                self.backlog += len(frame) - written
                if not self._watched:
                    self._watched = True
                    self._watch(self)
            return True

    def flush(self) -> bool:
        """Write what waits, as far as the peer takes it; whether to stop watching.

        :raises OSError: the peer is gone.
        """
        with self._lock:
            while self._waiting:
                piece = self._waiting[0]
                written = self._write(piece)
                self.backlog -= written
                if written < len(piece):
                    self._waiting[0] = piece[written:]
                    return False
                self._waiting.popleft()
            self._watched = False
            return True

    def close(self) -> int:
        """Close the connection; how many frames are lost with it."""
        with self._lock:
            lost = len(self._waiting)
            self._waiting.clear()
            self.backlog = 0
            self.closed = True
            if self._watched:  # then whoever watches sees the end and closes: not under its hands
                with contextlib.suppress(OSError):
                    self.sock.shutdown(socket.SHUT_RDWR)
            else:
                self.sock.close()
            return lost

    def finish(self, deadline: float, wait_for_peer: bool) -> None:
        """Write what waits, for as long as there is time, and say that no more will come.

        :param deadline: by :func:`time.monotonic`.
        :param wait_for_peer: wait until the peer has dealt with all of it, too.
        """
        with contextlib.suppress(OSError):
            while not self.flush():
                if not _wait(self.sock, select.POLLOUT, deadline):
                    return
            self.sock.shutdown(socket.SHUT_WR)
            if wait_for_peer:
                _wait(self.sock, select.POLLIN, deadline)

    def _write(self, data: bytes | memoryview) -> int:
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0


def _wait(sock: socket.socket, event: int, deadline: float) -> bool:
    poll = select.poll()
    poll.register(sock, event)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))


class Links:
    """All of a node's links, by the name of the peer.

    :param limit: bytes that may wait for each peer.
    :param watch: see :class:`Link`.
    """

    def __init__(
        self, folder: RuntimeFolder, limit: int, drops: Drops, watch: Callable[[Link], None]
    ) -> None:
        self._folder = folder
        self._limit = limit
        self._drops = drops
        self._watch = watch
        self._lock = threading.Lock()
        self._links: dict[str, Link] = {}

    def send(self, peer: str, frame: bytes) -> Reason | None:
        """Send a frame to one peer.

        :return: ``None`` when it is on its way; ``"backlog"`` when the peer has too much to read
            already; ``"gone"`` when there is no such peer.
        """
        for _ in range(2):  # once more if the connection broke since it was used last
            try:
                link = self._links.get(peer) or self._connect(peer)
            except BlockingIOError:  # it does not even accept connections
                return "backlog"
            except ConnectionRefusedError:  # nobody listens: its process was killed
                self._folder.remove(peer)
                return "gone"
            except FileNotFoundError:
                return "gone"
            try:
                return None if link.send(frame) else "backlog"
            except OSError:
                self.discard(link)
        return "gone"

    def send_to_all(self, peers: Iterable[str], frame: bytes) -> int:
        """Send a frame to all of these; how many have too much to read already."""
        return sum(self.send(peer, frame) == "backlog" for peer in peers)

    def keep_only(self, peers: frozenset[str]) -> None:
        """Close the links to others: they are gone."""
        if self._links.keys() <= peers:
            return
        with self._lock:
            others = [link for peer, link in self._links.items() if peer not in peers]
        for link in others:
            self.discard(link)

    def discard(self, link: Link) -> None:
        """Close a link that is broken, or whose peer is gone."""
        with self._lock:
            for peer in [peer for peer, one in self._links.items() if one is link]:
                del self._links[peer]
        self._drops.add("gone", link.close(), "a broken connection")

    def finish(self, timeout: float, wait_for_peers: bool) -> None:
        """Close all links when what waits is written; blocks for so many seconds at most.

        :param wait_for_peers: return when the peers have dealt with all that was sent.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            links = list(self._links.values())
        for link in links:
            link.finish(deadline, wait_for_peers)
        for link in links:
            self.discard(link)

    def abandon(self) -> None:
        """Close our copies of the sockets, after a fork."""
        for link in self._links.values():
            link.sock.close()

    def sizes(self) -> tuple[int, int]:
        """How many links there are, and how many bytes wait in all."""
        with self._lock:
            return len(self._links), sum(link.backlog for link in self._links.values())

    def _connect(self, peer: str) -> Link:
        with self._lock:
            if peer in self._links:
                return self._links[peer]
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)
                sock.connect(self._folder.socket_path(peer))
            except OSError:
                sock.close()
                raise
            link = self._links[peer] = Link(sock, self._limit, self._watch)
            return link
