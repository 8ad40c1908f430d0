"""Who is where, on all machines: what :mod:`twogate.realtime.roster` is on one, in Redis.

Each process tells Redis of its own guests and renews that every two seconds; what is not renewed
expires, so those of a process that was killed vanish. What it knows of others is in memory, which
one thread brings up to date; only ``refresh`` waits for Redis. Knows no sockets, topics or Django.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import secrets
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from twogate.realtime.outage import Away
from twogate.realtime.redis_link import TIMEOUT, Link

__all__ = ["LIFETIME", "RedisRoster"]

logger = logging.getLogger("twogate.realtime")

#: Seconds for which a process that says nothing is taken to live, and from one sign of life to the
#: next.
LIFETIME = 8.0
_BEAT = 2.0
#: Seconds from one look at Redis to the next while somebody watches, and how long a :meth:`sweep`
#: means that somebody does.
_LOOK = 0.5
_WATCHED = 3.0
#: Seconds for which what was read is good enough for who asks once.
_FRESH = 1.0
#: Seconds for which Redis remembers who has left; who did not look for half as long reads all.
_REMEMBER = 120.0
#: Changes written or read in one go: a script holds up everybody.
_PAGE = 500

# Of each process: a hash of its guests by ticket, and a sorted set of the numbers of their last
# changes, in which those who have left stay for a while.
# KEYS: living, seed, own guests, own order. ARGV: prefix, process, milliseconds to live (or ''),
# milliseconds to remember, how many changes, (ticket, number, guest or '')…, how many to forget,
# ticket…, page (or '' to read nothing), (process, number known)…
_EXCHANGE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local seed = redis.call('GET', KEYS[2])
if not seed then
    seed = time[1] .. '.' .. time[2]
    redis.call('SET', KEYS[2], seed)
end
local at = 5
local function next_argument()
    at = at + 1
    return ARGV[at]
end
for _ = 1, ARGV[5] do
    local ticket, number, guest = next_argument(), next_argument(), next_argument()
    if guest == '' then
        redis.call('HDEL', KEYS[3], ticket)
    else
        redis.call('HSET', KEYS[3], ticket, guest)
    end
    redis.call('ZADD', KEYS[4], number, ticket)
end
for _ = 1, next_argument() do
    redis.call('ZREM', KEYS[4], next_argument())
end
if ARGV[3] ~= '' then
    redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
    redis.call('PEXPIRE', KEYS[3], ARGV[3] + ARGV[4])
    redis.call('PEXPIRE', KEYS[4], ARGV[3] + ARGV[4])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[4])
local rows, page = {}, next_argument()
if page ~= '' then
    local known = {}
    while at < #ARGV do
        local process = next_argument()
        known[process] = next_argument()
    end
    for _, process in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')) do
        if process ~= ARGV[2] then
            local key, last = ARGV[1] .. process, known[process] or '0'
            local found = redis.call('ZRANGEBYSCORE', key .. ':order', '(' .. last, '+inf',
                'WITHSCORES', 'LIMIT', 0, page)
            local tickets, guests = {}, {}
            for index = 1, #found, 2 do
                tickets[#tickets + 1] = found[index]
                last = found[index + 1]
            end
            if #tickets > 0 then
                guests = redis.call('HMGET', key, unpack(tickets))
            end
            rows[#rows + 1] = {process, last, tickets, guests}
        end
    end
end
return {seed, redis.call('HLEN', KEYS[3]), rows}
"""


@dataclass(slots=True, frozen=True)
class _Guest:
    """Somebody who is somewhere.

    :ivar since: seconds of the epoch, by the clock of the machine where they are.
    """

    since: float
    place: str
    member: str
    data: str

    def encode(self) -> str:
        return json.dumps([self.since, self.place, self.member, self.data], separators=(",", ":"))


@dataclass(slots=True)
class _Other:
    """What is known of another process.

    :ivar seen: the number of its last change that was read; 0 when all is to be read.
    """

    seen: int = 0
    guests: dict[str, _Guest] = field(default_factory=dict)


#: Is told of places that have changed, on any thread.
Listener = Callable[[set[str]], None]


class RedisRoster:
    """See :class:`twogate.realtime.presence.Roster`. Nothing is opened before it is used.

    While Redis is away, those who were here still are; what changes in this process is told when
    it is back, and again whenever Redis has lost it.

    :param prefix: of its keys; that of the project.
    :param grace: seconds for which somebody who left without saying so still counts as here.
    """

    tells = True

    def __init__(self, link: Link, prefix: str, grace: float = 3.0) -> None:
        self._link = link
        self._prefix = f"{prefix}:roster:"
        self._grace = grace
        self._script = link.client.register_script(_EXCHANGE)
        self._listeners: list[weakref.WeakMethod[Listener]] = []
        self._begin()
        _rosters.add(self)

    def _begin(self) -> None:
        #: Of all that follows; held for no longer than it takes to change it.
        self._changed = threading.Condition()
        #: Held by who speaks with Redis.
        self._speaking = threading.Lock()
        self._process = secrets.token_hex(8)
        self._places: dict[str, dict[str, _Guest]] = {}
        self._own: dict[str, _Guest] = {}
        self._number = 0
        #: Own guests who have left, and when that counts.
        self._leaving: dict[str, float] = {}
        #: What Redis is to be told: guests by ticket, or none for one who has left.
        self._untold: dict[str, _Guest | None] = {}
        #: Tickets that Redis has, or may have; and those that it is to forget, and when.
        self._told: set[str] = set()
        self._past: deque[tuple[float, str]] = deque()
        self._others: dict[str, _Other] = {}
        self._seed = b""
        self._read_at = self._next_beat = self._next_check = float("-inf")
        self._watched_until = self._hold_until = float("-inf")
        self._closing = False
        self._thread: threading.Thread | None = None

    # Asking and telling. Any thread; nothing here waits for Redis.

    def enter(self, place: str, member: str, data: str) -> str:
        """Somebody is here; returns a ticket to leave with."""
        ticket = secrets.token_hex(8)
        guest = _Guest(time.time(), place, member, data)
        with self._changed:
            self._own[ticket] = self._untold[ticket] = guest
            self._add(ticket, guest)
            self._wake()
        self._tell({place})
        return ticket

    def leave(self, tickets: Iterable[str], *, at_once: bool = False) -> None:
        """They have left; tickets of nobody here are ignored."""
        now = time.monotonic()
        with self._changed:
            for ticket in tickets:
                if ticket in self._own:
                    self._leaving.setdefault(ticket, now if at_once else now + self._grace)
            places = self._end_leaving()
            self._wake()
        self._tell(places)

    def here(self, place: str) -> dict[str, str]:
        """Who is here as far as it is known: the data of each member, by member, in the order in
        which they came."""
        with self._changed:
            guests = sorted(self._places.get(place, {}).values(), key=lambda guest: guest.since)
        return {guest.member: guest.data for guest in guests}

    def sweep(self) -> set[str]:
        """Somebody watches: keep up to date for some seconds. Listeners are told, so nobody else
        has to be."""
        with self._changed:
            self._watched_until = time.monotonic() + _WATCHED
            self._wake()
        return set()

    def listen(self, moved: Listener) -> None:
        """Call a method with the places that have changed, on any thread, as long as its object
        lives."""
        with self._changed:
            living = [each for each in self._listeners if each() is not None]
            self._listeners = [*living, weakref.WeakMethod(moved)]

    @property
    def fresh(self) -> bool:
        """Whether what is known is of the last second."""
        return time.monotonic() - self._read_at < _FRESH

    def refresh(self) -> None:
        """Read who is here now. Not on a loop: it waits for Redis, two seconds at most. Where that
        is away, what was known remains."""
        # While it is away one thread finds out when it is back, and nobody waits for that one.
        if not self._speaking.acquire(blocking=not self._link.outage.away):
            return
        try:
            if not self.fresh:  # or another thread has just done it
                with contextlib.suppress(Away):  # which is known and logged
                    self._exchange(LIFETIME, read=True)
        finally:
            self._speaking.release()

    def statistics(self) -> dict[str, int]:
        """Guests of this process and of others, other processes with guests, outages of Redis."""
        with self._changed:
            others = sum(len(other.guests) for other in self._others.values())
            here, processes = len(self._own), len(self._others)
        outages = self._link.outage.count
        return {"own": here, "others": others, "processes": processes, "outages": outages}

    def close(self) -> None:
        """Leave everywhere, with grace. The roster may be used again."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(2 * TIMEOUT)
        if self._told and self._speaking.acquire(timeout=TIMEOUT):
            with contextlib.suppress(Away):
                self._exchange(self._grace, read=False)
        self._begin()

    # The thread.

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="twogate-roster", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        pause = 0.0
        while self._wait(pause):
            try:
                with self._speaking:
                    self._exchange(LIFETIME, read=time.monotonic() < self._watched_until)
                pause = 0.0
            except Away:
                pause = self._link.outage.wait()
            except Exception:
                logger.exception("Who is here could not be told to other processes")
                pause = _BEAT

    def _wait(self, pause: float) -> bool:
        """Wait until there is something to say or to read; false at the end."""
        begin = time.monotonic() + pause
        with self._changed:
            while not self._closing:
                due = max(begin, self._due())
                wait = due - time.monotonic()
                if wait <= 0:
                    return True
                self._changed.wait(None if wait == float("inf") else wait)
        return False

    def _due(self) -> float:
        times = [float("inf"), *self._leaving.values()]
        if self._untold:
            times.append(0.0)
        if self._own:
            times.append(self._next_beat)
        if self._read_at + _LOOK < self._watched_until:
            times.append(self._read_at + _LOOK)
        return min(times)

    # Speaking with Redis: while that is held.

    def _exchange(self, lifetime: float, *, read: bool) -> None:
        """Tell what is new here and, maybe, read what is new elsewhere.

        :raises Away: Redis cannot be reached. What was to be told will be.
        """
        more = True
        while more:
            with self._changed:
                moved = self._end_leaving()
                changes = self._next_changes()
                arguments = self._arguments(changes, lifetime, read)
            self._tell(moved)
            try:
                with self._link.trying():
                    seed, count, rows = self._script(keys=self._keys(), args=arguments)
            except Away:
                # Until the others have told of themselves again, nobody is taken for dead.
                self._hold_until = time.monotonic() + LIFETIME
                raise
            with self._changed:
                more = self._was_told(changes, count)
                moved = set()
                if read:
                    moved, unread = self._take(seed, rows)
                    more = more or unread
            self._tell(moved)

    def _keys(self) -> list[str]:
        own = self._prefix + self._process
        return [f"{self._prefix}living", f"{self._prefix}seed", own, f"{own}:order"]

    def _next_changes(self) -> list[tuple[str, _Guest | None]]:
        changes = list(self._untold.items())[:_PAGE]
        self._told.update(ticket for ticket, _ in changes)  # even if there is no answer
        return changes

    def _arguments(
        self, changes: list[tuple[str, _Guest | None]], lifetime: float, read: bool
    ) -> list[str | int]:
        now = time.monotonic()
        lives = bool(self._own or self._told)
        arguments: list[str | int] = [
            self._prefix, self._process, int(lifetime * 1000) if lives else "",
            int(_REMEMBER * 1000), len(changes),
        ]  # fmt: skip
        for ticket, guest in changes:
            self._number += 1
            arguments += [ticket, self._number, "" if guest is None else guest.encode()]
        past: list[str] = []
        while self._past and self._past[0][0] < now and len(past) < _PAGE:
            past.append(self._past.popleft()[1])
        arguments += [len(past), *past, _PAGE if read else ""]
        if read:
            if now - self._read_at > _REMEMBER / 2:
                for other in self._others.values():
                    other.seen = 0
            for process, other in self._others.items():
                arguments += [process, other.seen]
        return arguments

    def _was_told(self, changes: list[tuple[str, _Guest | None]], count: int) -> bool:
        """Note what Redis knows now; says whether there is more to tell."""
        now = time.monotonic()
        self._next_beat = now + _BEAT
        for ticket, guest in changes:
            if self._untold.get(ticket, self) is guest:
                del self._untold[ticket]
            if guest is None:
                self._told.discard(ticket)
                self._past.append((now + _REMEMBER, ticket))
        if count < len(self._told) and not self._untold and now >= self._next_check:
            self._untold = dict(self._own)  # it has lost them
            self._next_check = now + _BEAT  # or one that is short of memory would get no rest
        return bool(self._untold)

    def _take(self, seed: bytes, rows: list[Any]) -> tuple[set[str], bool]:
        """Take what was read; returns what has changed, and whether there is more to read."""
        now = self._read_at = time.monotonic()
        if seed != self._seed:
            if self._seed:
                self._hold_until = now + LIFETIME  # it has lost everything
            self._seed = seed
        moved: set[str] = set()
        more = False
        living = set()
        for name, last, tickets, guests in rows:
            process = name.decode()
            living.add(process)
            other = self._others.setdefault(process, _Other())
            if other.seen == 0:
                moved |= self._forget(other)
            other.seen = int(float(last))
            more = more or len(tickets) == _PAGE
            for ticket, guest in zip(tickets, guests, strict=True):
                moved |= self._replace(other, ticket.decode(), _decode(guest))
        if now >= self._hold_until:
            for process in self._others.keys() - living:
                moved |= self._forget(self._others.pop(process))
        return moved, more

    # Memory: while the condition is held.

    def _replace(self, other: _Other, ticket: str, guest: _Guest | None) -> set[str]:
        old = other.guests.pop(ticket, None)
        if old is not None:
            self._remove(ticket, old)
        if guest is not None:
            other.guests[ticket] = guest
            self._add(ticket, guest)
        return {each.place for each in (old, guest) if each is not None}

    def _forget(self, other: _Other) -> set[str]:
        guests, other.guests = other.guests, {}
        for ticket, guest in guests.items():
            self._remove(ticket, guest)
        return {guest.place for guest in guests.values()}

    def _end_leaving(self) -> set[str]:
        now = time.monotonic()
        over = [ticket for ticket, when in self._leaving.items() if when <= now]
        places = set()
        for ticket in over:
            del self._leaving[ticket]
            guest = self._own.pop(ticket)
            self._remove(ticket, guest)
            places.add(guest.place)
            if ticket in self._told:
                self._untold[ticket] = None
            else:
                self._untold.pop(ticket, None)  # Redis has never heard of them
        return places

    def _add(self, ticket: str, guest: _Guest) -> None:
        self._places.setdefault(guest.place, {})[ticket] = guest

    def _remove(self, ticket: str, guest: _Guest) -> None:
        guests = self._places[guest.place]
        del guests[ticket]
        if not guests:
            del self._places[guest.place]

    def _tell(self, places: set[str]) -> None:
        if places:
            for reference in self._listeners:
                moved = reference()
                if moved is not None:
                    moved(places)


def _decode(guest: bytes | None) -> _Guest | None:
    """A guest of another process; none for one who has left, or is none of ours."""
    if guest is None:
        return None
    try:
        since, place, member, data = json.loads(guest)
        return _Guest(float(since), str(place), str(member), str(data))
    except (TypeError, ValueError):
        return None


_rosters: weakref.WeakSet[RedisRoster] = weakref.WeakSet()


def _at_exit() -> None:
    for roster in list(_rosters):
        roster.close()


def _after_fork() -> None:
    for roster in list(_rosters):
        roster._listeners = []
        roster._begin()  # who is here is the parent's, and so is the thread


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
