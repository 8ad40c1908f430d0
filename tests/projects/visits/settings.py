"""The database is the one that ``VISITS_DATABASE`` names, a JSON entry of ``DATABASES``, if any."""

import json
import os

SECRET_KEY = "x"
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "visits.urls"
INSTALLED_APPS = ["django.contrib.sessions"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
FILE_UPLOAD_HANDLERS = ["visits.views.Handler", "visits.views.Files"]
DATABASES = {}
if "VISITS_DATABASE" in os.environ:
    DATABASES["default"] = json.loads(os.environ["VISITS_DATABASE"])
ASGI_APPLICATION = "visits.asgi.application"
