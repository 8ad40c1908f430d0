"""The line between the supervisor and one of its children: short messages, one way.

A socket pair. The child writes lines, the supervisor reads them without waiting; the supervisor
talks back by signals only. When the supervisor dies, however it dies, the child's end reads EOF,
because nobody else holds the other one.
"""

from __future__ import annotations

import json
import select
import socket
from typing import NamedTuple, TypeAlias

__all__ = ["ChildEnd", "Message", "SupervisorEnd", "open_channel"]

Data: TypeAlias = str | int | list[str]


class Message(NamedTuple):
    """What a child says.

    ==========  ====================  ========================================================
    kind        data                  meaning
    ==========  ====================  ========================================================
    ready       notes, list of str    a worker accepts connections
    beat        connections, int      a worker's loop runs, and how many clients it has
    retiring    ""                    a worker reached ``--max-requests`` and wants a successor
    failed      message, traceback    a worker could not load or start what it should serve
    changed     the files, list       the watcher saw code change
    ==========  ====================  ========================================================
    """

    kind: str
    data: Data = ""


class ChildEnd:
    """The end that a child writes to. Any thread."""

    __slots__ = ("_sock",)

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def tell(self, kind: str, data: Data = "") -> None:
        """Send a message, waiting if need be; says nothing when the supervisor is gone."""
        try:
            self._sock.sendall(_encode(kind, data))
        except OSError:
            pass

    def beat(self, connections: int) -> None:
        """Say that the loop runs; never waits, a lost beat does no harm."""
        try:
            self._sock.send(_encode("beat", connections), socket.MSG_DONTWAIT)
        except OSError:  # BlockingIOError: the supervisor is stopped and has a full buffer to read
            pass

    def wait_for_end(self, timeout: float | None = None) -> bool:
        """Wait until the supervisor is gone.

        :param timeout: seconds; ``None`` waits for ever.
        :return: whether it is gone.
        """
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))


class SupervisorEnd:
    """The end that the supervisor reads from, without ever waiting."""

    __slots__ = ("_partial", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._partial = b""

    def fileno(self) -> int:
        """For a selector."""
        return self._sock.fileno()

    def receive(self) -> list[Message] | None:
        """The messages that are there; ``None`` once the child has closed its end."""
        data = self._partial
        ended = False
        try:
            while piece := self._sock.recv(65536):
                data += piece
            ended = True
        except BlockingIOError:
            pass
        except OSError:
            ended = True
        *lines, self._partial = data.split(b"\n")
        if ended and not lines:
            return None
        return [_decode(line) for line in lines]

    def close(self) -> None:
        """Close this end."""
        self._sock.close()


def open_channel() -> tuple[SupervisorEnd, socket.socket]:
    """Make a channel: the supervisor's end, and the socket for :class:`ChildEnd`."""
    ours, theirs = socket.socketpair()
    return SupervisorEnd(ours), theirs


def _encode(kind: str, data: Data) -> bytes:
    return json.dumps([kind, data]).encode() + b"\n"


def _decode(line: bytes) -> Message:
    kind, data = json.loads(line)
    return Message(kind, data)
