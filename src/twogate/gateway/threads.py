"""Worker threads for blocking code: as many awake as keep the interpreter busy, and no more.

More runnable threads than that only fight for the interpreter's lock. So every 2 ms while work
waits, a :class:`~twogate.gateway.governor.Governor` says how many to wake or park. A thread that
finds nothing to do for 50 ms parks itself; one always stays awake. ``docs/design/0004-threads.md``
has the measurements.

Worker threads never touch a transport: :meth:`WorkerThreads.post` hands calls to the loop, many in
one wake-up. Methods belong to the loop's thread unless their docstring says otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from twogate.gateway.governor import Governor

__all__ = ["ThreadStatistics", "WorkerThreads"]

logger = logging.getLogger("twogate.threads")

#: What runs, what it is given, and when it was submitted (:func:`time.perf_counter`).
Job: TypeAlias = tuple[Callable[[Any, str], None], Any, float]

#: Seconds between two looks of the controller. A short database query's wait is about as long.
TICK = 0.002
#: The same while one thread keeps the interpreter busy and nothing has to change.
CALM_TICK = 0.01
#: Seconds without work after which an awake thread parks itself.
PARK_AFTER = 0.05


@dataclass(slots=True, frozen=True)
class ThreadStatistics:
    """The state of the threads at one moment.

    :ivar limit: threads at most.
    :ivar started: threads that exist.
    :ivar awake: threads that take jobs; the rest are parked.
    :ivar busy: threads that run a job now.
    :ivar queue: jobs that wait.
    :ivar wait: seconds the job taken last had waited.
    :ivar done: jobs finished since the start.
    :ivar cpu: the smoothed share of one core that the process uses, as the controller sees it.
    """

    limit: int
    started: int
    awake: int
    busy: int
    queue: int
    wait: float
    done: int
    cpu: float


class _Worker:
    """One thread's own counters: written by it alone, read by the controller."""

    __slots__ = ("busy", "done", "gate", "thread")

    def __init__(self) -> None:
        self.gate = threading.Lock()
        self.gate.acquire()
        self.busy = False
        self.done = 0
        self.thread: threading.Thread | None = None


class WorkerThreads:
    """A bounded set of threads that run jobs, first come first served.

    :param loop: the loop whose thread submits the jobs and gets the posts.
    :param limit: threads at most.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        self._loop = loop
        self._limit = limit
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        self._parked: list[_Worker] = []
        #: Threads that should park at their next chance.
        self._surplus = 0
        self._wait = 0.0
        self._closed = False
        self._pending: list[Job] = []
        #: Held by the loop while it gathers jobs; threads wait for it between two jobs.
        self._turn = threading.Lock()
        self._in_turn = False
        self._outbox: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._posted = False
        # The controller's memory.
        self._ticking = False
        self._governor = Governor()
        #: Called by a thread that has had nothing to do for :data:`PARK_AFTER`, or is not needed.
        self.on_idle: Callable[[], None] | None = None
        #: Called by a thread that ends.
        self.on_end: Callable[[], None] | None = None
        self._cpu_time = 0.0
        self._wall_time = 0.0
        self._taken = 0

    def submit(self, function: Callable[[Any, str], None], argument: Any) -> None:
        """Run ``function(argument, name of the thread)`` on a thread; it must not raise.

        Jobs submitted in one turn of the loop are handed over together at its end, and until then
        no thread begins another: it would fight the loop for the interpreter at every socket.
        """
        if not self._pending:
            self._loop.call_soon(self._hand_over)
            self._in_turn = self._turn.acquire(blocking=False)
        self._pending.append((function, argument, time.perf_counter()))

    def _hand_over(self) -> None:
        pending, self._pending = self._pending, []
        for job in pending:
            self._jobs.put(job)
        if self._in_turn:
            self._in_turn = False
            self._turn.release()
        if self._outbox:
            self._deliver()
        if not self._ticking:
            self._start_ticking()

    def post(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Run ``callback(*arguments)`` on the loop, in the order posted. Any thread."""
        self._outbox.append((callback, arguments))
        self._wake_loop()

    def post_last(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Like :meth:`post`, for the last thing a job has to say. Worker threads only.

        The loop is not woken while more jobs wait, but for at most a tick: waking it for each of a
        hundred quick answers costs more than the answers.
        """
        self._outbox.append((callback, arguments))
        if not self._ticking:
            self._wake_loop()

    def _wake_loop(self) -> None:
        if not self._posted:
            self._posted = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:  # the loop is closed: nobody is left to tell
                self._outbox.clear()

    def _deliver(self) -> None:
        # Cleared first: what is posted while we deliver either is seen below or wakes us again.
        self._posted = False
        outbox = self._outbox
        while outbox:
            callback, arguments = outbox.popleft()
            try:
                callback(*arguments)
            except Exception:
                logger.exception("A call posted by a worker thread failed")

    def statistics(self) -> ThreadStatistics:
        """The state of the threads now. Any thread."""
        workers = list(self._workers)
        return ThreadStatistics(
            limit=self._limit,
            started=len(workers),
            awake=len(workers) - len(self._parked),
            busy=sum(worker.busy for worker in workers),
            queue=self._jobs.qsize(),
            wait=self._wait,
            done=sum(worker.done for worker in workers),
            cpu=round(self._governor.share, 3),
        )

    def close(self, timeout: float) -> bool:
        """Let the threads finish what is queued and end; says whether all did within ``timeout``.

        Blocks: call it when the loop has nothing left to do.
        """
        with self._lock:
            self._closed = True  # from here on no thread starts: each gets one None
            workers, parked, self._parked = list(self._workers), self._parked, []
        for worker in parked:
            worker.gate.release()
        for _ in workers:
            self._jobs.put(None)
        deadline = time.monotonic() + timeout
        for worker in workers:
            if worker.thread is not None:
                worker.thread.join(max(0.0, deadline - time.monotonic()))
        return not any(w.thread is not None and w.thread.is_alive() for w in workers)

    # The controller.

    def _start_ticking(self) -> None:
        self._ticking = True
        if not self._workers:
            self._wake(1)
        self._cpu_time, self._wall_time = time.process_time(), time.perf_counter()
        self._loop.call_later(TICK, self._tick)

    def _tick(self) -> None:
        awake = max(1, len(self._workers) - len(self._parked) - self._surplus)
        if self._closed or (self._jobs.empty() and awake <= 1):
            self._ticking = False
            # After the line above: what is posted from now on wakes the loop itself.
            self._deliver()
            return
        if self._outbox:
            self._deliver()
        share, elapsed = self._measure()
        taken = sum(worker.done + worker.busy for worker in self._workers)
        moved, self._taken = taken - self._taken, taken
        change = self._governor.decide(share, elapsed, awake, moved, not self._jobs.empty())
        if change > 0:
            self._wake(change)
        elif change < 0:
            self._surplus -= change
        self._loop.call_later(CALM_TICK if self._governor.calm else TICK, self._tick)

    def _measure(self) -> tuple[float, float]:
        """The share of one core that the process has used since the last time, and the seconds."""
        cpu_time, wall_time = time.process_time(), time.perf_counter()
        used, elapsed = cpu_time - self._cpu_time, wall_time - self._wall_time
        self._cpu_time, self._wall_time = cpu_time, wall_time
        return used / max(elapsed, 1e-6), elapsed

    def _wake(self, count: int) -> None:
        """Let ``count`` more threads take jobs: those about to park, then parked, then new."""
        with self._lock:
            if self._closed:
                return
            kept = min(count, self._surplus)
            self._surplus -= kept
            count -= kept
            while count > 0 and self._parked:
                self._parked.pop().gate.release()
                count -= 1
            for _ in range(min(count, self._limit - len(self._workers))):
                self._start_thread()

    def _start_thread(self) -> None:
        worker = _Worker()
        worker.thread = threading.Thread(
            target=self._work,
            args=(worker,),
            name=f"thread-{len(self._workers) + 1}",
            daemon=True,
        )
        worker.thread.start()
        self._workers.append(worker)

    # On the worker threads.

    def _work(self, worker: _Worker) -> None:
        take = self._jobs.get
        name = threading.current_thread().name
        while True:
            try:
                job = take(timeout=PARK_AFTER)
            except Empty:
                self._call(self.on_idle)
                if self._park(worker):
                    continue
                job = take()  # the last one awake waits here, and wakes for nothing else
            if job is None:
                self._call(self.on_end)
                return
            worker.busy = True
            function, argument, submitted = job
            self._wait = time.perf_counter() - submitted
            function(argument, name)
            del function, argument, job
            worker.busy = False
            worker.done += 1
            if self._in_turn:
                with self._turn:
                    pass
            if self._outbox and self._jobs.empty():
                self._wake_loop()
            if self._surplus:
                self._call(self.on_idle)
                self._park(worker)

    def _call(self, function: Callable[[], None] | None) -> None:
        if function is None:
            return
        try:
            function()
        except Exception:
            logger.exception("What a worker thread does when idle, or at its end, failed")

    def _park(self, worker: _Worker) -> bool:
        """Sleep until woken; returns false at once for the last thread awake."""
        with self._lock:
            if self._surplus:
                self._surplus -= 1
            if self._closed or len(self._parked) >= len(self._workers) - 1:
                return False
            self._parked.append(worker)
        worker.gate.acquire()
        return True
