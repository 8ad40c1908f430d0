"""The admin, with one action for people and for rooms: send a notification to their browsers.

All of it is sync code. The action saves nothing: it publishes, and a toast appears on the page that
each person has open, whatever worker serves it.
"""

from __future__ import annotations

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from chat.forms import NotificationForm
from chat.live import notify
from chat.models import Message, Room

User = get_user_model()


def ask_and_notify(
    model_admin: admin.ModelAdmin, request: HttpRequest, chosen: QuerySet, users: QuerySet
) -> HttpResponse | None:
    """Ask what to say; the second time round, say it. The answer ``None`` shows the list again."""
    form = NotificationForm(request.POST if "text" in request.POST else None)
    if form.is_valid():
        notify(users, form.cleaned_data["text"])
        messages.success(request, f"Sent to {users.count()} people.")
        return None
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Send a notification",
        "opts": model_admin.model._meta,
        "chosen": chosen,
        "checkbox": ACTION_CHECKBOX_NAME,
        "form": form,
    }
    return render(request, "chat/notify.html", context)


class PersonAdmin(UserAdmin):
    actions = ["send_notification"]

    @admin.action(description="Send notification", permissions=["change"])
    def send_notification(self, request: HttpRequest, chosen: QuerySet) -> HttpResponse | None:
        return ask_and_notify(self, request, chosen, users=chosen)


admin.site.unregister(User)
admin.site.register(User, PersonAdmin)


@admin.register(Room)
class RoomAdmin(admin.ModelAdmin):
    list_display = ["name", "about", "private"]
    list_filter = ["private"]
    search_fields = ["name"]
    filter_horizontal = ["members"]
    actions = ["send_notification"]

    @admin.action(description="Send notification", permissions=["change"])
    def send_notification(self, request: HttpRequest, chosen: QuerySet) -> HttpResponse | None:
        """To the members, and to all who have ever visited."""
        users = User.objects.filter(rooms__in=chosen) | User.objects.filter(visits__room__in=chosen)
        return ask_and_notify(self, request, chosen, users=users.distinct())


@admin.register(Message)
class MessageAdmin(admin.ModelAdmin):
    list_display = ["sent_at", "room", "author", "text"]
    list_filter = ["room"]
    list_select_related = ["room", "author"]
    search_fields = ["text"]
