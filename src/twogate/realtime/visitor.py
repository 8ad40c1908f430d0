"""One browser at an endpoint of topics: what it may have, what it has, and where it is present.

The same for WebSockets and for streams of events. What decides is handed in. Runs on the loop's
thread; knows no sockets and no Django.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from twogate.realtime import wire
from twogate.realtime.log import Entry
from twogate.realtime.presence import Presence
from twogate.realtime.subscriber import Subscriber

__all__ = ["RESERVED", "Member", "Visitor"]

#: Topics whose name begins so are the server's own.
RESERVED = "twogate."

_NOT_ALLOWED = "You may not subscribe to it."
_NOT_YOURS = f"Topics that begin with “{RESERVED}” are the server's own."
_TOO_MANY = f"{wire.MAX_TOPICS} topics are the most."


@dataclass(slots=True, frozen=True)
class Member:
    """:ivar key: who it is; several visitors with the same key count once.
    :ivar data: what others see, JSON.
    """

    key: str
    data: str


class Visitor:
    """What is known of one browser; :meth:`leave` must be called in the end.

    :param allow: says whether it may subscribe to a topic.
    :param member: says how it is present where it subscribes, if it is.
    """

    __slots__ = (
        "_allow",
        "_member",
        "_members",
        "_presence",
        "_subscriber",
        "_tickets",
        "take",
        "tell",
    )

    def __init__(
        self,
        subscriber: Subscriber,
        presence: Presence,
        *,
        allow: Callable[[str], Awaitable[bool]],
        member: Callable[[str], Awaitable[Member | None]],
    ) -> None:
        self._subscriber = subscriber
        self._presence = presence
        self._allow = allow
        self._member = member
        #: Topics it has been admitted to, and as whom.
        self._members: dict[str, Member | None] = {}
        #: What it got where it is present: ticket by topic.
        self._tickets: dict[str, str] = {}
        self.take: Callable[[], Entry | str | None] = subscriber.take
        self.tell: Callable[[str], None] = subscriber.tell

    @property
    def ended(self) -> bool:
        """See :attr:`Subscriber.ended`."""
        return self._subscriber.ended

    async def admit(self, topics: Mapping[str, int | None]) -> dict[str, str]:
        """Ask whether it may have some topics; it is told of those it may not.

        :param topics: as :meth:`subscribe`, which is to follow, gets them.
        :return: the reasons why it may not, by topic.
        """
        refused: dict[str, str] = {}
        for topic in topics:
            reason = await self._why_not(topic)
            if reason is None:
                self._members[topic] = await self._member(topic)
            else:
                self.unsubscribe([topic])
                refused[topic] = reason
                self.tell(wire.denied(topic, reason))
        await self._subscriber.prepare(topics)
        return refused

    async def _why_not(self, topic: str) -> str | None:
        if topic.startswith(RESERVED):
            return _NOT_YOURS
        if topic not in self._members and len(self._members) >= wire.MAX_TOPICS:
            return _TOO_MANY
        return None if await self._allow(topic) else _NOT_ALLOWED

    def subscribe(self, topics: Mapping[str, int | None], *, watch: bool) -> None:
        """Subscribe to those topics it is admitted to; see :meth:`Subscriber.subscribe`.

        :param watch: tell it who is here.
        """
        admitted = {topic: after for topic, after in topics.items() if topic in self._members}
        if admitted:
            self._subscriber.subscribe(admitted)
        for topic in admitted:
            self._enter(topic)
            self._presence.unwatch(topic, self.tell)
            if watch:
                self._presence.watch(topic, self.tell)

    def _enter(self, topic: str) -> None:
        member = self._members[topic]
        if member is not None and topic not in self._tickets:
            ticket = self._presence.enter(topic, member.key, member.data)
            if ticket is not None:
                self._tickets[topic] = ticket

    def unsubscribe(self, topics: Iterable[str]) -> None:
        """Give topics back."""
        left: dict[str, str] = {}
        for topic in topics:
            self._members.pop(topic, None)
            self._subscriber.unsubscribe(topic)
            self._presence.unwatch(topic, self.tell)
            ticket = self._tickets.pop(topic, None)
            if ticket is not None:
                left[ticket] = topic
        if left:
            self._presence.leave(left, at_once=True)

    def leave(self) -> None:
        """It has gone, perhaps to come back in a moment. May be called again."""
        for topic in self._members:
            self._presence.unwatch(topic, self.tell)
        self._members.clear()
        self._subscriber.close()
        tickets, self._tickets = self._tickets, {}
        if tickets:
            self._presence.leave({ticket: topic for topic, ticket in tickets.items()})
