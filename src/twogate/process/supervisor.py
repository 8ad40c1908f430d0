"""The supervisor: keeps workers alive, replaces them without a gap, and ends them in order.

One thread and one selector over the workers' channels and a wakeup descriptor for signals; no
event loop, and the project is never imported here. Each worker fills a slot; a slot's successor
starts beside it and takes over only when it is ready, so a crash at start costs nothing.
"""

from __future__ import annotations

import atexit
import logging
import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, TypeAlias

from twogate.process import reload, worker
from twogate.process.channel import ChildEnd, Message
from twogate.process.child import Child, Closable, State, fork
from twogate.process.sockets import Listeners, open_listeners

if TYPE_CHECKING:
    from twogate.config import Config
    from twogate.observe.observer import Observer

__all__ = ["Slot", "Supervisor", "serve"]

log = logging.getLogger("twogate.supervisor")

Main: TypeAlias = Callable[[ChildEnd], int]

#: Seconds between two looks at the clock when nothing happens.
TICK = 0.5
#: A worker that lived for less has died young: something is wrong, and another will fare no better.
YOUNG = 5.0
#: The longest pause before another try, in seconds.
MOST_DELAY = 30.0
#: Seconds a hung worker gets to show its stacks after SIGABRT.
ABORT_GRACE = 2.0
#: Seconds after SIGQUIT, which waits for no request.
QUICK_GRACE = 3.0
#: Seconds the serving workers wait, at the end, for those that only started to be gone.
STARTERS_GRACE = 1.0
#: Seconds a worker may take to load a large project; ``--timeout`` if that is more.
START_TIMEOUT = 60.0


class Slot:
    """The place of one worker.

    :ivar number: counts from 1, for the log.
    :ivar current: the worker that serves.
    :ivar successor: the worker that starts, and takes over when it is ready.
    :ivar failures: how many died young or did not start, one after the other.
    :ivar not_before: when the next try is due, in seconds of :func:`time.monotonic`.
    """

    __slots__ = ("current", "failures", "not_before", "number", "successor")

    def __init__(self, number: int) -> None:
        self.number = number
        self.current: Child | None = None
        self.successor: Child | None = None
        self.failures = 0
        self.not_before = 0.0

    @property
    def wanting(self) -> bool:
        """Whether a successor should start, as soon as the clock says so."""
        leaving = self.current is None or self.current.state is State.RETIRING
        return leaving and self.successor is None

    def children(self) -> list[Child]:
        """Those who fill the slot now."""
        return [child for child in (self.current, self.successor) if child is not None]

    def failed(self) -> float:
        """Count a failure; the pause before the next try, in seconds, grows with each."""
        self.failures += 1
        delay = 0.0 if self.failures == 1 else min(2.0 ** (self.failures - 2), MOST_DELAY)
        self.not_before = time.monotonic() + delay
        return delay

    def forgive(self) -> None:
        """Forget failures: there is new code to try, or a worker has proven itself."""
        self.failures = 0
        self.not_before = 0.0


class Roll:
    """A rolling reload on its way: one slot at a time.

    :ivar waiting: slots whose turn is to come.
    :ivar turn: the slot whose successor starts.
    :ivar leaving: the worker that was replaced last; the next turn waits for its end, so that
        there is never more than one process too many, and so does the end of the roll.
    :ivar again: another reload was asked for in the meantime.
    """

    __slots__ = ("again", "leaving", "turn", "waiting")

    def __init__(self, slots: list[Slot]) -> None:
        self.waiting = deque(slots)
        self.turn: Slot | None = None
        self.leaving: Child | None = None
        self.again = False


class Supervisor:
    """Keeps ``workers`` processes serving until it is told to stop.

    :param work: runs in each worker.
    :param watch: runs in a process of its own and tells when code changes; ``None`` for no
        reloading.
    :param announce: tells people what is served, once; see :func:`twogate.process.worker.run`.
    """

    def __init__(
        self,
        config: Config,
        listeners: Listeners,
        work: Main,
        watch: Main | None = None,
        announce: worker.Announce | None = None,
    ) -> None:
        self._config = config
        self._listeners = listeners
        self._urls = listeners.urls
        self._work = work
        self._watch = watch
        self._announce_start = announce or worker.log_start
        self._start_timeout = max(START_TIMEOUT, config.timeout)
        self._slots = [Slot(n + 1) for n in range(1 if watch else max(1, config.workers))]
        self._children: dict[int, Child] = {}
        self._watcher: Child | None = None
        self._watch_not_before = 0.0
        self._roll: Roll | None = None
        #: New code does not load: try again when it changes.
        self._holding = False
        self._served = False
        self._ending = False
        #: How to stop the workers that are still to be told; and by when, at the latest.
        self._stop_worker: Callable[[Child], None] | None = None
        self._tell_by = 0.0
        self._status = 0
        self._notes: list[str] = []
        self._signals: deque[int] = deque()
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        self._actions = {
            signal.SIGTERM: self._on_term,
            signal.SIGINT: self._on_quit,
            signal.SIGQUIT: self._on_quit,
            signal.SIGHUP: self._on_hup,
            signal.SIGTTIN: self._on_more,
            signal.SIGTTOU: self._on_fewer,
            signal.SIGUSR1: _nothing,  # reserved
            signal.SIGCHLD: _nothing,  # every turn reaps
        }

    def run(self) -> int:
        """Supervise until told to stop; returns the exit status."""
        with self._listening_to_signals():
            while not (self._ending and not self._children):
                self._fill()
                self._wait()
                self._obey()
                self._reap()
                self._go_on_ending()
                self._look_at_the_clock()
        log.info("stopped")
        return self._status

    # Signals

    @contextmanager
    def _listening_to_signals(self) -> Iterator[None]:
        for end in (self._wake_in, self._wake_out):
            end.setblocking(False)
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        before = {number: signal.getsignal(number) for number in self._actions}
        wakeup = signal.set_wakeup_fd(self._wake_in.fileno(), warn_on_full_buffer=False)
        for number in self._actions:
            signal.signal(number, self._note_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)
            for resource in self._private():
                resource.close()

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def _obey(self) -> None:
        while self._signals:
            self._actions[signal.Signals(self._signals.popleft())]()

    def _on_term(self) -> None:
        if not self._ending:
            log.info("stopping; requests may go on for %g s", self._config.graceful_timeout)
            self._end(quick=False)

    def _on_quit(self) -> None:
        """Ctrl-C: wait for nobody; the second time, not even for an orderly end."""
        if not self._ending:
            log.info("stopping at once")
            self._end(quick=True)
            return
        for child in self._children.values():
            child.signal(signal.SIGKILL)

    def _on_hup(self) -> None:
        self._reload("reload")

    def _on_more(self) -> None:
        if not self._ending:
            self._slots.append(Slot(len(self._slots) + 1))
            log.info("one worker more: %d", len(self._slots))

    def _on_fewer(self) -> None:
        if self._ending:
            return
        if len(self._slots) == 1:
            log.info("one worker is the least")
            return
        slot = self._slots.pop()
        log.info("one worker less: %d", len(self._slots))
        for child in slot.children():
            self._stop(child)
        if self._roll is not None and self._roll.turn is slot:
            self._roll.turn = None

    # Waiting and listening

    def _wait(self) -> None:
        before = time.monotonic()
        for key, _ in self._selector.select(TICK):
            if isinstance(key.data, Child):
                self._listen(key.data)
            else:
                self._empty_wakeup()
        if time.monotonic() - before > TICK + self._config.timeout / 4:
            # We were stopped ourselves (Ctrl-Z, a frozen machine): whoever is silent is no culprit.
            for child in self._children.values():
                child.heard = time.monotonic()

    def _empty_wakeup(self) -> None:
        try:
            while self._wake_out.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _listen(self, child: Child) -> None:
        messages = child.channel.receive()
        if messages is None:
            if child.channel.fileno() in self._selector.get_map():
                self._selector.unregister(child.channel)
            return
        child.heard = time.monotonic()
        for message in messages:
            self._heed(child, message)

    def _heed(self, child: Child, message: Message) -> None:
        data = message.data
        if message.kind == "beat" and isinstance(data, int):
            child.connections = data
        elif message.kind == "ready" and isinstance(data, list):
            self._ready(child, data)
        elif message.kind == "retiring" and child.state is State.SERVING:
            child.become(State.RETIRING)
            log.info("%s served its share of requests; another takes over", _name(child))
        elif message.kind == "failed" and isinstance(data, list):
            child.failure = (data[0], data[1])
        elif message.kind == "changed" and isinstance(data, list):
            self._reload(f"{', '.join(data)} changed")

    def _ready(self, child: Child, notes: list[str]) -> None:
        """A successor takes over."""
        slot = child.slot
        if slot is None or child.state is not State.STARTING:
            return
        child.become(State.SERVING)
        old, slot.current, slot.successor = slot.current, child, None
        log.debug("%s is ready", _name(child))
        if old is not None:
            self._stop(old)
        if self._roll is not None and self._roll.turn is slot:
            self._roll.turn, self._roll.leaving = None, old
        self._announce(notes)

    def _announce(self, notes: list[str]) -> None:
        """Say once what is served; say again what loading found when it has changed."""
        if not self._served:
            self._announce_start(self._config, len(self._slots), self._urls, notes)
        elif notes != self._notes:
            worker.tell_notes(log, notes)
        self._served = True
        self._notes = notes

    # Births

    def _fill(self) -> None:
        """Start what is missing."""
        if self._ending:
            return
        now = time.monotonic()
        if self._watch and self._watcher is None and now >= self._watch_not_before:
            self._watch_not_before = now + YOUNG
            self._watcher = self._fork(self._watch, "watcher", None)
        self._go_on_rolling()
        for slot in self._slots:
            if slot.wanting and now >= slot.not_before and not self._holding:
                self._start(slot)

    def _start(self, slot: Slot) -> None:
        slot.successor = self._fork(self._work, f"worker {slot.number}", slot)
        if slot.successor is None:
            self._failed(slot, "the system has no process to spare")

    def _fork(self, main: Main, title: str, slot: Slot | None) -> Child | None:
        try:
            pid, channel = fork(main, title, self._private())
        except OSError as error:
            log.error("cannot start a process: %s", error.strerror)
            return None
        child = self._children[pid] = Child(pid, channel, slot)
        if slot is not None:
            child.deadline = child.born + self._start_timeout
        self._selector.register(channel, selectors.EVENT_READ, child)
        log.debug("%s starts as process %d", title, pid)
        return child

    def _private(self) -> list[Closable]:
        """What is the supervisor's alone, and no child may keep."""
        channels = [child.channel for child in self._children.values()]
        return [self._selector, self._wake_in, self._wake_out, *channels]

    # Deaths

    def _reap(self) -> None:
        """Bury every child that died; as process 1 of a container, the orphans we got, too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if child := self._children.get(pid):
                self._bury(child, os.waitstatus_to_exitcode(status))

    def _bury(self, child: Child, code: int) -> None:
        self._listen(child)  # its last words may be waiting
        if child.channel.fileno() in self._selector.get_map():
            self._selector.unregister(child.channel)
        child.channel.close()
        del self._children[child.pid]
        slot = child.slot
        log.debug("process %d %s", child.pid, _how(code))
        if child is self._watcher:
            self._watcher = None
        elif slot is not None and child is slot.successor:
            slot.successor = None
            self._failed(slot, *(child.failure or (f"a worker {_how(code)} before it was ready",)))
        elif slot is not None and child is slot.current:
            slot.current = None
            self._lost(slot, child, _how(code))

    def _lost(self, slot: Slot, child: Child, how: str) -> None:
        """A serving worker died."""
        if self._ending:
            return
        old = time.monotonic() - child.born >= YOUNG
        if old:
            slot.forgive()
        delay = 0.0 if old else slot.failed()
        log.error(
            "%s %s with %d connections open; another starts%s",
            _name(child, slot),
            how,
            child.connections,
            f" in {delay:g} s" if delay else "",
        )

    def _failed(self, slot: Slot, message: str, details: str = "") -> None:
        """A worker died before it was ready."""
        if self._ending:
            return
        delay = slot.failed()
        rolling = self._roll is not None and self._roll.turn is slot
        if not self._served and self._watch is None:
            log.error("%s", message)
            self._status = 1
            self._end(quick=True)
        elif self._watch is not None:
            self._hold(slot, message)
        elif rolling:
            log.error("the reload stopped, the old workers go on serving: %s", message)
        else:
            log.error("worker %d did not start: %s; next try in %g s", slot.number, message, delay)
        if details:
            told = self._watch or self._config.traceback
            log.log(logging.ERROR if told else logging.DEBUG, "%s", details)
        if rolling:
            self._end_roll()

    def _hold(self, slot: Slot, message: str) -> None:
        self._holding = True
        rest = "the old code goes on serving" if slot.current else "waiting for a change"
        log.error("%s; %s", message, rest)

    # Reloading

    def _reload(self, why: str) -> None:
        if self._ending:
            return
        self._holding = False
        if self._roll is None:
            log.info("%s: replacing %d worker(s), one at a time", why, len(self._slots))
            self._roll = Roll(self._slots)
        elif self._watch is not None:
            self._restart_roll(why)
        elif not self._roll.again:
            log.info("%s: another one follows the one on its way", why)
            self._roll.again = True

    def _restart_roll(self, why: str) -> None:
        """Somebody writes code: what starts now is stale already, and may never become ready."""
        log.info("%s: starting again", why)
        self._roll = Roll(self._slots)

    def _go_on_rolling(self) -> None:
        roll = self._roll
        if roll is None or roll.turn is not None:
            return
        if roll.leaving is not None and roll.leaving.pid in self._children:
            return  # until it has heard that it is to stop, it even accepts
        if roll.waiting:
            self._take_turn(roll, roll.waiting.popleft())
        else:
            log.info("reloaded: %d worker(s) run the new code", len(self._slots))
            self._end_roll()

    def _take_turn(self, roll: Roll, slot: Slot) -> None:
        if slot not in self._slots:
            return
        if slot.successor is not None:  # it may have read the old code
            self._stop(slot.successor)
            slot.successor = None
        slot.forgive()
        roll.turn = slot
        self._start(slot)

    def _end_roll(self) -> None:
        again = self._roll is not None and self._roll.again
        self._roll = None
        if again:
            self._reload("reload")

    # The end

    def _stop(self, child: Child) -> None:
        """Let a worker finish its requests and go."""
        child.slot = None
        if child.state in (State.STARTING, State.SERVING, State.RETIRING):
            grace = self._config.graceful_timeout + worker.LEEWAY + 1.0
            child.become(State.STOPPING, time.monotonic() + grace)
            child.signal(signal.SIGTERM)

    def _stop_at_once(self, child: Child) -> None:
        """Let a worker close its connections and go, whatever it is doing."""
        child.slot = None
        if child.state in (State.SERVING, State.RETIRING):
            child.become(State.STOPPING)
        if child.state is State.STOPPING:
            child.deadline = time.monotonic() + QUICK_GRACE
            child.signal(signal.SIGQUIT)

    def _end(self, quick: bool) -> None:
        """Stop everything, in the order in which no client is left waiting.

        First our own sockets, then those of the workers that only start: whoever closes last must
        be a worker that serves what the kernel has accepted. The rest follows in
        :meth:`_go_on_ending`.
        """
        self._ending = True
        self._stop_worker = self._stop_at_once if quick else self._stop
        self._tell_by = time.monotonic() + STARTERS_GRACE
        self._listeners.close()
        for child in self._children.values():
            if child.state is State.STARTING:  # the watcher, too
                child.become(State.KILLED)
                child.signal(signal.SIGKILL)

    def _go_on_ending(self) -> None:
        """Tell the serving workers to stop once the starting ones are gone."""
        if not self._ending or self._stop_worker is None:
            return
        children = self._children.values()
        if time.monotonic() < self._tell_by and any(c.state is State.KILLED for c in children):
            return
        for child in children:
            self._stop_worker(child)
        self._stop_worker = None

    def _look_at_the_clock(self) -> None:
        now = time.monotonic()
        for child in list(self._children.values()):
            if child.deadline is not None and now >= child.deadline:
                self._kill(child)
            elif self._is_hung(child, now):
                self._abort(child, now)

    def _is_hung(self, child: Child, now: float) -> bool:
        timeout = self._config.timeout
        alive = child.state in (State.SERVING, State.RETIRING)
        return alive and 0 < timeout < now - child.heard

    def _abort(self, child: Child, now: float) -> None:
        """Ask a hung worker for its stacks; a stopped one cannot even show them."""
        log.error(
            "%s was silent for %.1f s with %d connections open: it hangs; its stacks follow",
            _name(child),
            now - child.heard,
            child.connections,
        )
        child.become(State.ABORTED, now + ABORT_GRACE)
        child.signal(signal.SIGABRT)

    def _kill(self, child: Child) -> None:
        if child.state is State.STARTING:
            child.failure = (f"the application was not loaded within {self._start_timeout:g} s", "")
        elif child.state is State.STOPPING:
            log.warning("process %d did not stop in time and is killed", child.pid)
        child.become(State.KILLED)
        child.signal(signal.SIGKILL)


def serve(
    config: Config,
    *,
    load: str,
    observer: Callable[[Config], Observer],
    make_server: worker.MakeServer | None = None,
    announce: worker.Announce | None = None,
) -> int:
    """Open the sockets and serve until told to stop, in as many processes as configured.

    :param load: see :func:`twogate.process.worker.run`, like the others.
    :return: the exit status, 0 or 1.
    :raises ConfigError: a bind cannot be opened.
    """
    with open_listeners(config.bind, config.backlog, config.source("bind")) as listeners:
        atexit.register(listeners.close)  # for leave(), which unwinds nothing
        work = partial(
            worker.run,
            config,
            listeners.sockets,
            load,
            observer=observer,
            make_server=make_server,
            announce=announce,
        )
        if config.reload:
            folders = [".", *config.reload_dir]
            watch = partial(reload.watch, folders)
            return Supervisor(config, listeners, work, watch, announce).run()
        if config.workers:
            return Supervisor(config, listeners, work, announce=announce).run()
        return work()


def _nothing() -> None:
    pass


def _name(child: Child, slot: Slot | None = None) -> str:
    slot = slot or child.slot
    return f"worker {slot.number} (pid {child.pid})" if slot else f"process {child.pid}"


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"was killed by signal {-code}"
