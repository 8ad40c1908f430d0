"""What this site pushes to its browsers, who may hear it, and who is where.

Nothing here is asynchronous: ``publish()`` works from a view, the admin, a task or the shell. It
reaches the browsers of every worker, and those of other machines where there is a Redis.

=============  =================================================================
topic          what it carries
=============  =================================================================
``room.5``     what is said in room 5
``here.5``     nothing: to subscribe means to be in room 5, for others to see
``user.7``     notifications for person 7
=============  =================================================================
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable

from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest
from django.template.loader import render_to_string

from chat.models import Message, Room
from twogate.realtime import publish


def say(room: Room, author: AbstractUser, text: str, nonce: uuid.UUID) -> Message:
    """Save a message once, however often it is sent, and tell the room.

    It is told again, too: perhaps the server stopped just between the two. That does no harm, for
    the browsers know the messages they have by their numbers.
    """
    # With the text, because Back brings an old form, in which something new may be written.
    nonce = uuid.uuid5(nonce, f"{room.pk} {text}")
    message, _ = Message.objects.get_or_create(
        author=author, nonce=nonce, defaults={"room": room, "text": text}
    )
    publish(f"room.{room.pk}", as_event(message))
    return message


def as_event(message: Message) -> dict[str, object]:
    """What the browsers get, drawn by the page's own template: a reload shows the same."""
    html = render_to_string("chat/message.html", {"message": message})
    return {"id": message.pk, "author": message.author_id, "html": html}


def notify(users: Iterable[AbstractUser], text: str) -> None:
    """Show a notification on whatever page of this site each of them has open."""
    for user in users:
        publish(f"user.{user.pk}", {"text": text})


def may_subscribe(request: HttpRequest, topic: str) -> bool:
    """``TWOGATE_TOPICS["allow"]``: people hear themselves, and the rooms they may enter."""
    kind, _, number = topic.partition(".")
    if not (request.user.is_authenticated and number.isascii() and number.isdigit()):
        return False
    if kind == "user":
        return number == str(request.user.pk)
    rooms = Room.objects.visible_to(request.user)
    return kind in ("room", "here") and rooms.filter(pk=number).exists()


def presence(request: HttpRequest, topic: str) -> dict[str, object] | None:
    """``TWOGATE_TOPICS["presence"]``: what others see of whoever subscribes to a topic."""
    if not topic.startswith("here."):
        return None
    user = request.user
    # The worker is there only to show that two people in one room need not share one.
    return {"id": user.pk, "name": user.get_username(), "worker": os.getpid()}
