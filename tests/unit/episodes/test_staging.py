import os
from pathlib import Path

import pytest

from foreact.episodes import staging


def test_folder_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "done"
    with staging.staged_folder(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
        assert staging.remove_stale(tmp_path) == []  # its writer lives
    assert (target / "a").read_text() == "1"
    assert os.listdir(tmp_path) == ["done"]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), staging.staged_folder(tmp_path / "done"):
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_the_first_writer_wins(tmp_path: Path) -> None:
    target = tmp_path / "done"
    with pytest.raises(FileExistsError, match="another process"), staging.staged_folder(target) as slow:
        (slow / "a").write_text("slow")
        with staging.staged_folder(target) as fast:
            (fast / "a").write_text("fast")
    assert (target / "a").read_text() == "fast"
    assert os.listdir(tmp_path) == ["done"]
    with pytest.raises(FileExistsError), staging.staged_folder(target):
        pass


def test_only_dead_staging_folders_go(tmp_path: Path) -> None:
    for name in (".tmp-dead-1", "episode", ".other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("1")
    assert staging.remove_stale(tmp_path) == [".tmp-dead-1"]
    assert sorted(os.listdir(tmp_path)) == [".other", "episode"]


def test_a_folder_taken_between_mkdir_and_lock_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, taken = staging._lock, []

    def slow_lock(folder: Path) -> int | None:
        if not taken:
            taken.append(folder)
            folder.rmdir()
        return lock(folder)

    monkeypatch.setattr(staging, "_lock", slow_lock)
    with staging.staged_folder(tmp_path / "done") as folder:
        assert folder != taken[0]
    assert os.listdir(tmp_path) == ["done"]
