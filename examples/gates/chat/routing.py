from django.urls import path

from chat.consumers import RoomConsumer
from twogate.django.subscriptions import subscriptions

websocket_urlpatterns = [
    path("live/", subscriptions),  # all that is published, for those who may hear it
    path("ws/room/<int:pk>/", RoomConsumer.as_asgi()),
]
