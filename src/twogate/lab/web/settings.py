"""Settings of the lab's own Django project.

What differs from one start to the next comes from the environment: ``TWOGATE_LAB_DATA`` is the
folder of the database and the key, ``TWOGATE_LAB_TOKEN`` the word that lets browsers of other
machines in (see :mod:`twogate.lab.web.safety`).
"""

from __future__ import annotations

import os
from pathlib import Path

from twogate.lab.web.folder import read_key

HERE = Path(__file__).parent
DATA = Path(os.environ["TWOGATE_LAB_DATA"])
#: Empty while the lab is bound to loopback.
LAB_TOKEN = os.environ.get("TWOGATE_LAB_TOKEN", "")

DEBUG = False
SECRET_KEY = read_key(DATA)
# A foreign site may lead its own name to 127.0.0.1. With a token, it is the token that counts.
ALLOWED_HOSTS = ["*"] if LAB_TOKEN else ["localhost", "127.0.0.1", "[::1]"]
ROOT_URLCONF = "twogate.lab.web.urls"
WSGI_APPLICATION = "twogate.lab.web.wsgi.application"
ASGI_APPLICATION = "twogate.lab.web.asgi.application"

INSTALLED_APPS = ["twogate.lab.web.apps.LabConfig"]
MIDDLEWARE = [
    "twogate.lab.web.safety.shield",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "twogate.lab.web.learners.remember",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "twogate.lab.web.learners.context",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "lab.sqlite3",
        "CONN_MAX_AGE": None,
        # Writers wait for one another instead of failing when a reading turns into a writing.
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    }
}
# What is pushed to the windows of the Live page.
TWOGATE_TOPICS = {
    "allow": "twogate.lab.web.windows.may_subscribe",
    "presence": "twogate.lab.web.windows.member",
    "keep": 100,
    "grace": 1,
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CSRF_COOKIE_NAME = "twogate_lab_csrf"
CSRF_COOKIE_SAMESITE = "Strict"
CSRF_FAILURE_VIEW = "twogate.lab.web.safety.csrf_failure"
# An exported file is the largest thing that comes in.
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 1024 * 1024
STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
# Who reads the terminal hears of bugs; of a learner's mistakes the page tells.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"django.request": {"handlers": ["console"], "level": "ERROR"}},
}
