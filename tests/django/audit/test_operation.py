from __future__ import annotations

import pytest
from tests.support.site import Site, settings

LIVE = ("DEBUG = False", "ALLOWED_HOSTS = ['shop.example']")
SESSIONS = (
    "INSTALLED_APPS = ['django.contrib.sessions']",
    "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}",
)
STATIC = "STATIC_URL = 'static/'"


@pytest.mark.parametrize(
    ("lines", "arguments"),
    [
        (("DEBUG = True  # !W501",), ("--bind", "0.0.0.0:80")),
        (("DEBUG = True  # !W501", "ALLOWED_HOSTS = ['shop.example']"), ()),
        (("DEBUG = False", "ALLOWED_HOSTS = []  # !E503"), ()),
        (("DEBUG = False", "ALLOWED_HOSTS = ['a.example', '*']  # !W504"), ()),
        ((*LIVE, "SECRET_KEY = 'django-insecure-1234567890123456789012345'  # !W502"), ()),
        ((*LIVE, "SECRET_KEY = 'hello'  # !W502"), ()),
        ((*LIVE, "SECRET_KEY = ''  # !W502"), ()),
        (
            (*SESSIONS, "SESSION_ENGINE = 'django.contrib.sessions.backends.cache'  # !W505"),
            ("-w", "2"),
        ),
        (("INSTALLED_APPS = ['django.contrib.staticfiles', 'twogate']  # !W506", STATIC), ()),
    ],
)
def test_a_setting_that_hurts_is_found(
    site: Site, lines: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    site.finds(settings(*lines), *arguments)


@pytest.mark.parametrize(
    ("lines", "arguments"),
    [
        (("ALLOWED_HOSTS = ['localhost', '127.0.0.1', '[::1]', '*']",), ()),
        (LIVE, ("--bind", "0.0.0.0:80", "-w", "4")),
        ((*SESSIONS, "SESSION_ENGINE = 'django.contrib.sessions.backends.cache'"), ()),
        ((*SESSIONS,), ("-w", "2")),
        (("INSTALLED_APPS = ['twogate', 'django.contrib.staticfiles']", STATIC), ()),
        (("SECRET_KEY = 'hello'",), ()),  # DEBUG is on, on this machine
    ],
)
def test_settings_that_are_fine(
    site: Site, lines: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    site.finds(settings(*lines), *arguments)
