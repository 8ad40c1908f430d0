"""The oracle sees what handlers break; shown on a suite of a few tests that needs no network."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import django
import pytest

from tests.oracle.__main__ import main
from tests.oracle.outcomes import Outcome, compare, read_exceptions
from tests.oracle.source import SourceError, package, unpack_tests
from tests.oracle.suite import SuiteError, run

RUNTESTS = """
import sys
import django
from django.conf import settings
settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF="paths", DATABASES={})
django.setup()
from django.test.utils import get_runner
labels = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
sys.exit(bool(get_runner(settings)(interactive=False, verbosity=2).run_tests(labels)))
"""

PATHS = """
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse("hello"))]
"""

TESTS = """
import time
import unittest
from django.core.handlers.asgi import ASGIHandler
from django.core.wsgi import get_wsgi_application
from django.test import RequestFactory, SimpleTestCase

class Clients(SimpleTestCase):
    def test_sync(self):
        self.assertEqual(self.client.get("/").content, b"hello")

    async def test_async(self):
        self.assertEqual((await self.async_client.get("/")).content, b"hello")

    @unittest.skip("never")
    def test_skipped(self):
        raise AssertionError

    @unittest.expectedFailure
    def test_wrong(self):
        self.assertEqual(self.client.get("/").content, b"good-bye")

class Entries(SimpleTestCase):
    def test_wsgi(self):
        environ = RequestFactory().get("/").environ
        self.assertEqual(list(get_wsgi_application()(environ, lambda *head: None)), [b"hello"])

    def test_asgi(self):
        for slowness in (0, getattr(ASGIHandler, "slowness", 0)):
            with self.subTest(slowness=slowness):
                time.sleep(slowness)
                self.assertEqual(slowness, 0)
"""

HANDLERS = """
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIHandler
class Handler(BaseHandler): pass
class WsgiHandler(Handler, WSGIHandler): pass
class AsgiHandler(Handler, ASGIHandler): pass
"""

NAMES = {
    "few.Clients.test_async", "few.Clients.test_skipped", "few.Clients.test_sync",
    "few.Clients.test_wrong", "few.Entries.test_asgi", "few.Entries.test_wsgi",
}  # fmt: skip


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = tmp_path / "unpacked" / "tests"
    folder.mkdir(parents=True)
    for name, text in {"runtests": RUNTESTS, "paths": PATHS, "few": TESTS}.items():
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.fixture
def archive(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The few tests as the cached source package of the installed Django."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    archive = tmp_path / "cache" / "twogate" / "django" / f"django-{django.get_version()}.tar.gz"
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(suite, "django/tests")
    return archive


@pytest.fixture
def write_handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where modules with handlers can be imported from."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def verdicts(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {name.removeprefix("few."): outcome.verdict for name, outcome in outcomes.items()}


def test_the_command_passes_handlers_that_break_nothing(
    archive: Path, write_handlers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (write_handlers / "sound.py").write_text(HANDLERS)
    assert main(["--handlers=sound", "few"]) == 0
    printed = capsys.readouterr().out
    assert "stock handlers: 5 passed, 1 skipped" in printed
    assert "sound: 5 passed, 1 skipped" in printed


def test_the_command_names_what_handlers_break(
    archive: Path, write_handlers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loses = "    def get_response(self, request): raise RuntimeError('lost')\n"
    broken = HANDLERS.replace("(BaseHandler): pass", f"(BaseHandler):\n{loses}")
    (write_handlers / "broken.py").write_text(broken)
    assert main(["--handlers=broken", "few"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line.startswith("worse")] == [
        "worse than with the stock handlers: few.Clients.test_sync",
        "worse than with the stock handlers: few.Entries.test_wsgi",
    ]
    assert "RuntimeError: lost" in printed


def test_each_stock_handler_is_replaced(suite: Path, write_handlers: Path, tmp_path: Path) -> None:
    slow = HANDLERS.replace("ASGIHandler): pass", "ASGIHandler): slowness = 0.001")
    (write_handlers / "slow.py").write_text(slow)
    outcomes = run(suite, "slow", ["few"], tmp_path / "outcomes.json")
    assert outcomes.keys() == NAMES
    assert verdicts(outcomes)["Entries.test_asgi"] == "failed"
    assert "slowness=0.001" in outcomes["few.Entries.test_asgi"].text


def test_a_test_that_hangs_ends_the_run(suite: Path, write_handlers: Path, tmp_path: Path) -> None:
    slow = HANDLERS.replace("ASGIHandler): pass", "ASGIHandler): slowness = 60")
    (write_handlers / "hanging.py").write_text(slow)
    with pytest.raises(SuiteError, match="test_asgi"):
        run(suite, "hanging", ["few"], tmp_path / "outcomes.json", limit=0.5)


def test_an_heir_that_was_made_too_early_is_an_error(
    suite: Path, write_handlers: Path, tmp_path: Path
) -> None:
    (write_handlers / "early.py").write_text(f"import django.test.client\n{HANDLERS}")
    with pytest.raises(SuiteError, match=r"inherits from .* and not from ours"):
        run(suite, "early", ["few"], tmp_path / "outcomes.json")


def test_stock_handlers_are_no_handlers_of_ours(
    suite: Path, write_handlers: Path, tmp_path: Path
) -> None:
    names = "BaseHandler as Handler\nWsgiHandler = AsgiHandler = Handler"
    (write_handlers / "none.py").write_text(f"from django.core.handlers.base import {names}")
    with pytest.raises(SuiteError, match="is no heir of"):
        run(suite, "none", ["few"], tmp_path / "outcomes.json")


def test_a_label_that_names_nothing_is_an_error(suite: Path, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="No module named 'nothing'"):
        run(suite, "stock", ["few", "nothing"], tmp_path / "outcomes.json")


def test_a_source_package_that_cannot_be_fetched_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(SourceError, match=r"Django 0\.0\.0 cannot be fetched"):
        package("0.0.0", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_why_it_cannot_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    assert main(["few"]) == 2
    assert "Is there a network?" in capsys.readouterr().err


def test_a_package_without_tests_is_an_error(tmp_path: Path) -> None:
    archive = tmp_path / "empty.tar.gz"
    with tarfile.open(archive, "w:gz"):
        pass
    with pytest.raises(SourceError, match=r"no tests/runtests\.py"):
        unpack_tests(archive, tmp_path)


PASSED, SKIPPED, FAILED = (
    Outcome("passed"),
    Outcome("skipped", "no server"),
    Outcome("failed", "why"),
)


@pytest.mark.parametrize(
    ("stock", "ours", "worse"),
    [
        (PASSED, PASSED, None),
        (PASSED, FAILED, "failed: why"),
        (PASSED, SKIPPED, "skipped: no server"),
        (PASSED, None, "did not run"),
        (SKIPPED, FAILED, "failed: why"),
        (None, FAILED, "failed: why"),
        (SKIPPED, SKIPPED, None),
        (FAILED, FAILED, None),
        (FAILED, PASSED, None),
        (FAILED, None, None),
    ],
)
def test_what_is_worse(stock: Outcome | None, ours: Outcome | None, worse: str | None) -> None:
    left = {} if stock is None else {"a.test": stock}
    right = {} if ours is None else {"a.test": ours}
    comparison = compare(left, right, {})
    assert comparison.regressions == ({} if worse is None else {"a.test": worse})
    assert comparison.holds == (worse is None)


def test_an_exception_excuses_a_test_until_it_passes() -> None:
    exceptions = {"a.test": "why"}
    excused = compare({"a.test": PASSED}, {"a.test": FAILED}, exceptions)
    assert (excused.holds, excused.excepted) == (True, {"a.test": "failed: why"})
    stale = compare({"a.test": PASSED}, {"a.test": PASSED}, exceptions)
    assert (stale.holds, stale.stale) == (False, ["a.test"])
    assert compare({"b.test": PASSED}, {"b.test": PASSED}, exceptions).holds


def test_an_exception_needs_a_reason(tmp_path: Path) -> None:
    assert all(reason for reason in read_exceptions().values())
    file = tmp_path / "exceptions.toml"
    file.write_text('"a.test" = ""')
    with pytest.raises(ValueError, match=r"'a\.test' needs its reason"):
        read_exceptions(file)
