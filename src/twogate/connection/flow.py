"""Backpressure towards the peer: how much may be written before the writer must wait."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["FileSender", "WriteFlow"]

#: Bytes handed to one sendfile call: large enough to be cheap, small enough for a turn of the loop.
_SENDFILE_BLOCK = 262144


class WriteFlow:
    """Tells whether the peer keeps up, and calls back once it does again."""

    __slots__ = ("_waiters", "writable")

    def __init__(self) -> None:
        self.writable = True
        self._waiters: list[Callable[[], None]] = []

    def pause(self) -> None:
        """The transport's buffer is above its high-water mark."""
        self.writable = False

    def resume(self) -> None:
        """The transport's buffer is low again, or there is no transport any more."""
        self.writable = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter()

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call back as soon as more may be written."""
        if self.writable:
            callback()
        else:
            self._waiters.append(callback)


class FileSender:
    """Copies a regular file to a socket inside the kernel (sendfile).

    uvloop has no ``loop.sendfile``; a duplicate of the socket's descriptor is watched instead.
    The transport's own buffer must be empty when this starts.

    :param loop: the running loop.
    :param socket_fd: the connection's descriptor; duplicated here.
    :param file_fd: taken over, and closed in the end.
    :param offset: where in the file to begin, in bytes.
    :param count: how many bytes to send.
    :param done: called with the number of bytes that were not sent: 0 on success.
    """

    __slots__ = ("_count", "_done", "_file", "_loop", "_offset", "_socket")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket_fd: int,
        file_fd: int,
        offset: int,
        count: int,
        done: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._file = file_fd
        self._offset = offset
        self._count = count
        self._done = done
        self._socket = os.dup(socket_fd)
        self._loop.add_writer(self._socket, self._step)

    @property
    def left(self) -> int:
        """Bytes still to send."""
        return self._count

    def _step(self) -> None:
        try:
            sent = os.sendfile(
                self._socket, self._file, self._offset, min(self._count, _SENDFILE_BLOCK)
            )
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        self._offset += sent
        self._count -= sent
        if self._count == 0 or sent == 0:
            self.close()

    def close(self) -> None:
        """Stop, give the descriptors back and report; does nothing the second time."""
        if self._socket < 0:
            return
        self._loop.remove_writer(self._socket)
        os.close(self._socket)
        os.close(self._file)
        self._socket = -1
        self._done(self._count)
