"""The synchronous entry point: the server calls ``application`` on a thread, and waits."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scenes.settings")

application = get_wsgi_application()
