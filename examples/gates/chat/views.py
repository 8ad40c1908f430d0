"""The chat's pages. They are sync, but for the transcript, which streams."""

from __future__ import annotations

from collections.abc import AsyncIterator

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import aget_object_or_404, get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from chat.forms import MessageForm, RoomForm
from chat.live import say
from chat.management.commands.demo import PASSWORD, PEOPLE
from chat.models import Message, Room
from twogate.django.topics import position

#: Messages on one page; "earlier" brings as many again.
PAGE_LENGTH = 50


class Login(LoginView):
    """Django's own, which names the demo's people to those who try the example."""

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        people = PEOPLE if settings.DEBUG else {}
        return super().get_context_data(people=people, password=PASSWORD, **kwargs)


@require_safe
@login_required
def rooms(request: HttpRequest) -> HttpResponse:
    """The rooms, with how much there is to read in each."""
    seen = position()
    rooms = Room.objects.visible_to(request.user).with_unread(request.user)
    return render(request, "chat/rooms.html", {"rooms": rooms, "position": seen})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def new_room(request: HttpRequest) -> HttpResponse:
    """A form and what comes of it."""
    form = RoomForm(request.POST or None)
    if form.is_valid():
        room = form.save()
        room.members.add(request.user)
        return redirect(room)
    return render(request, "chat/new_room.html", {"form": form})


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def room(
    request: HttpRequest, pk: int, before: int | None = None, after: int | None = None
) -> HttpResponse:
    """One room: its last messages, or those before or after a number.

    The page's script asks for the same pages and takes the messages out of them.
    """
    room = get_object_or_404(Room.objects.visible_to(request.user), pk=pk)
    form = MessageForm(request.POST or None)
    if form.is_valid():
        try:
            say(room, request.user, **form.cleaned_data)
        except DatabaseError:
            form.add_error("text", "Nothing can be saved at the moment.")
        else:
            return redirect(room)
    seen = position()  # before the messages are read: so nothing falls between page and news
    messages, more = page_of_messages(room, before, after)
    if before is None and after is None:
        room.mark_read(request.user)
    context = {"room": room, "form": form, "messages": messages, "more": more, "position": seen}
    return render(request, "chat/room.html", {**context, "before": before, "after": after})


def page_of_messages(
    room: Room, before: int | None, after: int | None
) -> tuple[list[Message], bool]:
    """The messages, oldest first, and whether there are more in that direction."""
    forward = after is not None
    messages = room.messages.select_related("author").order_by("pk" if forward else "-pk")
    if forward:
        messages = messages.filter(pk__gt=after)
    elif before is not None:
        messages = messages.filter(pk__lt=before)
    found = list(messages[: PAGE_LENGTH + 1])  # with one that is only counted
    page = found[:PAGE_LENGTH]
    return page if forward else page[::-1], len(found) > PAGE_LENGTH


@require_safe
@login_required
async def transcript(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """All that was ever said in a room, sent while it is read: no list of it is ever made."""
    room = await aget_object_or_404(Room.objects.visible_to(await request.auser()), pk=pk)
    response = StreamingHttpResponse(lines(room), content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="room-{room.pk}.txt"'
    return response


async def lines(room: Room) -> AsyncIterator[str]:
    async for message in room.messages.select_related("author").aiterator():
        yield f"{message.sent_at:%Y-%m-%d %H:%M} {message.author}: {message.text}\n"
