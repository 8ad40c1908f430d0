"""Each project is loaded by a process of its own, as a worker does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Write = Callable[[str, str], Path]
Run = Callable[..., subprocess.CompletedProcess[str]]

LOAD = """
import json, os, sys
from twogate.config import resolve
from twogate.errors import ProjectError
from twogate.django.project import load
from twogate.protocol.events import RequestHead

paths = json.loads(sys.argv[2])
try:
    loaded = load(resolve(json.loads(sys.argv[1]), os.environ))
except ProjectError as error:
    print(json.dumps({"message": error.message, "mend": error.mend}))
    raise SystemExit

def choose(path):
    return loaded.chooser(RequestHead("GET", path.encode(), b"", "1.1", [])).reason

print(json.dumps({
    "wsgi": type(loaded.wsgi).__name__,
    "asgi": type(loaded.asgi).__name__,
    "debug": loaded.debug,
    "notes": loaded.notes,
    "origins": loaded.websocket_origins,
    "hosts": [loaded.allows_host(host) for host in ("localhost", "evil.example")]
    if loaded.allows_host else [],
    "chooser": loaded.chooser is not None,
    "choices": [choose(path) for path in paths] if loaded.chooser else [],
}))
"""

MANAGE = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")\n'
SETTINGS = """
SECRET_KEY = "x"
DEBUG = False
ALLOWED_HOSTS = ["localhost"]
ROOT_URLCONF = "mysite.urls"
INSTALLED_APPS = []
MIDDLEWARE = []
USE_TZ = True
"""
URLS = """
from django.http import HttpResponse
from django.urls import path

def page(request):
    return HttpResponse("page")

async def live(request):
    return HttpResponse("live")

urlpatterns = [path("", page), path("live/", live)]
"""
WSGI = "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n"
ASGI = "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n"
STATIC = "INSTALLED_APPS = ['django.contrib.staticfiles']\nSTATIC_URL = 'static/'\nDEBUG = True\n"


class Site:
    """A project on disk."""

    def __init__(self, write: Write, run: Run) -> None:
        self.write, self.run = write, run
        self.write("manage.py", MANAGE)
        self.write("mysite/__init__.py", "")
        self.settings("")
        self.write("mysite/urls.py", URLS)
        self.write("mysite/wsgi.py", WSGI)
        self.write("mysite/asgi.py", ASGI)

    def settings(self, more: str) -> None:
        self.write("mysite/settings.py", SETTINGS + more)

    def load(self, *paths: str, **options: object) -> dict[str, Any]:
        done = self.run("-c", LOAD, json.dumps(options), json.dumps(paths))
        assert done.returncode == 0, done.stderr
        loaded: dict[str, Any] = json.loads(done.stdout)
        return loaded

    def warnings(self, **options: object) -> list[str]:
        notes: list[str] = self.load(**options)["notes"]
        return [note for note in notes if note.startswith("warning: ")]


@pytest.fixture
def site(write: Write, run_python: Run) -> Site:
    return Site(write, run_python)


def test_entry_points_beside_the_settings(site: Site) -> None:
    loaded = site.load("/", "/live/", "/missing")
    assert loaded["notes"] == [
        "project: mysite.settings (named by manage.py)",
        "WSGI: mysite.wsgi.application",
        "ASGI: mysite.asgi.application",
        "handler: Twogate's, in the place of Django's",
        "views: 2 URL patterns, 1 to WSGI and 1 to ASGI",
    ]
    assert loaded["choices"] == [
        "sync view mysite.urls.page",
        "async view mysite.urls.live",
        "no URL matches",
    ]
    assert not loaded["debug"]


def test_django_keeps_its_own_handlers_when_told_to(site: Site) -> None:
    ours, stock = site.load(), site.load(stock_handler=True)
    assert "handler: Twogate's, in the place of Django's" in ours["notes"]
    assert "handler: Django's own (--stock-handler)" in stock["notes"]
    assert stock["asgi"] == "ASGIHandler"


def test_entry_points_that_the_settings_name_are_used_as_they_are(site: Site) -> None:
    site.write(
        "gates/own.py",
        WSGI + "class Wrapped:\n"
        "    def __call__(self, *args): return application(*args)\n"
        "wrapped = Wrapped()\n",
    )
    site.settings('WSGI_APPLICATION = "gates.own.wrapped"\n')
    loaded = site.load(gateway="wsgi")
    assert "WSGI: gates.own.wrapped" in loaded["notes"]
    assert loaded["wsgi"] == "Wrapped"


def test_settings_in_a_package_as_wagtail_makes_them(site: Site) -> None:
    site.write("mysite/settings/__init__.py", "")
    site.write("mysite/settings/base.py", SETTINGS)
    site.write("mysite/settings/dev.py", "from .base import *\n")
    (site.write("mysite/asgi.py", "")).unlink()
    loaded = site.load(settings="mysite.settings.dev")
    assert "WSGI: mysite.wsgi.application" in loaded["notes"]
    assert "ASGI: Django's own get_asgi_application()" in loaded["notes"]


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_one_entry_point_is_enough(site: Site, kind: str) -> None:
    site.write(f"mysite/{kind}.py", "").unlink()
    loaded = site.load()
    assert f"{kind.upper()}: Django's own get_{kind}_application()" in loaded["notes"]
    (warning,) = [note for note in loaded["notes"] if note.startswith("warning: ")]
    assert f"add mysite/{kind}.py" in warning
    assert loaded["chooser"]


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_the_usual_file_may_be_deleted_although_the_settings_name_it(site: Site, kind: str) -> None:
    """``startproject`` writes WSGI_APPLICATION; those who serve by ASGI delete the file only."""
    site.settings(f'{kind.upper()}_APPLICATION = "mysite.{kind}.application"\n')
    assert f"{kind.upper()}: mysite.{kind}.application" in site.load()["notes"]
    site.write(f"mysite/{kind}.py", "").unlink()
    notes = site.load()["notes"]
    assert f"{kind.upper()}: Django's own get_{kind}_application()" in notes
    (warning,) = [note for note in notes if note.startswith("warning: ")]
    assert f"add mysite/{kind}.py" in warning


def test_where_all_views_agree_no_path_is_resolved(site: Site) -> None:
    site.write("mysite/urls.py", URLS.replace(', path("live/", live)', ""))
    assert site.load("/anything")["choices"] == ["all 1 URL patterns go to wsgi"]
    site.settings("DEBUG = True\n")
    assert site.load("/")["choices"] == ["sync view mysite.urls.page"]


def test_patterns_in_the_settings(site: Site) -> None:
    site.settings('TWOGATE_GATEWAYS = [("^/$", "asgi")]\n')
    assert site.load("/")["choices"] == ["pattern ^/$ in TWOGATE_GATEWAYS"]
    site.settings('TWOGATE_GATEWAYS = [("^/$", "both")]\n')
    assert "TWOGATE_GATEWAYS[0]" in site.load()["message"]


def test_static_files_are_served_under_debug_only(site: Site) -> None:
    site.settings(STATIC)
    loaded = site.load("/static/admin.css")
    assert (loaded["wsgi"], loaded["asgi"]) == ("StaticFilesHandler", "ASGIStaticFilesHandler")
    assert "static: /static/ served because DEBUG is on" in loaded["notes"]
    assert loaded["choices"] == ["static file"]
    assert loaded["debug"]
    site.settings(STATIC + "DEBUG = False\n")
    assert site.load()["wsgi"] == "function"
    site.settings(STATIC + "STATIC_URL = None\n")
    assert any("static files are not served" in warning for warning in site.warnings())


@pytest.mark.parametrize(
    ("file", "code", "message", "mend"),
    [
        ("urls", "urlpatterns = [\n", "mysite/urls.py, line 1: SyntaxError: ", "Mend that line"),
        ("views", "def page(:\n", "mysite/views.py, line 1: SyntaxError: ", "Mend that line"),
        (
            "views",
            "from django.http import HttpResponse\npage = HttpRespons\n",
            "mysite/views.py, line 2: NameError: name 'HttpRespons'",
            "The file imports HttpResponse",
        ),
        (
            "urls",
            "import not_installed_anywhere\n",
            "mysite/urls.py, line 1: ModuleNotFoundError: ",
            "Install the package that provides 'not_installed_anywhere'",
        ),
        ("views", "", "mysite/urls.py, line 2: ImportError: cannot import name 'page'", "spelling"),
        ("urls", "nothing = 1\n", "The included URLconf 'mysite.urls' does not", "urlpatterns"),
    ],
)
def test_a_urlconf_that_does_not_load(
    site: Site, file: str, code: str, message: str, mend: str
) -> None:
    site.write("mysite/views.py", "def page(request): ...\n")
    site.write(
        "mysite/urls.py",
        "from django.urls import path\nfrom .views import page\nurlpatterns = [path('', page)]\n",
    )
    site.load()
    site.write(f"mysite/{file}.py", code)
    told = site.load()
    assert message in told["message"]
    assert "importing the URLconf mysite.urls" in told["message"]
    assert mend in told["mend"]


def test_a_site_of_websockets_only_needs_no_urlconf(site: Site) -> None:
    site.settings("del ROOT_URLCONF\n")
    (warning,) = site.warnings()
    assert "no ROOT_URLCONF" in warning


@pytest.mark.parametrize(
    ("more", "options", "says"),
    [
        ("DEBUG = True\n", {"bind": ["0.0.0.0:80"]}, "DEBUG is on and others"),
        ("DEBUG = True\n", {"bind": ["unix:/a"]}, None),
        ("ALLOWED_HOSTS = []\n", {}, "ALLOWED_HOSTS is empty"),
        ("DEBUG = True\nALLOWED_HOSTS = []\n", {}, None),
        ("", {"gateway": "wsgi"}, "1 async views run through WSGI"),
        (
            "CHANNEL_LAYERS = {'default': {'BACKEND': 'channels.layers.InMemoryChannelLayer'}}\n",
            {"workers": 2},
            "in-memory channel layer",
        ),
        (
            "CHANNEL_LAYERS = {'default': {'BACKEND': 'channels.layers.InMemoryChannelLayer'}}\n",
            {"workers": 1},
            None,
        ),
        ("CHANNEL_LAYERS = None\n", {"workers": 2}, None),
    ],
)
def test_what_looks_wrong(
    site: Site, more: str, options: dict[str, object], says: str | None
) -> None:
    site.settings(more)
    warnings = site.warnings(**options)
    if says is None:
        assert warnings == []
    else:
        (warning,) = warnings
        assert says in warning


def test_channels_routers(site: Site) -> None:
    router = (
        ASGI.replace("application =", "django =")
        + "from channels.routing import ProtocolTypeRouter, URLRouter\n"
        + "from django.urls import path, re_path\n"
        + "async def events(scope, receive, send): ...\n"
    )
    site.write("mysite/asgi.py", router + 'application = ProtocolTypeRouter({"websocket": events})')
    loaded = site.load()
    assert "ASGI: mysite.asgi.application (websocket)" in loaded["notes"]
    assert not loaded["chooser"]  # HTTP has nowhere to go but WSGI
    (warning,) = [note for note in loaded["notes"] if note.startswith("warning: ")]
    assert "so 1 async views run through WSGI" in warning
    assert "does not serve HTTP" in site.load(gateway="asgi")["message"]
    site.write(
        "mysite/asgi.py",
        router + 'application = ProtocolTypeRouter({"http": URLRouter(['
        'path("events/", events), re_path("", django)])})',
    )
    assert site.load("/events/", "/")["choices"] == [
        "route of the ASGI application",
        "sync view mysite.urls.page",
    ]


# Failures.


def test_the_classic_mistake(site: Site) -> None:
    site.write("mysite/asgi.py", ASGI.replace("= get_asgi", "= get_wsgi"))
    failed = site.load()
    assert failed["message"].startswith("mysite/asgi.py, line 2: NameError")
    assert "call get_asgi_application() there" in failed["mend"]


def test_the_other_gateways_handler(site: Site) -> None:
    site.write("mysite/asgi.py", WSGI)
    failed = site.load()
    assert failed["message"].startswith("mysite.asgi.application is a WSGIHandler")
    assert "from django.core.asgi import get_asgi_application" in failed["mend"]


def test_a_wrong_variable_name(site: Site) -> None:
    site.write("mysite/wsgi.py", WSGI.replace("application =", "app ="))
    failed = site.load()
    assert failed["message"] == "mysite/wsgi.py has no attribute 'application'."
    assert "Did you mean app?" in failed["mend"]


@pytest.mark.parametrize(
    ("file", "content", "says", "mend"),
    [
        ("mysite/settings.py", "import environ_not_there", "mysite/settings.py, line 1", "Install"),
        ("mysite/settings.py", "x = (", "mysite/settings.py, line 1: SyntaxError", "Mend"),
        (
            "mysite/settings.py",
            "from django.core.exceptions import ImproperlyConfigured\n"
            "raise ImproperlyConfigured('Set DATABASE_URL')",
            "mysite/settings.py, line 2: ImproperlyConfigured: Set DATABASE_URL",
            "settings",
        ),
        (
            "mysite/settings.py",
            SETTINGS + "INSTALLED_APPS = ['crispy_not_there']",
            "setting up the apps in INSTALLED_APPS failed: ModuleNotFoundError",
            "'crispy_not_there', or take it out of the settings",
        ),
        (
            "mysite/settings.py",
            SETTINGS + "WSGI_APPLICATION = 'mysite.wsgy.application'",
            "WSGI_APPLICATION names the module 'mysite.wsgy', which does not exist.",
            "Check the spelling",
        ),
        (
            "mysite/settings.py",
            SETTINGS + "WSGI_APPLICATION = 'application'",
            "WSGI_APPLICATION = 'application' names no module",
            "application.wsgi.application",
        ),
        (
            "mysite/settings.py",
            SETTINGS + "TWOGATE_WEBSOCKET_ORIGINS = 'example.com'",
            "TWOGATE_WEBSOCKET_ORIGINS = 'example.com'",
            "https://example.com",
        ),
        ("manage.py", MANAGE.replace("mysite.", "mysit."), "'mysit.settings'", "spelling"),
        ("manage.py", MANAGE.replace("mysite.", "mysite.conf."), "'mysite.conf.settings'", "spell"),
        ("mysite/__init__.py", "1 / 0", "mysite/__init__.py, line 1: ZeroDivisionError", ""),
    ],
)
def test_failures_name_the_cause_and_the_mend(
    site: Site, file: str, content: str, says: str, mend: str
) -> None:
    site.write(file, content)
    failed = site.load()
    assert says in failed["message"]
    assert mend in failed["mend"]
    assert failed["mend"]


def test_the_hosts_of_the_settings_are_those_whose_pages_may_open_sockets(site: Site) -> None:
    loaded = site.load()
    assert (loaded["origins"], loaded["hosts"]) == (None, [True, False])
    site.settings('TWOGATE_WEBSOCKET_ORIGINS = ["https://app.example"]')
    assert site.load()["origins"] == ["https://app.example"]
    # What is given to the command counts for more.
    assert site.load(websocket_origins="any")["origins"] is None


# Named applications.


def test_any_applications_need_no_django(write: Write, run_python: Run) -> None:
    write("shop.py", "def app(environ, start_response): ...\n")
    write("chat.py", "async def app(scope, receive, send): ...\n")
    loads = LOAD + "\nassert not [m for m in sys.modules if m.split('.')[0] == 'django'], 'django'"
    done = run_python("-c", loads, json.dumps({"wsgi": "shop:app", "asgi": "chat:app"}), "[]")
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout)
    assert loaded["notes"] == [
        "WSGI: shop:app",
        "ASGI: chat:app",
        "views: HTTP goes to WSGI, WebSocket to ASGI",
    ]


def test_one_named_application_is_the_only_gateway(site: Site) -> None:
    site.write("chat.py", "async def app(scope, receive, send): ...\n")
    loaded = site.load(asgi="chat:app")
    assert (loaded["wsgi"], loaded["asgi"]) == ("NoneType", "function")
    assert "--gateway wsgi needs" in site.load(asgi="chat:app", gateway="wsgi")["message"]


def test_a_named_django_is_chosen_by_its_views(site: Site) -> None:
    site.write("mysite/wsgi.py", MANAGE + WSGI)
    site.write("mysite/asgi.py", MANAGE + ASGI)
    loaded = site.load("/live/", wsgi="mysite.wsgi", asgi="mysite.asgi")
    assert loaded["choices"] == ["async view mysite.urls.live"]
    site.write("other.py", "def app(environ, start_response): ...\n")
    assert not site.load(wsgi="other:app", asgi="mysite.asgi")["chooser"]


def test_a_named_django_of_the_other_gateway(site: Site) -> None:
    site.write("mysite/wsgi.py", MANAGE + WSGI)
    failed = site.load(asgi="mysite.wsgi")
    assert failed["message"].startswith("mysite.wsgi.application is a WSGIHandler")


@pytest.mark.parametrize(
    ("spelling", "says", "mend"),
    [
        ("shop:aap", "shop.py has no attribute 'aap'", "Did you mean --wsgi shop:app?"),
        ("shop:NUMBER", "it is int and cannot be called", "--wsgi"),
        ("shopp:app", "--wsgi names the module 'shopp'", "Check the spelling"),
        ("shopp.wsgi:app", "--wsgi names the module 'shopp.wsgi'", "Check the spelling"),
    ],
)
def test_a_name_that_is_wrong(
    write: Write, run_python: Run, spelling: str, says: str, mend: str
) -> None:
    write("shop.py", "def app(environ, start_response): ...\nNUMBER = 3\n")
    done = run_python("-c", LOAD, json.dumps({"wsgi": spelling}), "[]")
    failed = json.loads(done.stdout)
    assert says in failed["message"]
    assert mend in failed["mend"]
