"""The synchronous gate: sync views come in here, one request at a time per thread."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gates.settings")

application = get_wsgi_application()
