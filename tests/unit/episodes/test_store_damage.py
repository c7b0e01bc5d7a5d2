"""Every way in which a byte on disk can go wrong must be seen, never read as data."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes import arrays
from foreact.episodes.store import Episode, EpisodeStore, StoreError

SHARD = "episodes/a-0/camera.front.rgb/c.0.0.0.0"


@pytest.fixture
def damaged(store: EpisodeStore, make_episode: Callable[..., Episode]) -> EpisodeStore:
    store.write("a-0", make_episode(40))
    store.write("b-0", make_episode(5))
    assert EpisodeStore.open(store.path).verify() == []
    return EpisodeStore.open(store.path)


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(content)


def one_problem(store: EpisodeStore, text: str) -> None:
    problems = EpisodeStore.open(store.path).verify()
    assert len(problems) == 1, problems
    assert text in problems[0] and "a-0" in problems[0]


@pytest.mark.parametrize("keep", [0, 10, -1])
def test_truncated_shard(damaged: EpisodeStore, keep: int) -> None:
    path = damaged.path / SHARD
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StoreError, match="c.0.0.0.0 is truncated or altered: expected"):
        damaged.read("a-0")
    one_problem(damaged, "truncated")
    assert EpisodeStore.open(damaged.path).read("b-0")
    assert EpisodeStore.open(damaged.path).read("a-0", ["state"])


def test_flipped_byte_anywhere_in_a_shard_is_seen_at_read(damaged: EpisodeStore) -> None:
    path = damaged.path / SHARD
    good = path.read_bytes()
    # three places in each of two inner chunks, and the shard index at the end
    for offset in (0, 100, len(good) // 2 - 7, len(good) // 2 + 7, len(good) - 30, len(good) - 1):
        flip(path, offset)
        with pytest.raises(StoreError, match=r"camera.front.rgb is damaged"):
            damaged.read("a-0")
        one_problem(damaged, "checksum does not match")
        path.write_bytes(good)
    assert EpisodeStore.open(damaged.path).verify() == []


@pytest.mark.parametrize("name", ["state/c.0.0", "clock.0/c.0", "state/zarr.json", "clock.1/zarr.json"])
def test_missing_file(damaged: EpisodeStore, name: str) -> None:
    (damaged.path / "episodes/a-0" / name).unlink()
    with pytest.raises(StoreError, match=f"{name} is missing"):
        damaged.read("a-0")
    one_problem(damaged, "is missing")


def test_missing_header(damaged: EpisodeStore) -> None:
    (damaged.path / "episodes/a-0/zarr.json").unlink()
    with pytest.raises(StoreError, match=r"a-0/zarr.json is missing"):
        damaged.header("a-0")
    one_problem(damaged, "is missing")


def test_truncated_header(damaged: EpisodeStore) -> None:
    path = damaged.path / "episodes/a-0/zarr.json"
    path.write_text(path.read_text()[:200])
    with pytest.raises(StoreError, match="truncated or damaged"):
        damaged.read("a-0")
    one_problem(damaged, "truncated or damaged")


def test_altered_label(damaged: EpisodeStore) -> None:
    path = damaged.path / "episodes/a-0/zarr.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(StoreError, match="was altered: its checksum"):
        damaged.header("a-0")
    one_problem(damaged, "was altered")


def test_flipped_metadata_of_an_array(damaged: EpisodeStore) -> None:
    path = damaged.path / "episodes/a-0/state/zarr.json"
    path.write_text(path.read_text().replace('"fill_value": 0.0', '"fill_value": 1.0'))
    one_problem(damaged, "was altered")


def test_extra_file(damaged: EpisodeStore) -> None:
    (damaged.path / "episodes/a-0/state/c.0.1").write_bytes(b"x")
    one_problem(damaged, "does not belong")


def test_array_of_another_shape_than_the_header_says(damaged: EpisodeStore) -> None:
    folder = damaged.path / "episodes/a-0"
    header = arrays.read_header(folder)
    wrong = dataclasses.replace(header.streams["state"], shape=(39, 4))
    content = dataclasses.asdict(dataclasses.replace(header, streams={**header.streams, "state": wrong}))
    arrays.write_group(folder, {"episode": content, "checksum": arrays._checksum(content)})
    with pytest.raises(StoreError, match=r"holds float32 \(40, 4\), its header says float32 \(39, 4\)"):
        EpisodeStore.open(damaged.path).read("a-0")


def test_nan_that_another_writer_left_is_reported(damaged: EpisodeStore, make_episode: Callable[..., Episode]) -> None:
    episode = make_episode(5)
    episode.streams["reward"].data[2] = np.nan
    folder = damaged.path / "episodes/c-0"
    folder.mkdir()
    arrays.write_episode(folder, episode)
    problems = EpisodeStore.open(damaged.path).verify()
    assert problems == ["episode c-0: stream reward: nan at index (2,)"]


def test_header_with_an_unknown_key(damaged: EpisodeStore) -> None:
    folder = damaged.path / "episodes/a-0"
    attributes = json.loads((folder / "zarr.json").read_text())["attributes"]
    attributes["episode"]["later"] = 1
    arrays.write_group(folder, {**attributes, "checksum": arrays._checksum(attributes["episode"])})
    with pytest.raises(StoreError, match=r"unknown keys \['later'\]"):
        damaged.header("a-0")
    arrays.write_group(folder, {"other": 1})
    with pytest.raises(StoreError, match="is not the header of an episode"):
        damaged.header("a-0")


def test_verify_lists_all_problems_and_reports_progress(damaged: EpisodeStore) -> None:
    (damaged.path / "episodes/a-0/state/c.0.0").unlink()
    (damaged.path / "episodes/b-0/action/c.0.0").unlink()
    calls: list[tuple[int, int]] = []
    problems = damaged.verify(lambda done, total, text: calls.append((done, total)))
    assert len(problems) == 2
    assert calls == [(0, 2), (1, 2), (2, 2)]
