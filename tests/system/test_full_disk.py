"""A disk that is full, under the project's database, the log of topics and the server's own log.

The limit of the size of a process's files (RLIMIT_FSIZE) stands for it: every write to a file
fails, in the middle of what is served, and it can be lifted again.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .conftest import Serve, Site, run
from .test_topics import Stream

SETTINGS = """
SECRET_KEY = "full"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "site_urls"
INSTALLED_APPS = ["notes"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "notes.sqlite3"}}
TWOGATE_TOPICS = {"allow": "site_urls.may_subscribe", "folder": %r}
"""
MODELS = """
from django.db import models


class Note(models.Model):
    text = models.TextField()
"""
URLS = """
import os

from django.db import transaction
from django.http import HttpResponse, JsonResponse
from django.urls import path
from notes.models import Note

from twogate.django.topics import events, publish, statistics


def may_subscribe(request, topic):
    return True


def say(request):
    publish("news", request.GET["text"])
    return HttpResponse("said")


@transaction.atomic
def write(request):
    Note.objects.create(text=request.GET["text"])
    publish("news", request.GET["text"])
    return HttpResponse("written")


def state(request):
    notes = list(Note.objects.values_list("text", flat=True))
    return JsonResponse({"pid": os.getpid(), "lost": statistics()["lost"], "notes": notes})


urlpatterns = [path("events/", events), *(path(f"{v.__name__}/", v) for v in (say, write, state))]
"""
TABLES = """
import django, os
os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
django.setup()
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
"""


def get(site: Site, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(site.url + path, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """No file of a process takes another byte within the block."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def state(site: Site) -> dict[str, object]:
    status, text = get(site, "/state/")
    assert status == 200
    found: dict[str, object] = json.loads(text)
    return found


def test_views_that_publish_answer_and_what_was_lost_is_counted(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "__init__.py").touch()
    (tmp_path / "notes" / "models.py").write_text(MODELS)
    (tmp_path / "site_urls.py").write_text(URLS)
    (tmp_path / "manage.py").write_text(
        'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")\n'
    )
    with tempfile.TemporaryDirectory(prefix="tg-") as runtime:
        (tmp_path / "site_settings.py").write_text(SETTINGS % runtime)
        run([sys.executable, "-c", TABLES], tmp_path)
        with serve(tmp_path) as site:
            stream = Stream(site, "topic=news")
            assert get(site, "/write/?text=before") == (200, "written")
            assert stream.next() == "before"
            pid = state(site)["pid"]
            assert isinstance(pid, int)

            with full_disk(pid):
                for number in range(20):
                    assert get(site, f"/say/?text={number}") == (200, "said")
                # What cannot be stored fails, and says nothing to anybody.
                assert get(site, "/write/?text=nowhere")[0] == 500
                beside = Stream(site, "topic=news")
                assert state(site) == {"pid": pid, "lost": 20, "notes": ["before"]}

            assert get(site, "/write/?text=after") == (200, "written")
            assert stream.next() == beside.next() == "after"
            assert state(site) == {"pid": pid, "lost": 20, "notes": ["before", "after"]}
            stream.close()
            beside.close()
