"""Rooms, what was said in them, and how far each person has read."""

from __future__ import annotations

import uuid
from contextlib import suppress

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import DatabaseError, models
from django.db.models import Count, F, Max, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.urls import reverse

MESSAGE_LENGTH = 2000


class RoomQuerySet(models.QuerySet["Room"]):
    """Every view, socket and subscription asks here who may enter, so there is one rule."""

    def visible_to(self, user: AbstractUser) -> RoomQuerySet:
        return self.filter(Q(private=False) | Q(pk__in=user.rooms.values("pk")))

    def with_unread(self, user: AbstractUser) -> RoomQuerySet:
        """Add ``unread``: how many messages of others came after the last one the user has read."""
        visit = Visit.objects.filter(room=OuterRef("pk"), user=user)
        news = Q(messages__pk__gt=F("last_read")) & ~Q(messages__author=user)
        return self.annotate(
            last_read=Coalesce(Subquery(visit.values("last_read")), 0),
            unread=Count("messages", filter=news),
        )


class Room(models.Model):
    name = models.CharField(max_length=40, unique=True)
    about = models.CharField(max_length=200, blank=True)
    private = models.BooleanField(default=False, help_text="Only its members may enter.")
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="rooms", blank=True)

    objects = RoomQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("chat:room", args=[self.pk])

    def mark_read(self, user: AbstractUser) -> None:
        """Remember that the user has seen all that was said here until now."""
        last = self.messages.aggregate(last=Coalesce(Max("pk"), 0))["last"]
        with suppress(DatabaseError):  # on a full disk people can still read
            self.visits.update_or_create(user=user, defaults={"last_read": last})


class Message(models.Model):
    """Something said. Its number orders it, in the database and in every browser."""

    room = models.ForeignKey(Room, models.CASCADE, related_name="messages")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="messages")
    text = models.CharField(max_length=MESSAGE_LENGTH)
    sent_at = models.DateTimeField(auto_now_add=True)
    #: Chosen by whoever sends: a message that is sent again, for its answer was lost, is known.
    nonce = models.UUIDField(default=uuid.uuid4, editable=False)

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["room", "id"], name="message_by_room")]
        constraints = [models.UniqueConstraint(fields=["author", "nonce"], name="message_once")]

    def __str__(self) -> str:
        return f"{self.author}: {self.text[:40]}"


class Visit(models.Model):
    """How far a person has read in a room."""

    room = models.ForeignKey(Room, models.CASCADE, related_name="visits")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="visits")
    last_read = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["room", "user"], name="visit_once")]

    def __str__(self) -> str:
        return f"{self.user} in {self.room}"
