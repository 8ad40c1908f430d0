"""The chat's pages. They are sync: only the WebSocket behind them is not."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.text import slugify
from django.views.decorators.http import require_safe

ROOMS = {
    "garden": "Slow talk, long pauses.",
    "kitchen": "What is everybody eating?",
    "workshop": "Show what you are building.",
}
ROOM_NAME_LENGTH = 40


@require_safe
def rooms(request: HttpRequest) -> HttpResponse:
    """The list of rooms; ``?room=`` opens one, known or new."""
    wanted = slugify(request.GET.get("room", ""))[:ROOM_NAME_LENGTH]
    if wanted:
        return redirect("chat:room", room=wanted)
    return render(request, "chat/rooms.html", {"rooms": ROOMS, "length": ROOM_NAME_LENGTH})


@require_safe
def room(request: HttpRequest, room: str) -> HttpResponse:
    """One room."""
    return render(request, "chat/room.html", {"room": room, "about": ROOMS.get(room, "")})
