"""What a browser and the endpoint of topics say to each other, in JSON (``docs/live.md``).

Pure functions: text of strangers in, a request or an error out; texts for browsers. Any thread.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = [
    "MAX_REQUEST",
    "MAX_TOPICS",
    "BadRequest",
    "Ping",
    "Request",
    "Subscribe",
    "Unsubscribe",
    "denied",
    "here",
    "is_topic",
    "moved",
    "parse",
    "pong",
    "reset",
    "subscribed",
]

#: Topics that one browser may have at a time.
MAX_TOPICS = 50
#: Characters of one request of a browser.
MAX_REQUEST = 1 << 16
#: Greater ones are no numbers of ours, and JavaScript does not have them exactly.
_GREATEST = (1 << 53) - 1
_LONGEST_TOPIC = 200


class BadRequest(Exception):
    """What came from the browser is no request; the text says why, in at most 123 bytes of ASCII
    (RFC 6455 §5.5, the reason of a Close frame)."""


@dataclass(slots=True, frozen=True)
class Subscribe:
    """:ivar after: the number of the last message it has; ``None`` begins with what comes next.
    :ivar presence: it wants to be told who is here.
    """

    topics: list[str]
    after: int | None
    presence: bool


@dataclass(slots=True, frozen=True)
class Unsubscribe:
    """The opposite."""

    topics: list[str]


@dataclass(slots=True, frozen=True)
class Ping:
    """The browser wants a sign of life; it cannot send pings of RFC 6455."""


Request: TypeAlias = Subscribe | Unsubscribe | Ping


def is_topic(name: object) -> bool:
    """Whether a browser may ask for a topic of that name: 1 to 200 characters, valid Unicode."""
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_TOPIC:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in name)


def parse(text: str) -> Request:
    """Read a request of a browser.

    :raises BadRequest: it is none.
    """
    if len(text) > MAX_REQUEST:
        raise BadRequest(f"a request has at most {MAX_REQUEST} characters")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise BadRequest("this is not JSON") from None
    if not isinstance(value, dict):
        raise BadRequest("a request is a JSON object")
    kind = value.get("type")
    if kind == "subscribe":
        return Subscribe(_topics(value), _after(value), value.get("presence") is True)
    if kind == "unsubscribe":
        return Unsubscribe(_topics(value))
    if kind == "ping":
        return Ping()
    raise BadRequest('the "type" of a request is "subscribe", "unsubscribe" or "ping"')


def _topics(value: dict[str, Any]) -> list[str]:
    topics = value.get("topics")
    if not isinstance(topics, list) or not topics:
        raise BadRequest('"topics" is a list of at least one topic')
    if len(topics) > MAX_TOPICS:
        raise BadRequest(f'"topics" has at most {MAX_TOPICS} topics')
    if not all(map(is_topic, topics)):
        raise BadRequest(f"a topic is a string of 1 to {_LONGEST_TOPIC} characters")
    return list(dict.fromkeys(topics))


def _after(value: dict[str, Any]) -> int | None:
    after = value.get("after")
    if after is None:
        return None
    if type(after) is not int or not 0 <= after <= _GREATEST:
        raise BadRequest('"after" is the number of a message')
    return after


# What the server says.


def subscribed(positions: Mapping[str, int]) -> str:
    """From now on the browser has all that comes to each topic after a number."""
    return _dump({"type": "subscribed", "topics": dict(positions)})


def reset(topic: str) -> str:
    """Some messages of a topic are missing, because they are no longer kept."""
    return _dump({"type": "reset", "topic": topic})


def denied(topic: str, reason: str) -> str:
    """The browser does not get a topic."""
    return _dump({"type": "denied", "topic": topic, "reason": reason})


def here(topic: str, members: Iterable[str]) -> str:
    """Everybody who is here, each as JSON."""
    return f'{{"type":"presence","topic":{_dump(topic)},"here":[{",".join(members)}]}}'


def moved(topic: str, joined: Iterable[str], left: Iterable[str]) -> str:
    """Who has come and gone since, each as JSON."""
    return (
        f'{{"type":"presence","topic":{_dump(topic)},'
        f'"joined":[{",".join(joined)}],"left":[{",".join(left)}]}}'
    )


def pong() -> str:
    """The sign of life."""
    return '{"type":"pong"}'


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
