"""What the windows of the Live page share: a room, its topic, and who may have it.

A learner has one room. Its name is in the addresses of the windows and signed, for WebSockets do
not pass the middleware that looks after the token: who knows the name has got it from a page.
"""

from __future__ import annotations

import re
import secrets
from functools import lru_cache
from typing import Any

from django.http import HttpRequest
from django.urls import register_converter
from django.utils.crypto import constant_time_compare, salted_hmac

from twogate.django.topics import publish
from twogate.lab.rooms import Rooms, publishing
from twogate.lab.web.models import Learner

__all__ = ["ROOMS", "may_subscribe", "member", "room_of", "send", "topic_of"]

#: Characters of a text and of a name.
MOST_TEXT, MOST_NAME = 500, 40
_ADDRESS = re.compile(r"/live/room/([^/]+)/")


def room_of(learner: Learner) -> str:
    """The name of a learner's room."""
    return f"{learner.pk}-{_signature(str(learner.pk))}"


@lru_cache(1000)
def _signature(number: str) -> str:
    return str(salted_hmac("twogate.lab.room", number).hexdigest()[:20])


def _room_in(path: str) -> str | None:
    """The room that an address belongs to; ``None`` for none, or one that we did not name."""
    found = _ADDRESS.match(path)
    return found[1] if found and _is_ours(found[1]) else None


def _is_ours(room: str) -> bool:
    number, _, signature = room.partition("-")
    return bool(constant_time_compare(signature, _signature(number)))


class _RoomConverter:
    """A room in a URL pattern; to others' names the pattern does not fit."""

    regex = "[0-9]+-[0-9a-f]{20}"

    def to_python(self, value: str) -> str:
        """The room."""
        if not _is_ours(value):
            raise ValueError(value)
        return value

    def to_url(self, value: str) -> str:
        """The same."""
        return value


register_converter(_RoomConverter, "room")

#: What the server records of the rooms.
ROOMS = Rooms(_room_in)


def topic_of(room: str) -> str:
    """The topic to which a room's windows subscribe."""
    return f"live.{room}"


async def may_subscribe(request: HttpRequest, topic: str) -> bool:
    """``TWOGATE_TOPICS["allow"]``: the windows of a room hear that room."""
    room = _room_in(request.path)
    return room is not None and topic == topic_of(room)


async def member(request: HttpRequest, topic: str) -> dict[str, str]:
    """``TWOGATE_TOPICS["presence"]``: the person in a window, as its address says."""
    who, name = request.GET.get("who", ""), request.GET.get("name", "")
    return {"id": who[:MOST_NAME], "name": name[:MOST_NAME]}


def send(room: str, kind: str, way: str, data: dict[str, Any]) -> dict[str, Any]:
    """Publish to all windows of a room.

    :param kind: ``"say"`` or ``"ring"``.
    :param way: what publishes it, in words.
    :param data: ``who`` and ``name`` of the person, and the ``text``.
    :return: the message.
    :raises ValueError: a text or a name is too long or missing; says so.
    """
    message = {
        "kind": kind,
        "key": secrets.token_hex(3),
        "way": way,
        "who": _text(data, "who", MOST_NAME),
        "name": _text(data, "name", MOST_NAME),
        "text": _text(data, "text", MOST_TEXT) if kind == "say" else "",
    }
    with publishing(message["key"]):
        publish(topic_of(room), message)
    return message


def _text(data: dict[str, Any], name: str, most: int) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > most:
        raise ValueError(f"“{name}” should be a text of 1 to {most} characters.")
    return value.strip()
