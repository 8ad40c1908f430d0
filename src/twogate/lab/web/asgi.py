"""The lab's ASGI entry point: async views, and the WebSockets of the Live page."""

from __future__ import annotations

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "twogate.lab.web.settings")

# Django must be set up before what imports models.
django_application = get_asgi_application()

from twogate.lab.web.sockets import sockets  # noqa: E402

application = ProtocolTypeRouter({"http": django_application, "websocket": sockets})
