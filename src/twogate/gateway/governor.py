"""Decides how many worker threads should be awake. Pure: no clock, no threads, no locks.

It is asked at each tick while work waits, and is told how much of one core the process used and how
many jobs were taken since the last one.

========================  ====================================================================
what it sees              what it decides
========================  ====================================================================
work waits, the core is   threads are blocked: wake more at once, in proportion to what is
mostly idle               missing
work waits, the core is   try a few threads more, or fewer, and keep what makes the jobs go
rather busy               faster: neither the processor time nor the waiting says by itself
                          which it is (a blocked thread, a neighbour on the machine, threads
                          that fight for the interpreter)
work waits, one thread    nothing
keeps the core busy
work waits, nothing is    one long computation is in everybody's way: wake one
taken
========================  ====================================================================
"""

from __future__ import annotations

__all__ = ["Governor"]

#: Weight of the newest measurement in the smoothed share.
SMOOTHING = 0.3
#: Share of one core below which waiting work means that threads are blocked, without a trial.
IDLE_BELOW = 0.6
#: Share of one core from which a single thread is left alone.
BUSY_FROM = 0.96
#: Ticks without any job taken after which a thread is added however busy the core.
STALLED_AFTER = 10
#: A rate is measured over this many seconds, and more until this many jobs were taken.
WINDOW, WINDOW_JOBS, LONGEST_WINDOW = 0.024, 60, 0.1
#: More threads are kept if the rate grows by this factor, fewer if it does not fall below this one:
#: a rate is noisy, and a loss that is taken for noise leads to the next.
GROWTH, LOSS = 1.04, 0.99
#: Windows to rest after a trial that failed.
REST = 8


class Governor:
    """Remembers a little from tick to tick.

    :ivar share: the smoothed share of one core that the process uses.
    :ivar calm: one thread keeps the core busy; the next tick may be late.
    """

    __slots__ = (
        "_failed",
        "_jobs",
        "_rate",
        "_rest",
        "_seconds",
        "_stalled",
        "_step",
        "_waited",
        "calm",
        "share",
    )

    def __init__(self) -> None:
        self.share = 1.0
        self.calm = False
        self._stalled = 0
        # The window that is measured: its length, for how much of it work waited, jobs taken.
        self._seconds = 0.0
        self._waited = 0.0
        self._jobs = 0
        # The climb: the rate to beat, the trial that is on, the last one if it failed.
        self._rate = 0.0
        self._step = 0
        self._failed = 0
        self._rest = 0

    def decide(self, share: float, elapsed: float, awake: int, taken: int, waiting: bool) -> int:
        """How many threads to wake (positive) or to park (negative).

        :param share: of one core, used since the last tick.
        :param elapsed: seconds since the last tick; a busy interpreter makes ticks late.
        :param awake: threads that take jobs, at least 1.
        :param taken: jobs taken since the last tick.
        :param waiting: whether jobs wait.
        """
        self.share += SMOOTHING * (share - self.share)
        self.calm = awake == 1 and self.share >= BUSY_FROM and taken > 0
        if not waiting or taken:
            self._stalled = 0
        if self.calm:
            self._settle()
            return 0
        if waiting and self.share < IDLE_BELOW:
            self._settle()
            return _missing(awake, self.share)
        if waiting and not taken:
            self._stalled += 1
            if self._stalled >= STALLED_AFTER:
                self._stalled = 0
                return 1
        return self._measure(elapsed, awake, taken, waiting)

    def _settle(self) -> None:
        """Forget what was measured: the load has changed, or there is nothing to try."""
        self._seconds = self._waited = 0.0
        self._jobs = self._step = self._rest = self._failed = 0

    def _measure(self, elapsed: float, awake: int, taken: int, waiting: bool) -> int:
        self._seconds += elapsed
        self._jobs += max(0, taken)
        self._waited += elapsed * waiting
        enough = self._seconds >= WINDOW and self._jobs >= WINDOW_JOBS
        if not enough and self._seconds < LONGEST_WINDOW:
            return 0
        rate, scarce = self._jobs / self._seconds, self._waited * 2 > self._seconds
        self._seconds = self._waited = 0.0
        self._jobs = 0
        if not scarce and (self.share < BUSY_FROM or awake == 1):
            self._step = 0
            return 0  # there are threads enough, and the idle ones park themselves
        return self._climb(rate, awake)

    def _climb(self, rate: float, awake: int) -> int:
        step, self._step = self._step, 0
        if not step:
            self._rate = rate
            if self._rest:
                self._rest -= 1
                return 0
            return self._try(self._choose(awake), awake)
        if rate > self._rate * (GROWTH if step > 0 else LOSS):
            # On the way down the best rate stays the measure: many small losses are a great one.
            self._rate = rate if step > 0 else max(rate, self._rate)
            return self._try(step, awake)
        self._failed = step
        self._rest = REST
        return -step

    def _choose(self, awake: int) -> int:
        """Down when the core is busy and up when it is not, unless that has just failed."""
        direction = -1 if self.share >= BUSY_FROM else 1
        if direction * self._failed > 0:
            direction = -direction
        self._failed = 0
        return direction if awake > 1 else 1

    def _try(self, direction: int, awake: int) -> int:
        if direction > 0:
            self._step = (awake + 1) // 2
        else:
            self._step = -min((awake + 2) // 3, awake - 1)
        return self._step


def _missing(awake: int, share: float) -> int:
    """How many more threads would fill the idle share, if each used as much as those awake."""
    used = max(share, 0.05)
    return max(1, min(2 * awake, round(awake * (1 - used) / used)))
