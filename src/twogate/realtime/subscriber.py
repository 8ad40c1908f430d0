"""All that one browser is to be told, in order: messages of its topics and what the server says.

Topics come and go while it is connected. Nothing here waits: whoever sends takes what there is and
is called when there is more. Runs on the loop's thread; knows no sockets and no Django.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from twogate.realtime import wire
from twogate.realtime.feed import Feed, Lagging, Subscription
from twogate.realtime.log import Entry

__all__ = ["Subscriber"]

#: What the server has said, besides messages, that may wait for who does not read.
_MOST_SAID = 1000


class Subscriber:
    """The topics of one browser.

    :param ready: called when there is something to take; it may be called more often than that.
    """

    __slots__ = ("_feed", "_outbox", "_ready", "_said", "_subscriptions")

    def __init__(self, feed: Feed, ready: Callable[[], None]) -> None:
        self._feed = feed
        self._ready = ready
        # A subscription stands for the next message of it.
        self._outbox: deque[Entry | str | Subscription] = deque()
        self._said = 0
        self._subscriptions: dict[str, Subscription] = {}

    @property
    def topics(self) -> frozenset[str]:
        """What it has subscribed to."""
        return frozenset(self._subscriptions)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come after what waits."""
        return self._feed.closed

    async def prepare(self, topics: Mapping[str, int | None]) -> None:
        """To be awaited before :meth:`subscribe`; see :meth:`Feed.prepare`."""
        await self._feed.prepare([topic for topic, after in topics.items() if after is not None])

    def subscribe(self, topics: Mapping[str, int | None]) -> None:
        """Add topics, or begin anew with them.

        It is told ``subscribed``, then for each topic of which something is missing ``reset``, then
        what came meanwhile, ordered by number over all of these topics.

        :param topics: each with the number of the last message it has; ``None`` for no replay.
        """
        groups: dict[int | None, list[str]] = {}
        for topic, after in topics.items():
            self.unsubscribe(topic)
            groups.setdefault(after, []).append(topic)
        begun: list[Subscription] = []
        for after, names in groups.items():
            subscription = self._feed.subscribe(names, after, notify=self._notify)
            self._subscriptions.update(dict.fromkeys(names, subscription))
            begun.append(subscription)
        self.tell(wire.subscribed({name: self._subscriptions[name].position for name in topics}))
        for subscription in begun:
            if not subscription.complete:
                for name in subscription.topics:
                    self.tell(wire.reset(name))
        replay: list[Entry] = []
        for subscription in begun:
            replay.extend(subscription.take_replay())
        replay.sort(key=_number)
        self._outbox.extend(replay)

    def unsubscribe(self, topic: str) -> None:
        """Leave a topic, if it has it; nothing of it follows."""
        subscription = self._subscriptions.pop(topic, None)
        if subscription is None:
            return
        subscription.leave(topic)
        if any(type(item) is Entry for item in self._outbox):
            self._outbox = deque(
                item
                for item in self._outbox
                if not (isinstance(item, Entry) and item.topic == topic)
            )

    def tell(self, text: str) -> None:
        """Say something else; what nobody reads makes it lag in the end."""
        self._said += 1
        self._outbox.append(text)
        self._ready()

    def _notify(self, subscription: Subscription) -> None:
        self._outbox.append(subscription)
        self._ready()

    def take(self) -> Entry | str | None:
        """The next thing to send, if there is one.

        :raises Lagging: too much was waiting.
        """
        if self._said > _MOST_SAID:
            raise Lagging(min((each.position for each in self._subscriptions.values()), default=0))
        while self._outbox:
            item = self._outbox.popleft()
            if isinstance(item, Subscription):
                entry = item.take()
                if entry is not None:
                    return entry
            else:
                self._said -= type(item) is str
                return item
        return None

    def close(self) -> None:
        """Subscribe to nothing any more."""
        self._ready = _nothing
        for subscription in set(self._subscriptions.values()):
            subscription.close()
        self._subscriptions.clear()
        self._outbox.clear()


def _number(entry: Entry) -> int:
    return entry.id


def _nothing() -> None:
    pass
