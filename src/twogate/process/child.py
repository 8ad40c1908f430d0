"""A child process: how it is born, what the supervisor knows of it, and how it leaves.

The fork is made so that no signal handler of the supervisor ever runs in the child, and no signal
that the supervisor may send finds it without one. Holds no
policy: when to fork, stop or kill is the supervisor's business.
"""

from __future__ import annotations

import atexit
import enum
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, Protocol

from twogate.process.channel import ChildEnd, SupervisorEnd, open_channel

if TYPE_CHECKING:
    from twogate.process.supervisor import Slot

__all__ = ["TRANSITIONS", "Child", "Closable", "State", "fork", "leave", "leave_when_told"]

#: What a terminal, or ``pkill``, sends to every process of a group: the supervisor decides.
_LEFT_TO_THE_SUPERVISOR = (
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGTTIN,
    signal.SIGTTOU,
)


class State(enum.Enum):
    """Where a worker is in its life, as the supervisor sees it."""

    STARTING = "starting"
    SERVING = "serving"
    RETIRING = "retiring"
    STOPPING = "stopping"
    ABORTED = "aborted"
    KILLED = "killed"


#: From each state, those that may follow; every one may end in death. docs/design/0005 draws it.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.STARTING: frozenset((State.SERVING, State.STOPPING, State.KILLED)),
    State.SERVING: frozenset((State.RETIRING, State.STOPPING, State.ABORTED)),
    State.RETIRING: frozenset((State.STOPPING, State.ABORTED)),
    State.STOPPING: frozenset((State.KILLED,)),
    State.ABORTED: frozenset((State.KILLED,)),
    State.KILLED: frozenset(),
}


class Child:
    """What the supervisor knows of one child process.

    :ivar pid: its process id.
    :ivar channel: what it says arrives here.
    :ivar slot: the place it fills; ``None`` once another has taken it, so that its end is no loss.
    :ivar state: see :class:`State`.
    :ivar born: when it was forked; all times in seconds of :func:`time.monotonic`.
    :ivar heard: when it was last heard of.
    :ivar deadline: when the next harder signal is due; ``None`` when none is.
    :ivar connections: how many it had when last heard of.
    :ivar failure: message and traceback when it said that it cannot start.
    """

    __slots__ = (
        "born",
        "channel",
        "connections",
        "deadline",
        "failure",
        "heard",
        "pid",
        "slot",
        "state",
    )

    def __init__(self, pid: int, channel: SupervisorEnd, slot: Slot | None) -> None:
        self.pid = pid
        self.channel = channel
        self.slot = slot
        self.state = State.STARTING
        self.born = self.heard = time.monotonic()
        self.deadline: float | None = None
        self.connections = 0
        self.failure: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return f"<Child {self.pid} {self.state.value}>"

    def become(self, state: State, deadline: float | None = None) -> None:
        """Go on to another state."""
        assert state in TRANSITIONS[self.state], f"{self!r} cannot become {state.value}"
        self.state = state
        self.deadline = deadline

    def signal(self, number: int) -> None:
        """Send a signal; a child that is not reaped keeps its pid, so it hits nobody else."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass


class Closable(Protocol):
    """A file descriptor in some wrapping."""

    def close(self) -> object:
        """Close it."""


def fork(
    main: Callable[[ChildEnd], int], title: str, closing: Iterable[Closable]
) -> tuple[int, SupervisorEnd]:
    """Run ``main`` in a child process, which ends with the status it returns.

    :param title: the process title, shown when setproctitle is installed.
    :param closing: what the child inherits and must not keep, the other children's channels first
        of all: their EOF is how a child learns of the supervisor's death.
    :return: the child's pid and the supervisor's end of its channel.
    :raises OSError: the system has no process or file descriptor to spare.
    """
    ours, theirs = open_channel()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _live(main, ChildEnd(theirs), title, [ours, *closing], mask)
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
    return pid, ours


def _live(
    main: Callable[[ChildEnd], int],
    channel: ChildEnd,
    title: str,
    closing: Iterable[Closable],
    mask: Iterable[int],
) -> NoReturn:
    status = 1
    try:
        _forget(closing)
        _set_title(title)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        status = main(channel)
    except BaseException:
        traceback.print_exc()
    finally:  # whatever happens, a child never returns into the supervisor's code
        leave(status, wait=status == 0)


def _forget(closing: Iterable[Closable]) -> None:
    """Forget the supervisor's signal handlers and files. Signals are blocked."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        # SIG_IGN stays, as nohup wants, and so do handlers that Python did not set.
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    for number in _LEFT_TO_THE_SUPERVISOR:
        # A handler, not SIG_IGN: programs that the project starts must not inherit this.
        signal.signal(number, _do_nothing)
    leave_when_told()
    for resource in closing:
        resource.close()


def leave_when_told(*more: int) -> None:
    """Until a process says otherwise, SIGTERM and SIGQUIT make it leave in order: from its first
    moment to its last no signal kills it.

    :param more: other signals that do the same.
    """
    for number in (signal.SIGTERM, signal.SIGQUIT, *more):
        signal.signal(number, _leave_now)


def _leave_now(number: int, frame: FrameType | None) -> None:
    leave(0, wait=False)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass


def leave(status: int, wait: bool = True) -> NoReturn:
    """End this process without unwinding the stack below, which in a child is the supervisor's.

    Does what the interpreter does at exit and ``os._exit()`` does not, as :mod:`multiprocessing`
    does in its children: exit functions flush what error reporters and tracers have gathered.

    :param wait: let the project's threads that are no daemons finish.
    """
    try:
        if wait:
            threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # closed, under a daemoniser
                stream.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _set_title(title: str) -> None:
    try:
        importlib.import_module("setproctitle").setproctitle(f"twogate: {title}")
    except ImportError:
        pass
