"""``twogate trace --diff`` on a site as Wagtail's own command makes it: the gateways agree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.shell import Shell, says

from .conftest import ACCOUNT


@pytest.mark.parametrize("path", ["/", "/admin/", "/admin/pages/3/edit/", "/django-admin/"])
def test_the_gateways_agree(wagtail_project: Path, path: str) -> None:
    user = ACCOUNT["DJANGO_SUPERUSER_USERNAME"]
    shell = Shell(wagtail_project)
    done = shell("trace", path, "--user", user, "--diff", "--json", "trace.json")
    says(done, 0)
    document = json.loads((wagtail_project / "trace.json").read_text(encoding="utf-8"))
    runs = {run["id"]: run for run in document["runs"]}
    assert {run["response"]["status"] for run in runs.values()} == {200}
    assert len({run["counts"]["queries"] for run in runs.values()}) == 1
    counts = [runs[name]["counts"]["crossings"] for name in ("wsgi", "asgi-stock", "asgi")]
    assert counts[0] == 0 and counts[1] > 15 and counts[2] <= 2
