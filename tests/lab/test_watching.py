"""Real processes that serve a project and record: kept, asked by many, restarted when need be."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from twogate.errors import ProjectError
from twogate.lab import watching
from twogate.lab.watching import SCENARIOS, SCENES, watch

PAGE = SCENARIOS["page"]
HANGS = "async def async_page(request):\n    time.sleep(3600)\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(SCENES, tmp_path / "project", ignore=ignore))


def change(project: Path, old: str, new: str) -> None:
    views = project / "pages" / "views.py"
    text = views.read_text()
    assert old in text
    views.write_text(text.replace(old, new))


def rows(document: dict[str, Any], run: str, step: str) -> list[dict[str, Any]]:
    found = next(one for one in document["runs"] if one["id"] == run)
    return [row for row in found["table"] if row["step"] == step]


def test_many_ask_at_once_and_each_gets_its_own() -> None:
    with ThreadPoolExecutor(6) as pool:
        asked = [*SCENARIOS.values(), *SCENARIOS.values()]
        documents = list(pool.map(watch, asked))
    for scenario, document in zip(asked, documents, strict=True):
        assert document["format"] == "twogate-trace/1"
        assert document["request"]["path"] == scenario.path
        ids = ["wsgi", "asgi"] if scenario.messages is None else ["ws-wsgi", "ws-asgi"]
        assert [run["id"] for run in document["runs"]] == ids
        assert {run["spans"][0]["name"] for run in document["runs"]} == {f"GET {scenario.path}"}
    refused, carried = documents[-1]["runs"]
    assert (refused["response"]["status"], carried["heard"]) == (501, ["hello", "again"])


def test_what_a_view_does_is_what_the_table_shows(project: Path) -> None:
    before = watch(PAGE, project)
    assert [row["call_type"] for row in rows(before, "asgi", "view")] == ["sync"]
    assert before["runs"][1]["counts"]["crossings"] == 1
    change(project, "def page(request):", "async def page(request):")
    change(project, '{"kind": "a sync view"}', '{"kind": "changed"}, status=203')
    after = watch(PAGE, project)
    assert [row["call_type"] for row in rows(after, "asgi", "view")] == ["async"]
    assert rows(after, "wsgi", "response begins")[0]["response_sent"] == "203"
    crossings = {run["id"]: run["counts"]["crossings"] for run in after["runs"]}
    assert crossings == {"wsgi": 1, "asgi": 0}
    change(project, "async def page", "async def no_page")
    with pytest.raises(ProjectError, match="no attribute 'page'"):
        watch(PAGE, project)


def test_a_process_that_died_is_started_again_with_the_project_s_own_settings(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The lab's own, which the project must not take for its own.
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "twogate.lab.web.settings")
    monkeypatch.setenv("TWOGATE_GATEWAY", "asgi")
    once = "import os\n    if not os.path.exists('died'):\n        open('died', 'w').close()\n"
    change(project, "def page(request):\n", f"def page(request):\n    {once}        os._exit(3)\n")
    with pytest.raises(ProjectError, match="status 3"):
        watch(PAGE, project)
    document = watch(PAGE, project)
    assert document["project"]["settings"] == "scenes.settings"
    statuses = [(run["gateway"], run["response"]["status"]) for run in document["runs"]]
    assert statuses == [("wsgi", 200), ("asgi", 200)]


def test_a_project_that_hangs_is_given_up(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LONGEST", 3.0)
    change(project, "async def async_page(request):\n", HANGS)
    with pytest.raises(ProjectError, match="status -9"):
        watch(SCENARIOS["async-page"], project)
    assert watch(PAGE, project)["runs"][0]["response"]["status"] == 200
