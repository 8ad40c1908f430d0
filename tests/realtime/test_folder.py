"""The runtime folder is the user's alone, or it is not used."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from twogate.errors import ConfigError
from twogate.realtime.folder import RuntimeFolder, default_parent


def test_it_is_made_for_the_user_alone_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        made = RuntimeFolder("a", folder / "new")
        made.prepare()
    finally:
        os.umask(before)
    assert made.path.stat().st_mode & 0o777 == 0o700
    assert made.parent.stat().st_mode & 0o777 == 0o700
    made.release()


def test_each_project_has_its_own_and_no_secret_is_in_its_name(folder: Path) -> None:
    assert RuntimeFolder("a", folder).path == RuntimeFolder("a", folder).path
    assert RuntimeFolder("a", folder).path != RuntimeFolder("b", folder).path
    assert "secret" not in str(RuntimeFolder("secret", folder).path)


def test_where_it_is_does_not_depend_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = default_parent()
    for name in ("XDG_RUNTIME_DIR", "TMPDIR", "HOME"):
        monkeypatch.setenv(name, "/elsewhere")
    assert default_parent() == before
    assert before.name == f"twogate-{os.geteuid()}"


def refused(folder: RuntimeFolder) -> str:
    with pytest.raises(ConfigError) as caught:
        folder.prepare()
    assert caught.value.option == "folder"
    return caught.value.message


def test_one_that_others_can_enter_is_refused(folder: Path) -> None:
    ours = RuntimeFolder("a", folder)
    ours.path.mkdir()
    ours.path.chmod(0o750)
    assert "others can enter it" in refused(ours)


def test_what_is_no_folder_is_refused(folder: Path) -> None:
    ours = RuntimeFolder("a", folder)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    ours.path.symlink_to(elsewhere)
    assert "not a folder" in refused(ours)


def test_one_below_a_folder_that_others_can_write_to_is_refused(folder: Path) -> None:
    folder.chmod(0o777)
    assert "others can write" in refused(RuntimeFolder("a", folder))
    folder.chmod(0o1777)
    ours = RuntimeFolder("a", folder)
    ours.prepare()
    ours.release()


def test_one_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = RuntimeFolder("a", folder)
    ours.path.mkdir(mode=0o700)
    # Somebody else looks: only root could give the folder away.
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    assert "belongs to another user" in refused(ours)


def test_a_path_that_is_too_long_for_a_socket_is_refused(folder: Path) -> None:
    assert "too long" in refused(RuntimeFolder("a", folder / ("x" * 80)))


def test_one_that_cannot_be_made_is_refused(folder: Path) -> None:
    assert "cannot be made" in refused(RuntimeFolder("a", folder / "missing" / "missing"))


def test_cleaners_are_kept_away(folder: Path) -> None:
    ours = RuntimeFolder("a", folder)
    ours.prepare()
    cleaner = os.open(ours.path, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(cleaner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    ours.release()
    fcntl.flock(cleaner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(cleaner)


def test_what_comes_and_goes_is_seen_at_once(folder: Path) -> None:
    ours = RuntimeFolder("a", folder)
    ours.prepare()
    (ours.path / ".hidden.sock").touch()
    (ours.path / "other").touch()
    assert ours.nodes() == frozenset()
    for number in range(50):  # faster than the clock of the file system goes
        Path(ours.socket_path(f"n{number}")).touch()
        assert f"n{number}" in ours.nodes()
        ours.remove(f"n{number}")
        assert f"n{number}" not in ours.nodes()
    ours.remove("nobody")
    ours.release()


def test_a_removed_folder_is_made_again(folder: Path) -> None:
    ours = RuntimeFolder("a", folder)
    ours.prepare()
    assert ours.nodes() == frozenset()
    ours.path.rmdir()
    assert ours.nodes() == frozenset()
    assert ours.path.is_dir()
    ours.release()


def test_an_old_hidden_socket_is_removed(folder: Path) -> None:
    ours = RuntimeFolder("a", folder)
    ours.prepare()
    old, new = (Path(ours.socket_path(name)) for name in (".old", ".new"))
    old.touch()
    new.touch()
    long_ago = time.time() - 1000
    os.utime(old, (long_ago, long_ago))
    ours.remove_unfinished()
    assert (old.exists(), new.exists()) == (False, True)
    ours.release()
