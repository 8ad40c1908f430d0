"""Whether a server that this process needs can be reached, so that nobody waits while it is away.

After a failure all who would try are told not to, until a pause has passed that grows with each
failure. The beginning and the end of an outage are logged. Any thread; knows no sockets.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

__all__ = ["Away", "Outage"]

logger = logging.getLogger("twogate.realtime")

#: Seconds of the first pause and of the longest; each is drawn between half of it and all of it, so
#: that many processes do not come back at the same moment.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 3.0


class Away(OSError):
    """The server cannot be reached, or could not a moment ago; the message names it and why."""


class Outage:
    """What is known of one server.

    :param name: the server, for the log; without a password.
    :param clock: seconds; for tests.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._away = False
        self._why = ""
        self._since = 0.0
        self._pause = FIRST_PAUSE
        self._next_try = 0.0
        #: How often the server went away.
        self.count = 0

    @property
    def away(self) -> bool:
        """Whether the last try failed."""
        return self._away

    def may_try(self) -> bool:
        """Whether to try now. While the server is away, only one may after each pause."""
        if not self._away:
            return True
        with self._lock:
            now = self._clock()
            if now < self._next_try:
                return False
            self._next_try = now + self._pause
            return True

    def wait(self) -> float:
        """Seconds until the next try; for whoever tries until the server is back."""
        return max(self._next_try - self._clock(), FIRST_PAUSE / 2) if self._away else 0.0

    def failed(self, error: BaseException) -> None:
        """A try failed. That nobody was allowed to try is no failure."""
        if isinstance(error, Away):
            return
        with self._lock:
            now = self._clock()
            self._why = str(error) or type(error).__name__
            first = not self._away
            if first:
                self._away = True
                self._since = now
                self._pause = FIRST_PAUSE
                self.count += 1
            elif now >= self._next_try - self._pause / 4:
                # Others whose try had begun before do not make the pause longer.
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
            else:
                return
            self._next_try = now + self._pause * random.uniform(0.5, 1.0)
        if first:
            logger.warning(
                "%s cannot be reached: %s. It is tried again until it is back.",
                self.name,
                self._why,
            )

    def worked(self) -> None:
        """A try succeeded."""
        if not self._away:
            return
        with self._lock:
            if not self._away:
                return
            self._away = False
            seconds = self._clock() - self._since
        logger.warning("%s is back after %.1f s.", self.name, seconds)

    def error(self) -> Away:
        """What to raise."""
        return Away(f"{self.name} cannot be reached: {self._why}")
