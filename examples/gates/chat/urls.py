from django.urls import path

from chat import views

app_name = "chat"
urlpatterns = [
    path("", views.rooms, name="rooms"),
    path("new/", views.new_room, name="new"),
    path("<int:pk>/", views.room, name="room"),
    path("<int:pk>/before/<int:before>/", views.room, name="before"),
    path("<int:pk>/after/<int:after>/", views.room, name="after"),
    path("<int:pk>/transcript/", views.transcript, name="transcript"),
]
