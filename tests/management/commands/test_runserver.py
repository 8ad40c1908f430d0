from __future__ import annotations

import contextlib
import urllib.error

import pytest
from tests.support.http import eventually
from tests.support.shell import Served, Shell

from twogate.management.commands.runserver import _address


@pytest.mark.parametrize(
    ("given", "ipv6", "address"),
    [
        (None, False, "127.0.0.1:8000"),
        (None, True, "[::1]:8000"),
        ("8001", False, "127.0.0.1:8001"),
        ("8001", True, "[::1]:8001"),
        ("0:8000", False, "0.0.0.0:8000"),
        ("example.test:80", False, "example.test:80"),
        ("[::]:8000", True, "[::]:8000"),
    ],
)
def test_addresses(given: str | None, ipv6: bool, address: str) -> None:
    assert _address(given, ipv6) == address


def _page(served: Served) -> str:
    with contextlib.suppress(urllib.error.URLError, ConnectionError):
        return served.get("/")[1]
    return ""


def test_it_serves_both_gateways_and_reloads(site: Shell) -> None:
    port = "127.0.0.1:0"
    with site.running("manage.py", "runserver", port) as served:
        assert served.get("/")[1] == "page"
        assert served.get("/live/")[1] == "live"
        assert served.get("/static/note.txt")[1] == "static"
        urls = site.folder / "mysite/urls.py"
        changed = urls.read_text().replace("'page'", "'another'")
        served.save_until({"mysite/urls.py": changed}, r"reloaded: 1 worker")
        eventually(lambda: _page(served) == "another")


def test_it_can_be_run_from_anywhere(site: Shell) -> None:
    (site.folder / "elsewhere").mkdir()
    arguments = ["../manage.py", "runserver", "127.0.0.1:0", "--noreload", "--nothreading"]
    with site.running(*arguments, cwd="elsewhere") as served:
        assert served.get("/")[1] == "page"
        assert "up to 1 per worker" in served.wait_for("threads .*")
