"""Every page of the project."""

from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

urlpatterns = [
    path("", include("pages.urls")),
    path("chat/", include("chat.urls")),
    path("admin/", admin.site.urls),
    # Only under DEBUG, and only so that any server can run the example.
    *staticfiles_urlpatterns(),
]
