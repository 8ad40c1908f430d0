"""Tells in development when the event loop stands still, and which code holds it.

A thread asks the loop for a sign of life again and again; where none comes in time it looks at what
the loop's thread is doing just then. It knows neither the server nor Django, and never runs in
production: asking wakes an idle loop some 20 times a second.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType

__all__ = ["StallWatch"]

log = logging.getLogger("twogate.stalls")

#: The same line of code is told once in so many seconds, and so many lines in that time.
PAUSE = 60.0
MOST = 10

_ASYNCIO = Path(asyncio.__file__).parent
_TWOGATE = Path(__file__).parent.parent
#: Where a loop that has nothing to do is found.
_IDLE = ("selectors.py", "runners.py", "base_events.py")
_FRAMES = 12


class StallWatch:
    """Watches the loop that runs in the thread that makes it.

    :param threshold: seconds that one step of the loop may take.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, threshold: float) -> None:
        self._loop = loop
        self._threshold = threshold
        self._watched = threading.get_ident()
        self._stopped = threading.Event()
        self._told: dict[tuple[str, int], float] = {}
        self._thread = threading.Thread(target=self._watch, name="twogate-stalls", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more. On the loop."""
        self._stopped.set()

    # On the watching thread.

    def _watch(self) -> None:
        while not self._stopped.wait(self._threshold / 2):
            alive = threading.Event()
            asked = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(alive.set)
            except RuntimeError:  # the loop is closed
                return
            if alive.wait(self._threshold):
                continue
            frame = sys._current_frames().get(self._watched)
            stack = _stack(frame) if frame is not None else []
            del frame  # and all that it holds
            while not alive.wait(0.5):
                if self._stopped.is_set() or self._loop.is_closed():
                    return
            if stack:
                self._tell(time.monotonic() - asked, stack)

    def _tell(self, seconds: float, stack: list[traceback.FrameSummary]) -> None:
        last = _own(stack)
        place = (last.filename, last.lineno or 0)
        now = time.monotonic()
        recent = {known: at for known, at in self._told.items() if now - at < PAUSE}
        if place not in recent and len(recent) < MOST:
            recent[place] = now
            log.warning(
                "the event loop stood still for %d ms: %s, line %d, in %s; all other requests and"
                " WebSockets waited\n%s",
                round(seconds * 1000),
                last.filename,
                last.lineno or 0,
                last.name,
                "".join(traceback.format_list(stack)).rstrip(),
            )
        self._told = recent


def _stack(frame: FrameType) -> list[traceback.FrameSummary]:
    """What the loop is doing, outermost first; nothing if it does nothing: then it was the machine
    that was busy."""
    stack = traceback.extract_stack(frame)
    if not stack or Path(stack[-1].filename).name in _IDLE:
        return []
    first = 0
    for index, entry in enumerate(stack):
        if _is_machinery(entry):
            first = index + 1
    return list(stack[first:][-_FRAMES:]) or list(stack[-_FRAMES:])


def _own(stack: list[traceback.FrameSummary]) -> traceback.FrameSummary:
    """The innermost line that is not the standard library's or a package's, or else the last."""
    library = str(_ASYNCIO.parent)
    for entry in reversed(stack):
        installed = "site-packages" in entry.filename or entry.filename.startswith(library)
        if not installed and not _is_machinery(entry):
            return entry
    return stack[-1]


def _is_machinery(entry: traceback.FrameSummary) -> bool:
    folders = Path(entry.filename).parents
    return _ASYNCIO in folders or _TWOGATE in folders
