"""A node: one process's place among the processes of its project, and the thread that serves it.

There is no broker. A node that listens has a socket in the runtime folder, and whoever sends
connects to it. Reading, and writing what peers did not take at once, is the work of one thread, so
a node depends on no event loop: it goes on while loops come and go, or hang.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from twogate.realtime.folder import RuntimeFolder
from twogate.realtime.frames import Frame, FrameDecoder
from twogate.realtime.links import Link, Links
from twogate.realtime.statistics import Drops

__all__ = ["NAME_LENGTH", "Node", "Receiver"]

logger = logging.getLogger("twogate.realtime")

_T = TypeVar("_T")

#: Characters of a node's name.
NAME_LENGTH = 12
#: Connections that wait to be accepted while we are busy; each is a process.
QUEUE = 1024
READ_SIZE = 1 << 17
#: Seconds that the last messages may take to be written at the end of a process.
LAST_WORDS = 1.0
#: No descriptor or memory is left for another connection.
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
#: Seconds until the next try.
_EXHAUSTED_PAUSE = 0.1


class Receiver(Protocol):
    """Whom a node gives what comes. Its thread calls all methods."""

    def receive(self, frames: list[Frame]) -> None:
        """Frames came from one peer, in the order it sent them."""

    def tick(self) -> float | None:
        """Keep house; in how many seconds to call again, ``None`` for not before :meth:`poke`."""

    def end(self) -> None:
        """The node has left; there will be no more."""


class Node:
    """One process's node. All methods may be called by any thread.

    :param max_body: the longest body of a frame that is taken, in bytes.
    :param backlog: bytes that may wait for each peer.
    :ivar name: unlike that of any other node, now or later.
    :ivar broken_links: connections that were closed because garbage came from them.
    """

    def __init__(
        self, folder: RuntimeFolder, receiver: Receiver, max_body: int, backlog: int, drops: Drops
    ) -> None:
        self.name = secrets.token_hex(NAME_LENGTH // 2)
        self.links = Links(folder, backlog, drops, self._write_later)
        self.broken_links = 0
        self._folder = folder
        self._receiver = receiver
        self._max_body = max_body
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._closing = False
        self._errands: deque[Callable[[], object]] = deque()
        self._bell, self._rope = socket.socketpair()
        self._bell.setblocking(False)
        self._rope.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._buffer = memoryview(bytearray(READ_SIZE))

    def peers(self) -> frozenset[str]:
        """The names of all other nodes."""
        peers = self._folder.nodes() - {self.name}
        self.links.keep_only(peers)
        return peers

    def listen(self) -> None:
        """Have a socket in the folder. Cheap when it is there; puts it back if it was removed.

        :raises ConfigError: the folder is not safe.
        """
        if self._listener is not None and self.name in self._folder.nodes():
            return
        with self._lock:
            if not self._closing:
                self._listen()

    def _listen(self) -> None:
        self._folder.prepare()
        self._bury_the_dead()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setblocking(False)
        # Not seen before it listens: a socket that refuses connections counts as dead.
        hidden = self._folder.socket_path(f".{self.name}")
        listener.bind(hidden)
        listener.listen(QUEUE)
        Path(hidden).rename(self._folder.socket_path(self.name))
        self._run_errand(partial(self._serve, listener, self._listener))
        self._listener = listener

    def _bury_the_dead(self) -> None:
        self._folder.remove_unfinished()
        for name in self._folder.nodes():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.setblocking(False)
                try:
                    probe.connect(self._folder.socket_path(name))
                except ConnectionRefusedError:
                    self._folder.remove(name)
                except OSError:
                    pass

    def poke(self) -> None:
        """Have :meth:`Receiver.tick` called."""
        self._run_errand(_nothing)

    def close(self, wait: bool = True) -> None:
        """Leave; what waits for others is written first, for a second at most.

        Takes no lock, because the collector may call it anywhere. Nobody must use the node after.

        :param wait: return when that is done; else the thread does it.
        """
        if self._closing or self._pid != os.getpid():  # forked: it is another process's node
            return
        self._closing = True
        thread = self._thread
        if thread is None:
            self._leave()
            return
        self._ring()
        if wait and thread is not threading.current_thread():
            thread.join()

    def abandon(self) -> None:
        """After a fork, in the child: close our copies. Takes no lock; who held one is not here."""
        self.links.abandon()
        self._close_sockets()
        self._folder.release()

    def _run_errand(self, errand: Callable[[], object]) -> None:
        """Have the thread do something; start it if it is the first thing."""
        self._errands.append(errand)
        if self._thread is None:
            self._start_thread()
        self._ring()

    def _start_thread(self) -> None:
        with self._lock:
            if self._thread is None and not self._closing:
                thread = threading.Thread(target=self._run, name="twogate-realtime", daemon=True)
                with contextlib.suppress(RuntimeError):  # the interpreter is ending
                    thread.start()
                    self._thread = thread

    def _ring(self) -> None:
        try:
            self._rope.send(b"\0")
        except OSError:  # it is ringing already, or all is over
            pass

    def _write_later(self, link: Link) -> None:
        self._run_errand(
            partial(
                self._selector.register, link, selectors.EVENT_WRITE, partial(self._write, link)
            )
        )

    # The thread

    def _run(self) -> None:
        self._selector.register(self._bell, selectors.EVENT_READ, self._answer)
        while not self._closing:
            for key, _ in self._selector.select(_guarded(self._receiver.tick)):
                _guarded(key.data)
            while self._errands:
                _guarded(self._errands.popleft())
        self._leave()

    def _leave(self) -> None:
        if self._listener is not None:
            self._folder.remove(self.name)
        self.links.finish(LAST_WORDS, wait_for_peers=False)
        self._close_sockets()
        self._folder.release()
        self._receiver.end()

    def _close_sockets(self) -> None:
        for key in list(self._selector.get_map().values()):
            watched: Any = key.fileobj
            (watched.sock if isinstance(watched, Link) else watched).close()
        self._selector.close()
        for sock in (self._bell, self._rope, self._listener):
            if sock is not None:
                sock.close()

    def _answer(self) -> None:
        self._bell.recv(4096)

    def _serve(self, listener: socket.socket, former: socket.socket | None) -> None:
        if former is not None:
            self._selector.unregister(former)
            former.close()
        self._selector.register(listener, selectors.EVENT_READ, partial(self._accept, listener))

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                time.sleep(_EXHAUSTED_PAUSE)
            return
        sock.setblocking(False)
        decoder = FrameDecoder(self._max_body)
        self._selector.register(sock, selectors.EVENT_READ, partial(self._read, sock, decoder))

    def _read(self, sock: socket.socket, decoder: FrameDecoder) -> None:
        try:
            size = sock.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if size:
            frames = decoder.feed(self._buffer[:size])
            if frames:
                self._receiver.receive(frames)
            if not decoder.error:
                return
            self.broken_links += 1
            logger.warning("Closed a connection of another process: %s.", decoder.error)
        self._selector.unregister(sock)
        sock.close()

    def _write(self, link: Link) -> None:
        try:
            done = link.flush()
        except OSError:
            self.links.discard(link)
            done = True
        if not done:
            return
        self._selector.unregister(link)
        if link.closed:
            link.sock.close()


def _nothing() -> None:
    pass


def _guarded(call: Callable[[], _T]) -> _T | None:
    """The thread must outlive whatever is wrong with one call."""
    try:
        return call()
    except Exception:
        logger.exception("The thread for other processes met an error and goes on.")
        return None
