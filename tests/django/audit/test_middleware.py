from __future__ import annotations

from tests.support.site import Site, settings

OWN = """\
from django.utils.decorators import async_only_middleware
from django.utils.deprecation import MiddlewareMixin
from twogate.django import nonblocking

def plain(get_response):  # !I105
    return lambda request: get_response(request)

class Hooked(MiddlewareMixin):
    def process_request(self, request):{hooked}
        return None

@nonblocking
class Quick(MiddlewareMixin):
    def process_request(self, request):
        return None

@async_only_middleware
def both(get_response):
    async def call(request):
        return await get_response(request)
    return call
"""
URLS_WITHOUT_ASYNC = """\
from django.urls import path
from mysite import views
urlpatterns = [path('', views.page)]
"""


def test_what_takes_a_thread_is_told_with_its_line(site: Site) -> None:
    files = settings(
        "MIDDLEWARE = ['mysite.own.Quick', 'mysite.own.plain']",
    ) | {"mysite/own.py": OWN.format(hooked="")}
    (finding,) = site.finds(files)
    assert "it is sync only" in finding["message"]
    steps = {step["path"]: step["takes_thread"] for step in site({})["middleware"]}
    assert steps == {"mysite.own.Quick": "", "mysite.own.plain": "it is sync only"}


def test_a_hook_that_may_block_is_named(site: Site) -> None:
    text = OWN.format(hooked="  # !I105").replace("plain(get_response):  # !I105", "plain(g):")
    files = settings("MIDDLEWARE = ['mysite.own.both', 'mysite.own.Hooked']")
    (finding,) = site.finds(files | {"mysite/own.py": text})
    assert "its process_request may block" in finding["message"]


def test_a_middleware_that_crosses_by_itself_is_seen(site: Site) -> None:
    text = (
        "from asgiref.sync import sync_to_async\n"
        "from django.utils.decorators import async_only_middleware\n"
        "@async_only_middleware\ndef counts(get_response):\n"
        "    async def call(request):\n"
        "        await sync_to_async(print)(end='')  # !I105\n"
        "        return await get_response(request)\n"
        "    return call\n"
    )
    files = settings("MIDDLEWARE = ['mysite.own.counts']") | {"mysite/own.py": text}
    (finding,) = site.finds(files)
    assert "it goes to a thread by itself" in finding["message"]


def test_who_has_no_async_view_hears_nothing(site: Site) -> None:
    text = OWN.format(hooked="").replace("  # !I105", "")
    files = settings("MIDDLEWARE = ['mysite.own.plain']") | {"mysite/own.py": text}
    site.finds(files | {"mysite/urls.py": URLS_WITHOUT_ASYNC})


def test_what_is_installed_is_told_at_the_setting(site: Site) -> None:
    files = settings(
        "INSTALLED_APPS = ['django.contrib.sites']", "SITE_ID = 1",
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}",
        "import sys; sys.path.insert(0, __file__.replace('mysite/settings.py', 'site-packages'))",
        "MIDDLEWARE = ['installed.plain']  # !I105",
    ) | {
        "site-packages/installed.py": "def plain(get_response):\n    return get_response\n",
    }  # fmt: skip
    (finding,) = site.finds(files)
    assert "installed.py, line 1" in finding["message"]
    assert 'TWOGATE_NONBLOCKING = ["installed.plain"]' in finding["mend"]


def test_the_order_that_crosses_least_is_proposed(site: Site) -> None:
    # An awaited middleware between two sync ones: the request goes to a thread and back twice.
    order = ["mysite.own.plain", "mysite.own.both", "mysite.own.Hooked"]
    files = settings(f"MIDDLEWARE = {order}  # !I106")
    files["mysite/own.py"] = OWN.format(hooked="  # !I105")
    findings = site.finds(files)
    (order_finding,) = (f for f in findings if f["id"] == "twogate.I106")
    assert "Move mysite.own.plain behind mysite.own.both" in order_finding["mend"]


def test_an_order_that_is_best_is_left_alone(site: Site) -> None:
    order = ["mysite.own.both", "mysite.own.plain", "mysite.own.Hooked"]
    files = settings(f"MIDDLEWARE = {order}")
    site.finds(files | {"mysite/own.py": OWN.format(hooked="  # !I105")})
