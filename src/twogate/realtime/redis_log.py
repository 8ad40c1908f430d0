"""The log of topics in Redis: what :mod:`twogate.realtime.log` is on one machine, for many.

A stream for each topic; a script gives each message its number and tells who listens, in one step.
Numbers are microseconds, so a Redis that lost its data never uses one twice. Any thread; each call
waits for the network, so none may be made on an event loop. Knows no Django.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from twogate.realtime.log import Entry, Replay
from twogate.realtime.redis_link import Link

__all__ = ["RedisLog", "State", "Window", "decode"]

#: Seconds for which it is known of a topic when something was last said to it.
_REMEMBER = 86400
#: Old messages removed with each new one, at most: a script holds up everybody.
_MOST_REMOVED = 100

_BEGIN = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local last = redis.call('GET', KEYS[1])
if not last then
    last = string.format('%.0f', now)
    redis.call('MSET', KEYS[1], last, KEYS[2], last)
end
"""

# KEYS: last, seed, forgotten, newest, the stream. ARGV: channel, topic, data, keep, seconds.
_APPEND = (
    (
        _BEGIN
        + """
local keep, seconds = tonumber(ARGV[4]), tonumber(ARGV[5])
local id = string.format('%.0f', math.max(now, tonumber(last) + 1))
redis.call('SET', KEYS[1], id)
redis.call('XADD', KEYS[5], id .. '-0', 'data', ARGV[3])
for _ = 1, REMOVED do
    local oldest = redis.call('XRANGE', KEYS[5], '-', '+', 'COUNT', 1)[1][1]
    local number = string.sub(oldest, 1, -3)
    if redis.call('XLEN', KEYS[5]) <= keep and tonumber(number) >= now - seconds * 1000000 then
        break
    end
    if number == id then
        break
    end
    redis.call('XDEL', KEYS[5], oldest)
    redis.call('ZADD', KEYS[3], number, ARGV[2])
end
redis.call('ZADD', KEYS[4], id, ARGV[2])
redis.call('EXPIRE', KEYS[5], math.ceil(seconds) + 60)
for _, key in ipairs({KEYS[3], KEYS[4]}) do
    redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now - REMEMBER * 1000000))
end
redis.call('PUBLISH', ARGV[1], id .. ' ' .. #ARGV[2] .. ' ' .. ARGV[2] .. ARGV[3])
return id
"""
    )
    .replace("REMOVED", str(_MOST_REMOVED))
    .replace("REMEMBER", str(_REMEMBER))
)

# KEYS: last, seed, forgotten, newest, streams. ARGV: the topics of the streams, how many of each.
_READ = (
    _BEGIN
    + """
local windows = {}
for index = 1, #ARGV - 1 do
    local entries = redis.call('XREVRANGE', KEYS[4 + index], '+', '-', 'COUNT', ARGV[#ARGV])
    windows[index] = {
        redis.call('ZSCORE', KEYS[3], ARGV[index]) or '0',
        redis.call('ZSCORE', KEYS[4], ARGV[index]) or '0',
        entries,
    }
end
return {last, redis.call('GET', KEYS[2]) or last, string.format('%.0f', now), windows}
"""
)


@dataclass(slots=True)
class Window:
    """What is kept of one topic.

    :ivar entries: in order.
    :ivar seed: the log began after this number.
    :ivar forgotten: the number of the last message that is kept no more; 0 when there is none.
    """

    entries: list[Entry]
    seed: int
    forgotten: int

    def is_complete_after(self, number: int) -> bool:
        """Whether everything that came after a number is here; 0 is the beginning."""
        return (number == 0 or self.seed <= number) and self.forgotten <= number


@dataclass(slots=True, frozen=True)
class State:
    """The log at one moment.

    :ivar newest: the number of the newest message.
    :ivar seed: the log began after this number.
    :ivar now: the number that a message of this moment would have at least.
    :ivar windows: what is kept of the topics that were asked for.
    """

    newest: int
    seed: int
    now: int
    windows: dict[str, Window]


class RedisLog:
    """The messages of all topics, as many and as old as are kept.

    :param prefix: of its keys and its channel.
    :param keep: messages per topic.
    :param seconds: how long each is kept at most, give or take a minute.
    """

    def __init__(self, link: Link, prefix: str, keep: int = 1000, seconds: float = 600.0) -> None:
        self._link = link
        self._prefix = prefix
        self._keep = keep
        self._seconds = seconds
        self._append = link.client.register_script(_APPEND)
        self._read = link.client.register_script(_READ)
        #: On which each message is told as it comes, see :func:`decode`.
        self.channel = f"{prefix}:news"

    def append(self, topic: str, data: str) -> int:
        """Add a message and return its number, above that of all before.

        :raises Away: Redis cannot be reached. Where it did not answer in time, the message may have
            been added all the same.
        """
        arguments = (self.channel, topic, data, self._keep, self._seconds)
        with self._link.trying():
            return int(self._call(self._append, [topic], arguments))

    def newest(self) -> int:
        """The number of the newest message; before the first one, a number below its own.

        :raises Away: Redis cannot be reached.
        """
        return self.windows(()).newest

    def replay(self, topics: Collection[str], number: int) -> Replay:
        """What came to some topics after a number, as far as it is kept; 0 asks for all of it.

        :raises Away: Redis cannot be reached.
        """
        state = self.windows(topics)
        return replay(state.windows.values(), number, state.newest)

    def windows(self, topics: Collection[str]) -> State:
        """What is kept of some topics.

        :raises Away: Redis cannot be reached.
        """
        topics = list(topics)
        with self._link.trying():
            last, seed, now, rows = self._call(self._read, topics, (*topics, self._keep))
        found = {
            topic: _window(topic, int(seed), int(now), row)
            for topic, row in zip(topics, rows, strict=True)
        }
        return State(int(last), int(seed), int(now), found)

    def _call(self, script: Any, topics: list[str], arguments: tuple[Any, ...]) -> Any:
        names = ["last", "seed", "forgotten", "newest", *(f"topic:{topic}" for topic in topics)]
        return script(keys=[f"{self._prefix}:{name}" for name in names], args=arguments)


def replay(windows: Collection[Window], number: int, newest: int) -> Replay:
    """What came to the topics of some windows after a number."""
    entries = [entry for window in windows for entry in window.entries if entry.id > number]
    entries.sort(key=lambda entry: entry.id)
    complete = number <= newest and all(each.is_complete_after(number) for each in windows)
    return Replay(entries, complete, newest)


def _window(topic: str, seed: int, now: int, row: Any) -> Window:
    forgotten, newest, found = int(float(row[0])), int(float(row[1])), row[2]
    entries = [
        Entry(int(name.partition(b"-")[0]), topic, fields[1].decode("utf-8", "surrogatepass"))
        for name, fields in reversed(found)
    ]
    if not entries:
        # Its last message is too old; or it was said so long ago that its name is not kept.
        horizon = now - _REMEMBER * 1_000_000
        forgotten = max(forgotten, newest or (horizon if seed < horizon else 0))
    return Window(entries, seed, forgotten)


def decode(news: bytes) -> Entry:
    """A message out of what is told on the channel.

    :raises ValueError: it is none of ours.
    """
    number, size, rest = news.split(b" ", 2)
    topic, data = rest[: int(size)], rest[int(size) :]
    return Entry(
        int(number), topic.decode("utf-8", "surrogatepass"), data.decode("utf-8", "surrogatepass")
    )
