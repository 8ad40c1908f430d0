"""As Channels' documentation shows it; Twogate's handler by name, for servers that are not ours."""

# mypy: ignore-errors

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "visits.settings")

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.signals import request_finished

from twogate.django import get_asgi_application

http = get_asgi_application()

from .consumers import patterns  # noqa: E402
from .views import note_finished  # noqa: E402

application = ProtocolTypeRouter({"http": http, "websocket": URLRouter(patterns)})
if "VISITS_LISTEN" in os.environ:
    request_finished.connect(note_finished)
