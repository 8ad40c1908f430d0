"""What the server recorded of the Live page: for each room its last requests and open WebSockets.

A room is what one learner's windows share. All is kept in the memory of the process that serves,
and bounded. Knows no Django. A tracer adds recordings on any thread; views ask on theirs.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from twogate.lab.telling import tell, tell_left
from twogate.trace.live import document_of, summary
from twogate.trace.recorder import Recording, Span, enter, span
from twogate.trace.tracer import Tracer

if TYPE_CHECKING:
    from twogate.exchange import Exchange

__all__ = ["Rooms", "leaving", "publishing"]

#: Requests that are kept of one room, rooms of which any are kept, and spans of one recording.
_REQUESTS, _ROOMS, _SPANS = 30, 50, 1000


# What a message leaves in recordings, so that one can see what became of it.


@contextlib.contextmanager
def publishing(key: str) -> Iterator[None]:
    """Around what publishes a message: it was the request that is recorded here."""
    with span("protocol", f"publish message {key}") as made:
        if made is not None:
            made.detail["published"] = key
        yield


@contextlib.contextmanager
def leaving(key: str, socket: Span | None) -> Iterator[None]:
    """Around what sends it through a WebSocket, whose span this is."""
    with enter(socket), span("protocol", f"message {key} leaves") as made:
        if made is not None:
            made.detail["left"] = key
        yield


class Rooms:
    """The recordings by room.

    :param room_of: the room that a path belongs to; what belongs to none is not recorded.
    :ivar tracer: what makes them; a server is to be handed it.
    """

    def __init__(self, room_of: Callable[[str], str | None]) -> None:
        self.tracer = Tracer(self._keep, _SPANS, wanted=self._is_wanted)
        self._room_of = room_of
        self._lock = threading.Lock()
        self._entries: WeakKeyDictionary[Recording, _Entry] = WeakKeyDictionary()
        self._numbers = itertools.count(1)
        self._kept: OrderedDict[str, deque[Recording]] = OrderedDict()

    def rows(self, room: str) -> list[dict[str, Any]]:
        """What a list shows of a room, the latest request first.

        Each is what any list of traces shows, with its ``id``, whether it is still ``open``, and
        the sentences that ``tell`` it.
        """
        recordings = self._of(room)
        # One that was too long to be kept whole does not say what left through it.
        whole = not any(made.left_out for made in recordings)
        left = _messages(recordings, "left") if whole else None
        rows = [self._entries[made].row(made, left) for made in recordings]
        return sorted(rows, key=lambda row: (row["at"], row["id"]), reverse=True)

    def document(self, room: str, number: int) -> dict[str, Any] | None:
        """The trace of one request; ``None`` where there is none, or none any more."""
        for recording in self._of(room):
            if self._entries[recording].number == number:
                return document_of(recording)
        return None

    def _of(self, room: str) -> list[Recording]:
        """Those of a room, also those under way."""
        with self._lock:
            under_way = [made for made in self.tracer.under_way() if self._room(made) == room]
            # One that ended in between is in both.
            found = list(dict.fromkeys([*self._kept.get(room, ()), *under_way]))
            for recording in found:
                if recording not in self._entries:
                    self._entries[recording] = _Entry(next(self._numbers))
        return found

    def _is_wanted(self, exchange: Exchange) -> bool:
        return self._room_of(exchange.head.raw_path.decode("latin-1")) is not None

    def _room(self, recording: Recording) -> str:
        return self._room_of(recording.facts["request"]["path"]) or ""

    def _keep(self, recording: Recording) -> None:
        with self._lock:
            room = self._room(recording)
            self._kept.setdefault(room, deque(maxlen=_REQUESTS)).append(recording)
            self._kept.move_to_end(room)
            if len(self._kept) > _ROOMS:
                self._kept.popitem(last=False)


class _Entry:
    """The number of a recording, and the row that was last made of it.

    It must not hold the recording, which lives as long as somebody keeps it.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._row: dict[str, Any] = {}
        self._made_at: tuple[int, bool] | None = None

    def row(self, recording: Recording, left: Mapping[str, list[Span]] | None) -> dict[str, Any]:
        """The row; what became of its message may have changed since."""
        row = {**self._of(recording)}
        published = _messages([recording], "published")
        if published and left is not None:
            key, (begun, *_) = list(published.items())[-1]
            left_by = [
                (str(made.recording.facts.get("gateway")), (made.start - begun.start) / 1000)
                for made in left.get(key, ())
            ]
            row["tell"] = [*row["tell"], tell_left(left_by)]
        return row

    def _of(self, recording: Recording) -> dict[str, Any]:
        still_open = "opened" in recording.facts
        state = (len(recording.spans), still_open)
        if self._made_at != state:
            document = document_of(recording)
            told = tell(document["runs"][0], still_open)
            self._row = {
                **summary(document), "id": self.number, "open": still_open, "tell": told,
            }  # fmt: skip
            self._made_at = state
        return self._row


def _messages(recordings: Iterable[Recording], mark: str) -> dict[str, list[Span]]:
    """The spans that bear a mark, by the message it names, in order."""
    found: dict[str, list[Span]] = {}
    for recording in recordings:
        for made in list(recording.spans):
            if mark in made.detail:
                found.setdefault(made.detail[mark], []).append(made)
    return found
