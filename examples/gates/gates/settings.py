"""Settings of the example project: both gates, and nothing that needs a service.

The pages about the gates work without a database; the chat and the admin want ``migrate`` first.
"""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

# The two gates. A server that knows one of them reads one line; Twogate reads both.
WSGI_APPLICATION = "gates.wsgi.application"
ASGI_APPLICATION = "gates.asgi.application"

# Good enough for an example on your own machine. A site that others reach sets all three.
SECRET_KEY = os.environ.get("GATES_SECRET_KEY", "django-insecure-for-the-example-only")
DEBUG = os.environ.get("GATES_DEBUG", "1") == "1"
ALLOWED_HOSTS = os.environ.get("GATES_ALLOWED_HOSTS", "localhost 127.0.0.1 [::1]").split()

INSTALLED_APPS = [
    "twogate",  # its browser client, live.js; first, so that `manage.py runserver` is Twogate's
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "pages",
    "chat",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "gates.urls"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "pages.passage.passage",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("GATES_DATABASE", BASE_DIR / "gates.sqlite3"),
        "OPTIONS": {
            # Those who read and the one who writes do not wait for each other.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            # Whoever will write waits at the beginning, and does not fail in the middle.
            "transaction_mode": "IMMEDIATE",
            "timeout": 10,
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# What is pushed to browsers: through files on this machine, or through Redis where the environment
# has TWOGATE_REALTIME_URL=redis://localhost. Nothing else changes.
TWOGATE_REALTIME_URL = os.environ.get("TWOGATE_REALTIME_URL", "local")
TWOGATE_TOPICS = {"allow": "chat.live.may_subscribe", "presence": "chat.live.presence"}

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "chat:rooms"
LOGOUT_REDIRECT_URL = "pages:home"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "collected"
