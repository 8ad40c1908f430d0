"""Settings of a small project with both entry points. It needs no database."""

# A server that knows one gateway reads one line; Twogate reads both.
WSGI_APPLICATION = "scenes.wsgi.application"
ASGI_APPLICATION = "scenes.asgi.application"

# Good enough for your own machine, and for nothing else.
SECRET_KEY = "django-insecure-for-lessons-only"
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "channels",
    "pages",
]

# The seven that a new Django project has.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "scenes.urls"

TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]

# Sessions are kept in a signed cookie, so no database is asked for them.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
DATABASES = {}

USE_TZ = True
