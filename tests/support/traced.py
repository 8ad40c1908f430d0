"""A project to trace: Django's seven middlewares, a view of each kind, and a count of its own.

``counts.txt`` gets a line for each request: how often asgiref was called, counted by patches that
know nothing of Twogate's.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

COUNTER = """\
from asgiref.sync import AsyncToSync, SyncToAsync

count = 0

def patch():
    to_thread, to_loop = SyncToAsync.__call__, AsyncToSync.__call__

    async def there(self, *arguments, **keywords):
        global count
        count += 1
        return await to_thread(self, *arguments, **keywords)

    def back(self, *arguments, **keywords):
        global count
        count += 1
        return to_loop(self, *arguments, **keywords)

    SyncToAsync.__call__, AsyncToSync.__call__ = there, back

def begin():
    global count
    count = 0

def end(gateway):
    with open("counts.txt", "a") as file:
        file.write(f"{gateway} {count}\\n")
"""

FILES = {
    "manage.py": "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site1.settings')\n",
    "site1/__init__.py": "",
    "site1/counter.py": COUNTER,
    "site1/settings.py": """\
from pathlib import Path
from site1 import counter
counter.patch()
BASE_DIR = Path(__file__).parent.parent
SECRET_KEY = "x" * 50
DEBUG = True
ROOT_URLCONF = "site1.urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes",
                  "django.contrib.sessions", "django.contrib.messages", "channels"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates",
              "DIRS": [BASE_DIR / "templates"]}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
USE_TZ = True
""",
    "templates/page.html": "<p>{{ user }}</p><form>{% csrf_token %}</form>",
    "site1/views.py": """\
import time
from pathlib import Path
from django.contrib.auth.models import User
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.views import View

def page(request):
    return HttpResponse("page")

async def live(request):
    return HttpResponse("live")

class Live(View):
    async def get(self, request):
        return HttpResponse("live")

def users(request):
    for _ in range(6):
        list(User.objects.filter(username="anna"))
    return render(request, "page.html", {"user": request.user})

async def ausers(request):
    return HttpResponse(str(await User.objects.acount()))

def slow(request):
    Path("slow.txt").touch()
    time.sleep(60)

def wrong(request):
    raise LookupError("not here")

def door(request):
    response = HttpResponse(type(request).__name__)
    response["X-Door"] = type(request).__module__
    return response

def save(request):
    User.objects.create(username=request.POST["name"])
    return JsonResponse({"users": User.objects.count()}, status=201)
""",
    "site1/urls.py": """\
from django.urls import path
from site1 import views
urlpatterns = [path("", views.page), path("live/", views.live),
               path("class/", views.Live.as_view()),
               path("users/", views.users), path("ausers/", views.ausers),
               path("wrong/", views.wrong), path("slow/", views.slow),
               path("door/", views.door), path("save/", views.save)]
""",
    "site1/wsgi.py": """\
from django.core.wsgi import get_wsgi_application
from site1 import counter
django_application = get_wsgi_application()

def application(environ, start_response):
    counter.begin()
    response = django_application(environ, start_response)
    close = response.close
    def end():
        close()
        counter.end("wsgi")
    response.close = end
    return response
""",
    "site1/asgi.py": """\
from django.core.asgi import get_asgi_application
from site1 import counter
django_application = get_asgi_application()
from channels.generic.websocket import AsyncWebsocketConsumer

class Echo(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=f"you said {text_data}")

echo = Echo.as_asgi()

async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await echo(scope, receive, send)
        return
    counter.begin()
    await django_application(scope, receive, send)
    counter.end("asgi")
""",
}


def write(folder: Path) -> Path:
    """Write the project and its database, with the user ``anna``."""
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    with sqlite3.connect(folder / "db.sqlite3") as database:
        database.executescript(_TABLES)
    database.close()
    return folder


_TABLES = """
CREATE TABLE auth_user (id integer PRIMARY KEY AUTOINCREMENT, password varchar(128) NOT NULL,
 last_login datetime, is_superuser bool NOT NULL, username varchar(150) NOT NULL UNIQUE,
 first_name varchar(150) NOT NULL, last_name varchar(150) NOT NULL, email varchar(254) NOT NULL,
 is_staff bool NOT NULL, is_active bool NOT NULL, date_joined datetime NOT NULL);
CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL,
 expire_date datetime NOT NULL);
INSERT INTO auth_user VALUES (1, '!', NULL, 0, 'anna', '', '', '', 0, 1, '2026-01-01 00:00:00');
"""


def counted(folder: Path) -> list[tuple[str, int]]:
    """What the project counted: gateway and crossings of each request, in order."""
    lines = (folder / "counts.txt").read_text(encoding="utf-8").splitlines()
    return [(gateway, int(count)) for gateway, count in map(str.split, lines)]
