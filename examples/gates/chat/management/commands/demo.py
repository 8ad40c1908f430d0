"""``manage.py demo``: people and rooms to try the example with. It may be run again."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from chat.models import Message, Room

PASSWORD = "demo"
PEOPLE = {
    "Ada": "a member of the private room",
    "Grace": "not a member of it",
    "Admin": "may also use Django’s admin",
}
ROOMS = {
    "Garden": "Slow talk, long pauses.",
    "Kitchen": "What is everybody eating?",
    "Workshop": "Show what you are building.",
}
PRIVATE_ROOM = "Attic"
WORDS = (
    ("Garden", "Grace", "The beans are up. I give them a week before the snails hold a meeting."),
    ("Garden", "Ada", "Then we had better hold ours first."),
    ("Attic", "Ada", "Nobody but members finds this room."),
)


class Command(BaseCommand):
    help = "Make the people and rooms of the demonstration (only under DEBUG)."

    @transaction.atomic
    def handle(self, **options: object) -> None:
        if not settings.DEBUG:
            raise CommandError("These people have a password that everybody knows: DEBUG only.")
        people = {name: self.person(name) for name in PEOPLE}
        for name, about in ROOMS.items():
            Room.objects.get_or_create(name=name, defaults={"about": about})
        attic = {"about": "For members only.", "private": True}
        room, created = Room.objects.get_or_create(name=PRIVATE_ROOM, defaults=attic)
        if created:
            room.members.set([people["Ada"], people["Admin"]])
        for place, name, text in WORDS:
            Message.objects.get_or_create(
                author=people[name],
                nonce=uuid.uuid5(uuid.NAMESPACE_URL, text),
                defaults={"room": Room.objects.get(name=place), "text": text},
            )

    def person(self, name: str) -> object:
        users = get_user_model().objects
        found = users.filter(username=name).first()
        if found is None:
            make = users.create_superuser if name == "Admin" else users.create_user
            found = make(name, password=PASSWORD)
        return found
