"""``--reload``: the watcher alone, and the whole chain from a saved file to new code."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import watchfiles

from twogate.process.channel import ChildEnd, Message, SupervisorEnd, open_channel
from twogate.process.reload import find_sources, is_source, watch

from .conftest import Load, Project, StartSite, is_alive, wait_for

IGNORED = [
    "notes.txt",
    ".git/hook.py",
    ".venv/lib/x.py",
    "env/lib/x.py",
    "app/__pycache__/x.py",
    "static/node_modules/x/y.py",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ["manage.py", "app/views.py", "app/.hidden.py", *IGNORED]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    (tmp_path / "env/pyvenv.cfg").write_text("")
    return tmp_path


def test_what_is_watched(folder: Path) -> None:
    found = {str(Path(path).relative_to(folder)) for path, _ in find_sources(str(folder))}
    assert found == {"manage.py", "app/views.py", "app/.hidden.py"}
    assert all(is_source(folder / name, [folder]) for name in found)
    assert not any(is_source(folder / name, [folder]) for name in IGNORED)


def test_the_folders_own_name_does_not_matter(folder: Path) -> None:
    assert is_source(folder / ".venv/lib/x.py", [folder / ".venv/lib"])
    assert len(list(find_sources(str(folder / ".venv/lib")))) == 1


def test_a_folder_that_is_gone_has_no_sources(tmp_path: Path) -> None:
    assert list(find_sources(str(tmp_path / "gone"))) == []


@pytest.fixture(params=["polling", "watchfiles"])
def told(request: pytest.FixtureRequest, folder: Path) -> Iterator[SupervisorEnd]:
    ours, theirs = open_channel()
    polling = request.param == "polling"
    watcher = threading.Thread(
        target=watch, args=([folder], ChildEnd(theirs)), kwargs={"polling": polling}
    )
    watcher.start()
    yield ours
    ours.close()
    watcher.join(10)
    assert not watcher.is_alive(), "the watcher outlives its supervisor"
    theirs.close()


def test_tells_of_changed_new_and_removed_files(folder: Path, told: SupervisorEnd) -> None:
    messages: list[Message] = []
    counter = iter(range(1000))

    def told_of(name: str) -> bool:
        messages.extend(told.receive() or [])
        return any(name in message.data for message in messages if isinstance(message.data, list))

    def change() -> bool:
        # Again and again: nobody says when the watcher has begun to look.
        (folder / "manage.py").write_text(f"x = {next(counter)}\n" * 3)
        threading.Event().wait(0.2)
        return told_of("manage.py")

    wait_for(change, what="the watcher")
    (folder / "notes.txt").write_text("nobody cares")
    (folder / "app/models.py").write_text("")
    wait_for(lambda: told_of("app/models.py"))
    messages.clear()
    (folder / "app/views.py").unlink()
    wait_for(lambda: told_of("app/views.py"))
    assert not told_of("notes.txt")


def test_a_change_that_the_system_does_not_report_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As between two of its reports: here it reports nothing at all."""
    ours, theirs = open_channel()
    begun = threading.Event()

    def quiet(*roots: Path, **options: object) -> Iterator[set[object]]:
        while True:
            begun.set()
            threading.Event().wait(0.05)
            yield set()

    monkeypatch.setattr(watchfiles, "watch", quiet)
    watcher = threading.Thread(target=watch, args=([folder], ChildEnd(theirs)))
    watcher.start()
    try:
        assert begun.wait(10)
        (folder / "manage.py").write_text("x = 2\n")
        messages = wait_for(ours.receive, what="the change")
        assert messages == [Message("changed", ["manage.py"])]
    finally:
        ours.close()
        watcher.join(10)
        theirs.close()


class TestWholeChain:
    def test_broken_code_keeps_the_old_worker_and_the_next_save_mends_it(
        self, project: Project, start: StartSite
    ) -> None:
        site = start(reload=True, workers=4)
        assert site.version() == "one"
        site.said("watcher starts")
        with Load(site, clients=2) as load:
            for attempt, (broken, reason) in enumerate(
                [("def load(:\n", "SyntaxError"), ("undefined_name\n", "NameError")], 1
            ):
                _save_until(
                    lambda code=broken: project.save(code),
                    lambda count=attempt: site.log.count("goes on serving") >= count,
                )
                assert reason in site.said(f"{reason}")
                site.said("Traceback")
                load.more(5)
            project.write("mended")
            site.said("reloaded: 1 worker(s)")
            load.more(5)
        assert load.errors == []
        assert site.version() == "mended"
        site.signal(signal.SIGINT)
        assert site.ended() == 0

    def test_a_broken_project_waits_for_a_change(self, project: Project, start: StartSite) -> None:
        project.save("import nonsense_module\n")
        site = start(reload=True)
        site.said("waiting for a change")
        assert site.process.poll() is None
        _save_until(lambda: project.write("first"), lambda: " serves " in site.log)
        assert site.version() == "first"

    def test_a_save_during_a_load_that_never_ends_starts_again(
        self, project: Project, start: StartSite
    ) -> None:
        site = start(reload=True)
        site.said(" serves ")
        more = "\nprint('it begins', file=sys.stderr, flush=True)\ntime.sleep(60)\n"
        # Not before the worker has read it: it would load what is saved next.
        _save_until(lambda: project.write("endless", more), lambda: "it begins" in site.log)
        project.write("finally")
        site.said("starting again")
        wait_for(lambda: site.version() == "finally")

    def test_the_watcher_is_replaced_and_leaves_with_its_supervisor(
        self, project: Project, start: StartSite
    ) -> None:
        site = start(reload=True)
        site.said(" serves ")
        first = int(site.said("watcher starts as process").split()[-1])
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: site.log.count("watcher starts") == 2, what="another watcher")
        second = int(
            [line for line in site.lines if "watcher starts as process" in line][1].split()[-1]
        )
        site.process.kill()
        wait_for(lambda: not is_alive(second), what="the end of the watcher")


def _save_until(save: object, condition: object) -> None:
    """Save once more while nothing happens: the watcher may not have begun to look."""
    assert callable(save)
    assert callable(condition)

    def happened() -> bool:
        save()
        try:
            wait_for(condition, timeout=3)
        except AssertionError:
            return False
        return True

    wait_for(happened, timeout=20)
