"""Which worker of a server takes a connection: the kernel gives it to any that is awake."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = ["asleep"]


@contextmanager
def asleep(pids: Iterable[int]) -> Iterator[None]:
    """Let these workers stand still, so that the others take the connections made meanwhile.

    For moments only: the supervisor replaces a worker that stands still for long.
    """
    stopped = tuple(pids)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
