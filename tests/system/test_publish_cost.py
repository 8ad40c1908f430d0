"""What a sync view pays for publishing, beside the same view that does not.

Coarse, because machines are busy: `benchmarks/run.py --only publish` measures it. The quickest
answers of each view are compared, which others on the machine disturb least.
"""

from __future__ import annotations

import http.client
import statistics
import tempfile
import time
from pathlib import Path

from .conftest import Serve

SETTINGS = """
SECRET_KEY = "cost"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "site_urls"
INSTALLED_APPS = [
    f"django.contrib.{app}" for app in ("auth", "contenttypes", "messages", "sessions")
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
TWOGATE_TOPICS = {"folder": %r}
"""
URLS = """
from django.http import HttpResponse
from django.urls import path

from twogate.realtime import publish


def plain(request):
    return HttpResponse("said")


def say(request):
    publish("news", "said")
    return HttpResponse("said")


urlpatterns = [path("plain/", plain), path("say/", say)]
"""
ROUNDS = 25
REQUESTS = 20
QUICKEST = 50
#: Of the plain view's time. A page on a quiet machine takes 0.2 ms, and publishing may add 0.1 ms.
MOST = 1.75


def took(connection: http.client.HTTPConnection, path: str) -> float:
    start = time.perf_counter()
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    elapsed = time.perf_counter() - start
    assert (response.status, body) == (200, b"said")
    return elapsed


def test_publishing_costs_less_than_the_page(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "site_urls.py").write_text(URLS)
    (tmp_path / "manage.py").write_text(
        'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")\n'
    )
    times: dict[str, list[float]] = {"/plain/": [], "/say/": []}
    with tempfile.TemporaryDirectory(prefix="tg-") as runtime:
        (tmp_path / "site_settings.py").write_text(SETTINGS % runtime)
        with serve(tmp_path) as site:
            connection = http.client.HTTPConnection(site.host, site.port, timeout=20)
            for _ in range(ROUNDS):
                for path, found in times.items():
                    found += [took(connection, path) for _ in range(REQUESTS)]
            connection.close()
    plain, say = (statistics.fmean(sorted(found)[:QUICKEST]) for found in times.values())
    assert say / plain < MOST, f"{plain * 1e6:.0f} µs, and {say * 1e6:.0f} µs with publish()"
