from pathlib import Path

import pytest

from foreact.episodes.arrays import StoreError
from foreact.episodes.partial import BlockLog, PartialFolder


def test_content_becomes_the_output(tmp_path: Path) -> None:
    partial = PartialFolder(tmp_path / "out", {"from": "a"})
    partial.content.mkdir()
    (partial.content / "x").write_text("1")
    again = PartialFolder(tmp_path / "out", {"from": "a"})
    assert (again.content / "x").read_text() == "1"
    again.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(StoreError, match="out exists"):
        PartialFolder(tmp_path / "out", {"from": "a"})


def test_another_conversion_does_not_go_on_with_it(tmp_path: Path) -> None:
    PartialFolder(tmp_path / "out", {"from": "a"})
    with pytest.raises(StoreError, match="half-finished conversion of something else"):
        PartialFolder(tmp_path / "out", {"from": "b"})


@pytest.fixture
def log(tmp_path: Path) -> BlockLog:
    partial = PartialFolder(tmp_path / "out", {"from": "a"})
    log = BlockLog(partial, rewritten="meta")
    assert log.restore() == 0
    (partial.content / "meta").mkdir(parents=True)
    (partial.content / "meta" / "info").write_text("one")
    (partial.content / "data-0").write_text("0")
    log.commit(20)
    return log


def test_an_interrupted_block_is_undone(tmp_path: Path, log: BlockLog) -> None:
    content = tmp_path / ".partial-out" / "content"
    (content / "meta" / "info").write_text("half of tw")
    (content / "meta" / "new").write_text("x")
    (content / "data-1").write_text("torn")
    assert log.restore() == 20
    assert (content / "meta" / "info").read_text() == "one"
    assert sorted(path.name for path in content.rglob("*")) == ["data-0", "info", "meta"]


def test_a_second_block_replaces_the_copy(tmp_path: Path, log: BlockLog) -> None:
    content = tmp_path / ".partial-out" / "content"
    (content / "meta" / "info").write_text("two")
    (content / "data-1").write_text("1")
    log.commit(40)
    (content / "meta" / "info").unlink()
    assert log.restore() == 40
    assert (content / "meta" / "info").read_text() == "two"
    assert [path.name for path in (tmp_path / ".partial-out").glob("copy-*")] == ["copy-40"]


def test_damage_to_a_finished_block_is_seen(tmp_path: Path, log: BlockLog) -> None:
    (tmp_path / ".partial-out" / "content" / "data-0").write_text("")
    with pytest.raises(StoreError, match="data-0 was damaged since it was written"):
        log.restore()


def test_nothing_committed_starts_afresh(tmp_path: Path) -> None:
    partial = PartialFolder(tmp_path / "out", {"from": "a"})
    partial.content.mkdir()
    (partial.content / "torn").write_text("x")
    assert BlockLog(partial, rewritten="meta").restore() == 0
    assert not partial.content.exists()
