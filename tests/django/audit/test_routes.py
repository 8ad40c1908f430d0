from __future__ import annotations

import functools
from pathlib import Path

import pytest
from django.views import View
from tests.support.site import Site, settings

from twogate.django.audit.routes import place_of

THIS = Path(__file__)

SEVEN = """\
INSTALLED_APPS = ['django.contrib.auth', 'django.contrib.contenttypes',
    'django.contrib.sessions', 'django.contrib.messages']
MIDDLEWARE = ['django.middleware.security.SecurityMiddleware',
    'django.contrib.sessions.middleware.SessionMiddleware',
    'django.middleware.common.CommonMiddleware',
    'django.middleware.csrf.CsrfViewMiddleware',
    'django.contrib.auth.middleware.AuthenticationMiddleware',
    'django.contrib.messages.middleware.MessageMiddleware',
    'django.middleware.clickjacking.XFrameOptionsMiddleware']
"""
VIEWS = """\
from django.http import HttpResponse
from django.views import View
from twogate.django import gateway
def page(request): return HttpResponse('page')
async def live(request): return HttpResponse('live')
@gateway('asgi')
def chosen(request): return HttpResponse('chosen')

class Shop(View):
    async def get(self, request, pk): return HttpResponse('shop')
"""
URLS = """\
from django.urls import include, path, re_path
from mysite import views
shops = [path('<int:pk>/', views.Shop.as_view())]
urlpatterns = [
    path('', views.page), path('live/', views.live), path('chosen/', views.chosen),
    path('shops/', include(shops)), re_path(r'^ruled/(?P<n>.+)$', views.page),
]
"""


def test_every_pattern_is_told(site: Site) -> None:
    rules = settings(SEVEN, "TWOGATE_GATEWAYS = [(r'^/ruled/', 'asgi')]")
    report = site(rules | {"mysite/views.py": VIEWS, "mysite/urls.py": URLS})
    assert report["findings"] == []
    told = {
        route["path"]: (route["view"], route["line"], route["async"], route["gateway"])
        for route in report["routes"]
    }
    assert told == {
        "/": ("mysite.views.page", 4, False, "wsgi"),
        "/live/": ("mysite.views.live", 5, True, "asgi"),
        "/chosen/": ("mysite.views.chosen", 6, False, "asgi"),
        "/shops/<int:pk>/": ("mysite.views.Shop", 9, True, "asgi"),
        "/ruled/(?P<n>.+)": ("mysite.views.page", 4, False, "asgi"),
    }
    assert {route["file"] for route in report["routes"]} == {"mysite/views.py"}
    crossings = {route["path"]: route["crossings"] for route in report["routes"]}
    assert crossings["/"]["twogate"] == 0
    assert crossings["/live/"]["twogate"] == 0
    assert crossings["/chosen/"]["twogate"] == 1  # a sync view on the loop's side needs a thread
    assert all(count["stock"] >= 2 for count in crossings.values())
    whys = {route["path"]: route["why"] for route in report["routes"]}
    assert "@gateway" in whys["/chosen/"]
    assert "TWOGATE_GATEWAYS" in whys["/ruled/(?P<n>.+)"]


def test_a_forced_gateway_holds_for_all(site: Site) -> None:
    assert {r["gateway"] for r in site({}, "--gateway", "wsgi")["routes"]} == {"wsgi"}


def test_nobody_is_asked_without_a_probe(site: Site) -> None:
    middleware = "def fails(get_response):\n    raise RuntimeError('made')\n"
    files = settings("MIDDLEWARE = ['mysite.fails.fails']") | {"mysite/fails.py": middleware}
    report = site({"mysite/urls.py": "urlpatterns = []\n"}, "--no-probe")
    assert report["findings"] == []
    assert {r["crossings"]["stock"] for r in site(files, "--no-probe")["routes"]} <= {None}


def test_a_visitor_may_be_turned_away_by_a_middleware(site: Site) -> None:
    guard = (
        "from django.http import HttpResponse\ndef guard(get_response):\n"
        "    return lambda request: HttpResponse('no', status=403)\n"
    )
    files = settings("MIDDLEWARE = ['mysite.guard.guard']") | {
        "mysite/guard.py": guard,
        "mysite/urls.py": (
            "from django.urls import path\nfrom mysite import views\n"
            "urlpatterns = [path('', views.page)]\n"
        ),
    }
    assert [r["reached"] for r in site(files)["routes"]] == [False]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {
                "mysite/views.py": (
                    "import functools\nfrom django.http import HttpResponse\n"
                    "def page(request): return HttpResponse('page')\n"
                    "def counted(view):\n    @functools.wraps(view)\n"
                    "    def inner(request): return view(request)\n    return inner\n"
                    "@counted  # !E101\n"
                    "async def live(request): return HttpResponse('live')\n"
                )
            },
            "counted around it is a sync function",
        ),
        (
            settings(
                "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3',",
                "    'NAME': ':memory:', 'ATOMIC_REQUESTS': True}}",
            )
            | {
                "mysite/views.py": (
                    "from django.http import HttpResponse\n"
                    "def page(request): return HttpResponse('page')\n"
                    "async def live(request): return HttpResponse('live')  # !E102\n"
                )
            },
            "ATOMIC_REQUESTS",
        ),
        (settings("TWOGATE_GATEWAYS = [('^/a', 'asgj')]  # !E103"), "'asgj'"),
        (
            settings("MIDDLEWARE = ['mysite.fails.fails']")
            | {
                "mysite/fails.py": (
                    "def fails(get_response):\n    def call(request):\n"
                    "        raise RuntimeError('no luck')  # !W104\n    return call\n"
                )
            },
            "no luck",
        ),
    ],
)
def test_a_mistake_is_found_where_it_is(site: Site, files: dict[str, str], words: str) -> None:
    findings = [f for f in site(files)["findings"] if f["level"] != "info"]
    assert len(findings) == 1
    assert words in findings[0]["message"]
    found = {(f["id"].removeprefix("twogate."), f["file"], f["line"]) for f in findings}
    from tests.support.site import marks

    assert found == marks(site.files)


@pytest.mark.parametrize(
    "wrapper",
    [
        "    from asgiref.sync import async_to_sync\n"
        "    @functools.wraps(view)\n    def inner(request): return async_to_sync(view)(request)\n",
        "    from asgiref.sync import markcoroutinefunction\n"
        "    @functools.wraps(view)\n    def inner(request): return view(request)\n"
        "    markcoroutinefunction(inner)\n",
        "    @functools.wraps(view)\n    async def inner(request): return await view(request)\n",
    ],
)
def test_a_decorator_that_knows_async_views_is_left_alone(site: Site, wrapper: str) -> None:
    site.finds(
        {
            "mysite/views.py": (
                "import functools\nfrom django.http import HttpResponse\n"
                "def page(request): return HttpResponse('page')\n"
                f"def counted(view):\n{wrapper}    return inner\n"
                "@counted\nasync def live(request): return HttpResponse('live')\n"
            )
        }
    )


def test_where_a_view_is_defined() -> None:
    def decorate(view: object) -> object:
        @functools.wraps(view)  # type: ignore[arg-type]
        def inner() -> None: ...

        return inner

    def plain() -> None: ...

    line = plain.__code__.co_firstlineno
    assert place_of(plain) == (THIS, line)
    assert place_of(decorate(plain)) == (THIS, line)
    assert place_of(functools.partial(plain)) == (THIS, line)
    assert place_of(functools.partial(plain)) == (THIS, line)
    view = Page.as_view()
    lines = THIS.read_text(encoding="utf-8").splitlines()
    assert place_of(view) == (THIS, lines.index("class Page(View):  # type: ignore[misc]") + 1)
    assert place_of(len) is None


class Page(View):  # type: ignore[misc]
    pass
