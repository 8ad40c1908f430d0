"""Every page of the project."""

from chat.views import Login
from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

from twogate.django.topics import events

urlpatterns = [
    path("", include("pages.urls")),
    path("chat/", include("chat.urls")),
    path("login/", Login.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("events/", events),  # as /live/, for networks that let no WebSocket through
    path("admin/", admin.site.urls),
    # Only under DEBUG, and only so that any server can run the example.
    *staticfiles_urlpatterns(),
]
