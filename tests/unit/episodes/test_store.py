import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes.contract import ContractError, ContractMismatch, PolicyContract
from foreact.episodes.store import Episode, EpisodeStore, StoreError, Stream


def same(a: Episode, b: Episode) -> bool:
    labels = [field.name for field in dataclasses.fields(Episode) if field.name != "streams"]
    return (
        all(getattr(a, name) == getattr(b, name) for name in labels)
        and list(sorted(a.streams)) == list(sorted(b.streams))
        and all(equal_stream(a.streams[name], b.streams[name]) for name in a.streams)
    )


def equal_stream(a: Stream, b: Stream) -> bool:
    return (
        np.array_equal(a.data, b.data)
        and a.data.dtype == b.data.dtype
        and np.array_equal(a.time_ns, b.time_ns)
        and b.time_ns.dtype == np.int64
        and (a.unit, a.rate_hz) == (b.unit, b.rate_hz)
    )


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("steps", [1, 2, 7, 33, 70])
def test_round_trip(store: EpisodeStore, make_episode: Callable[..., Episode], steps: int) -> None:
    episode = make_episode(steps, seed=steps, metadata={"noise": [0.4, None], "name": "ä"})
    store.write("reach-v3-00000", episode)
    again = EpisodeStore.open(store.path)
    assert again.keys() == ["reach-v3-00000"]
    assert same(episode, again.read("reach-v3-00000"))
    assert again.contract == store.contract
    assert again.verify() == []


def test_all_zero_images_are_stored_not_implied(store: EpisodeStore, make_episode: Callable[..., Episode]) -> None:
    episode = make_episode(4)
    rgb = episode.streams["camera.front.rgb"]
    episode.streams["camera.front.rgb"] = dataclasses.replace(rgb, data=np.zeros_like(rgb.data))
    store.write("a-0", episode)
    assert same(episode, store.read("a-0"))
    (store.path / "episodes/a-0/camera.front.rgb/c.0.0.0.0").unlink()
    with pytest.raises(StoreError, match="is missing"):
        EpisodeStore.open(store.path).read("a-0")


def test_empty_store(store: EpisodeStore) -> None:
    again = EpisodeStore.open(store.path)
    assert (len(again), again.keys(), again.verify(), "a-0" in again) == (0, [], [], False)
    with pytest.raises(StoreError, match="has no episode 'a-0'; it holds 0"):
        again.read("a-0")


def test_header_and_lengths_come_without_payload(store: EpisodeStore, make_episode: Callable[..., Episode]) -> None:
    store.write("a-0", make_episode(7))
    store.write("a-1", make_episode(4, seed=1, success=False))
    for data in (store.path / "episodes").glob("*/*/c.*"):
        data.unlink()
    store = EpisodeStore.open(store.path)
    header = store.header("a-1")
    assert (header.task, header.seed, header.success) == ("reach-v3", 1, False)
    assert (header.lengths["state"], header.lengths["camera.front.rgb"]) == (4, 2)
    assert header.streams["camera.front.depth"].shape == (2, 4, 6)
    assert store.lengths(["a-1", "a-0"], "state").tolist() == [4, 7]
    assert header.nbytes > 0


def test_read_some_streams(store: EpisodeStore, make_episode: Callable[..., Episode]) -> None:
    episode = make_episode(5)
    store.write("a-0", episode)
    found = store.read("a-0", ["state", "camera.wrist.rgb"])
    assert sorted(found.streams) == ["camera.wrist.rgb", "state"]
    assert equal_stream(found.streams["state"], episode.streams["state"])
    with pytest.raises(StoreError, match=r"has no stream 'qpos'; it has \['action'"):
        store.read("a-0", ["qpos"])


def test_read_clock(store: EpisodeStore, make_episode: Callable[..., Episode]) -> None:
    store.write("a-0", make_episode(5))
    assert store.read_clock("a-0", "camera.front.rgb").tolist() == [0, 25_000_000, 50_000_000]
    assert store.read_clock("a-0", "state").tolist() == [0, 12_500_000, 25_000_000, 37_500_000, 50_000_000]
    with pytest.raises(StoreError, match="has no stream 'qpos'"):
        store.read_clock("a-0", "qpos")


def test_read_into_concatenates_in_the_order_asked(store: EpisodeStore, make_episode: Callable[..., Episode]) -> None:
    episodes = {f"a-{i}": make_episode(3 + i, seed=i) for i in range(3)}
    for key, episode in episodes.items():
        store.write(key, episode)
    keys = ["a-2", "a-0", "a-1"]
    out = np.empty((int(store.lengths(keys, "camera.front.rgb").sum()), 4, 6, 3), np.uint8)
    offsets = store.read_into(keys, "camera.front.rgb", out)
    assert offsets.tolist() == [0, 3, 5, 7]
    np.testing.assert_array_equal(out, np.concatenate([episodes[key].streams["camera.front.rgb"].data for key in keys]))
    with pytest.raises(StoreError, match=r"out must be uint8 \(7, 4, 6, 3\), got uint8 \(8, 4, 6, 3\)"):
        store.read_into(keys, "camera.front.rgb", np.empty((8, 4, 6, 3), np.uint8))
    with pytest.raises(StoreError, match="got float32"):
        store.read_into(keys, "camera.front.rgb", np.empty((7, 4, 6, 3), np.float32))


def test_bytes_are_a_function_of_the_episode(
    tmp_path: Path, contract: PolicyContract, make_episode: Callable[..., Episode]
) -> None:
    for name in ("one", "two"):
        store = EpisodeStore.create(tmp_path / name, contract, attributes={"seed": 3})
        store.write("a-0", make_episode(9, metadata={"b": 1, "a": 2}))
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_create_twice(tmp_path: Path, contract: PolicyContract, make_episode: Callable[..., Episode]) -> None:
    EpisodeStore.create(tmp_path / "s", contract, attributes={"noise": 0.4}).write("a-0", make_episode())
    again = EpisodeStore.create(tmp_path / "s", contract, attributes={"noise": 0.4})
    assert again.keys() == ["a-0"]
    assert EpisodeStore.create(tmp_path / "s", contract).attributes == {"noise": 0.4}
    with pytest.raises(StoreError, match=r"other attributes \(noise: 0.4 != 0.5\)"):
        EpisodeStore.create(tmp_path / "s", contract, attributes={"noise": 0.5})
    other = dataclasses.replace(contract, control_rate_hz=50.0)
    with pytest.raises(ContractMismatch, match=r"control_rate_hz: expected 80.0, got 50.0"):
        EpisodeStore.create(tmp_path / "s", other)


def test_create_refuses_a_folder_of_something_else(tmp_path: Path, contract: PolicyContract) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match="holds 'thesis.tex'"):
        EpisodeStore.create(tmp_path, contract)
    with pytest.raises(StoreError, match="is a file"):
        EpisodeStore.create(tmp_path / "thesis.tex", contract)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.tex"]


def test_open_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no episode store at .*foreact record out="):
        EpisodeStore.open(tmp_path / "none")
    with pytest.raises(StoreError, match="is not an episode store: it has no zarr.json"):
        EpisodeStore.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.update(format=2), "format 2, this foreact reads 1: written by a newer foreact; update foreact"),
        (lambda f: f.update(format=0), "format 0, this foreact reads 1: not a format"),
        (lambda f: f.pop("format"), "not an episode store"),
        (lambda f: f["contract"].update(version=9), "contract version 9 is newer"),
        (lambda f: f["contract"].update(chunk_length=9), "the contract does not match its hash"),
        (lambda f: f.pop("contract"), "not a policy contract"),
    ],
)
def test_foreign_and_altered_roots(store: EpisodeStore, change: Callable, message: str) -> None:
    path = store.path / "zarr.json"
    content = json.loads(path.read_text())
    change(content["attributes"]["foreact"])
    path.write_text(json.dumps(content))
    with pytest.raises(StoreError) as caught:
        EpisodeStore.open(store.path)
    assert message in str(caught.value)


def test_truncated_root(store: EpisodeStore) -> None:
    path = store.path / "zarr.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(StoreError, match="truncated or damaged"):
        EpisodeStore.open(store.path)


def test_a_key_is_written_once(store: EpisodeStore, make_episode: Callable[..., Episode]) -> None:
    store.write("a-0", make_episode(5))
    before = tree(store.path)
    with pytest.raises(StoreError, match="already holds the episode 'a-0'"):
        store.write("a-0", make_episode(6))
    assert tree(store.path) == before


@pytest.mark.parametrize("key", ["", ".tmp-x", "../out", "a/b", "a b"])
def test_bad_keys(store: EpisodeStore, make_episode: Callable[..., Episode], key: str) -> None:
    with pytest.raises(StoreError, match="bad episode key"):
        store.write(key, make_episode())
    assert key not in store


def nan_at(stream: Stream, index: tuple[int, ...]) -> Stream:
    data = stream.data.copy()
    data[index] = np.nan
    return dataclasses.replace(stream, data=data)


BAD_STREAMS: list[tuple[str, Any, str]] = [
    ("state", lambda s: nan_at(s, (2, 1)), "stream state: state: nan at index (2, 1) (element 'hand_y')"),
    ("action.executed", lambda s: nan_at(s, (0, 0)), "action: nan at index (0, 0)"),
    ("reward", lambda s: nan_at(s, (3,)), "stream reward: nan at index (3,)"),
    ("state", lambda s: replace(s, data=s.data.astype(np.float64)), "expected dtype float32, got float64"),
    ("action", lambda s: replace(s, data=s.data[:, :3]), "expected shape (..., 4)"),
    ("action", lambda s: replace(s, data=s.data[:, None]), "expected shape (T, elements)"),
    ("action", lambda s: replace(s, rate_hz=50.0), "expected control_rate_hz 80.0, got 50.0"),
    ("camera.front.rgb", lambda s: replace(s, data=s.data[:, :3]), "uint8 (T, 4, 6, 3), got uint8 (4, 3, 6, 3)"),
    ("camera.front.depth", lambda s: replace(s, data=s.data.astype(np.uint8)), "uint16 (T, 4, 6), got uint8"),
    ("camera.front.segmentation", lambda s: replace(s, data=s.data.astype(np.int32)), "got int32"),
    ("state", lambda s: replace(s, time_ns=s.time_ns[::-1].copy()), "from 75000000 to 62500000 ns at sample 1"),
    ("state", lambda s: replace(s, time_ns=s.time_ns * 0), "clock goes from 0 to 0 ns"),
    ("state", lambda s: replace(s, time_ns=s.time_ns[:-1]), "expected an int64 (7,) clock, got int64 (6,)"),
    ("state", lambda s: replace(s, time_ns=s.time_ns / 1e9), "got float64 (7,)"),
    ("state", lambda s: replace(s, unit=""), "needs a unit"),
    ("reward", lambda s: replace(s, rate_hz=0.0), "positive rate"),
    ("reward", lambda s: replace(s, data=s.data[:0], time_ns=s.time_ns[:0]), "is empty"),
    ("reward", lambda s: replace(s, data=s.data.astype("U4")), "array of bool, integer or float"),
    ("camera.front.rgb", lambda s: None, "lacks the streams ['camera.front.rgb']"),
    ("action", lambda s: None, "lacks the streams ['action']"),
    ("camera.back.rgb", lambda s: s, "camera.back.rgb: no camera 'back' in the contract; it has ['front', 'wrist']"),
    ("camera.front.thermal", lambda s: s, "camera streams are camera.NAME.KIND"),
    ("clock.0", lambda s: s, "does not start with 'clock.'"),
    ("Upper/case", lambda s: s, "a stream name is dotted lower-case words"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "message"), BAD_STREAMS)
def test_bad_episodes_are_refused_and_leave_nothing(
    store: EpisodeStore, make_episode: Callable[..., Episode], name: str, change: Callable, message: str
) -> None:
    before = tree(store.path)
    episode = make_episode(7)
    changed = change(episode.streams.get(name, episode.streams["reward"]))
    episode.streams.pop(name, None)
    if changed is not None:
        episode.streams[name] = changed
    with pytest.raises(ContractError) as caught:
        store.write("a-0", episode)
    assert message in str(caught.value)
    assert str(caught.value).startswith("episode a-0: ")
    assert tree(store.path) == before


@pytest.mark.parametrize(
    "labels",
    [
        {"task": ""},
        {"instruction": " "},
        {"seed": 1.5},
        {"success": 1},
        {"metadata": {"x": float("nan")}},
        {"metadata": {"x": np.int64(3)}},
    ],
)
def test_bad_labels(store: EpisodeStore, make_episode: Callable[..., Episode], labels: dict) -> None:
    with pytest.raises(ContractError, match="episode a-0"):
        store.write("a-0", dataclasses.replace(make_episode(3), **labels))
    assert store.keys() == []


def test_other_streams_on_other_clocks_are_kept(store: EpisodeStore, make_episode: Callable[..., Episode]) -> None:
    episode = make_episode(4)
    times = np.array([0, 5, 1_000_000_007], np.int64)
    episode.streams["imu.accel"] = Stream(np.arange(9.0).reshape(3, 3), times, "m/s^2", 1000.0)
    store.write("a-0", episode)
    assert same(store.read("a-0"), episode)


def test_a_foreign_folder_under_episodes_is_an_error_not_an_episode(store: EpisodeStore) -> None:
    (store.path / "episodes" / "notes").mkdir()
    problems = EpisodeStore.open(store.path).verify()
    assert len(problems) == 1 and "notes/zarr.json is missing" in problems[0]
    shutil.rmtree(store.path / "episodes")
    with pytest.raises(StoreError, match="episodes is missing"):
        store.keys()
