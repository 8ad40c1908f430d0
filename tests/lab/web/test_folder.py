"""The folder of the lab's data."""

from __future__ import annotations

from pathlib import Path

import pytest

from twogate.lab.web.folder import default_folder, make_folder, read_key


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    make_folder(folder)
    key = read_key(folder)
    make_folder(folder)
    assert read_key(folder) == key
    assert len(key) >= 50
    assert {file.stat().st_mode & 0o077 for file in (folder, folder / "key")} == {0}


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        make_folder(tmp_path / "file" / "folder")


def test_it_is_where_programs_keep_their_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "twogate-lab"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".local" / "share" / "twogate-lab"
