"""Events across the workers of a real server, said by a view and by a shell, through a reload."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .conftest import Serve, Site, environment

SETTINGS = """
SECRET_KEY = "events"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "site_urls"
TWOGATE_TOPICS = {"allow": "site_urls.may_subscribe", "folder": %r}
"""
URLS = """
import json

from django.http import HttpResponse
from django.urls import path

from twogate.django.topics import events, publish


def may_subscribe(request, topic):
    return topic != "secret"


def say(request):
    publish("news", request.GET["text"])
    return HttpResponse("said")


urlpatterns = [path("events/", events), path("say/", say)]
"""
SHELL = """
import django, os
os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
django.setup()
from twogate.django.topics import publish
publish("news", "from a shell")
"""


class Stream:
    """A client of the stream of events, on a connection of its own."""

    def __init__(self, site: Site, query: str, last: str = "") -> None:
        self._connection = http.client.HTTPConnection(site.host, site.port, timeout=20)
        headers = {"Last-Event-ID": last} if last else {}
        self._connection.request("GET", f"/events/?{query}", headers=headers)
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        self.last = last
        assert self._block() == {"retry": "2000"}
        assert self._block()["event"] == "subscribed"

    def _block(self) -> dict[str, str]:
        lines: list[str] = []
        while (line := self._response.readline().decode().strip()) != "" or not lines:
            if not line:
                raise EOFError
            lines.append(line)
        return dict(line.split(": ", 1) for line in lines)

    def next(self) -> Any:
        block = self._block()
        self.last = block["id"]
        return json.loads(block["data"])["data"]

    def close(self) -> None:
        self._connection.close()


def get(site: Site, path: str) -> int:
    connection = http.client.HTTPConnection(site.host, site.port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


@contextmanager
def served(serve: Serve, folder: Path) -> Iterator[Site]:
    # The names of sockets may not be long, so the runtime folder is not in the test's own.
    with tempfile.TemporaryDirectory(prefix="tg-") as runtime:
        write_project(folder, runtime)
        with serve(folder, "--workers=2", "--graceful-timeout=2") as site:
            yield site


def write_project(folder: Path, runtime: str) -> None:
    (folder / "site_settings.py").write_text(SETTINGS % runtime)
    (folder / "site_urls.py").write_text(URLS)
    (folder / "manage.py").write_text(
        'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")\n'
    )


def test_everybody_hears_what_any_process_says(serve: Serve, tmp_path: Path) -> None:
    with served(serve, tmp_path) as site:
        streams = [Stream(site, "topic=news") for _ in range(8)]
        assert get(site, "/say/?text=one") == 200
        assert [stream.next() for stream in streams] == ["one"] * 8
        subprocess.run(
            [sys.executable, "-c", SHELL], cwd=tmp_path, env=environment(), check=True, timeout=60
        )
        assert [stream.next() for stream in streams] == ["from a shell"] * 8
        assert get(site, "/events/?topic=secret") == 403
        for stream in streams:
            stream.close()


def test_nothing_is_lost_or_doubled_by_a_reload(serve: Serve, tmp_path: Path) -> None:
    with served(serve, tmp_path) as site:
        stream = Stream(site, "topic=news")
        assert get(site, "/say/?text=before") == 200
        assert stream.next() == "before"
        site.process.send_signal(signal.SIGHUP)
        got: list[str] = []
        for number in range(30):
            assert get(site, f"/say/?text={number}") == 200
            while len(got) <= number:
                try:
                    got.append(stream.next())
                except (EOFError, http.client.HTTPException, OSError, ValueError):
                    stream.close()
                    stream = Stream(site, "topic=news", stream.last)
        assert got == [str(number) for number in range(30)]
        stream.close()
