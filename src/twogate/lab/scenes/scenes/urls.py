"""Which path leads to which view."""

from django.urls import path
from pages import views

urlpatterns = [
    path("page/", views.page),
    path("async-page/", views.async_page),
    path("slow/", views.slow),
    path("async-slow/", views.async_slow),
    path("compute/", views.compute),
    path("async-compute/", views.async_compute),
    path("stream/", views.stream),
]
