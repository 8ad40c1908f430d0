from django.urls import path

from pages import views

app_name = "pages"
urlpatterns = [
    path("", views.home, name="home"),
    path("waits/", views.waits, name="waits"),
    path("ticks/", views.ticks, name="ticks"),
    path("ticks/stream/", views.stream, name="stream"),
]
