"""Store -> LeRobot -> store, read by lerobot itself in between; the one module here that imports lerobot."""

import filecmp
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes import lerobot_export
from foreact.episodes.contract import CameraSpec, FeatureSpec, LanguageSpec, PolicyContract
from foreact.episodes.convert import ConvertConfig, convert
from foreact.episodes.inspect import InspectConfig, inspect
from foreact.episodes.store import Episode, EpisodeStore, StoreError, Stream

pytest.importorskip("lerobot")
ELEMENTS = ("hand_x", "hand_y", "hand_z", "gripper")
STEPS = (7, 8, 5)


def feature(name: str) -> FeatureSpec:
    return FeatureSpec(name, "float32", ELEMENTS, ("m",) * 4, "base", (-1.0,) * 4, (1.0,) * 4, "bounds")


def camera(name: str, streams: tuple[str, ...]) -> CameraSpec:
    return CameraSpec(name, 64, 48, streams, 50.0, 50.0, 32.0, 24.0, "world", (0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0))


CONTRACT = PolicyContract(
    version=1,
    embodiment="sawyer",
    control_rate_hz=80.0,
    chunk_length=8,
    state=feature("state"),
    action=feature("action"),
    cameras=(camera("front", ("rgb", "depth")), camera("wrist", ("rgb",))),
    language=LanguageSpec(),
    audio=None,
)


def make_episode(steps: int, seed: int) -> Episode:
    rng = np.random.default_rng(seed)
    control = np.arange(steps, dtype=np.int64) * 12_500_000
    frames = control[::2]

    def vector() -> Stream:
        return Stream(rng.uniform(-1, 1, (steps, 4)).astype(np.float32), control, "m", 80.0)

    def images(shape: tuple[int, ...], dtype: str, high: int) -> Stream:
        return Stream(rng.integers(0, high, (len(frames), *shape)).astype(dtype), frames, "1", 40.0)

    return Episode(
        streams={
            "state": vector(),
            "action": vector(),
            "action.executed": vector(),
            "reward": Stream(rng.uniform(0, 1, steps).astype(np.float32), control, "1", 80.0),
            "success": Stream(np.arange(steps) == steps - 1, control, "1", 80.0),
            "camera.front.rgb": images((48, 64, 3), "uint8", 256),
            "camera.front.depth": images((48, 64), "uint16", 65536),
            "camera.front.segmentation": images((48, 64), "uint8", 256),
            "camera.wrist.rgb": images((48, 64, 3), "uint8", 256),
        },
        task="reach-v3",
        instruction=f"reach the ball, variant {seed % 2}",
        seed=1000 + seed,
        success=seed != 1,
        metadata={"noise": 0.25, "layout": [1, None]},
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lerobot") / "store"
    store = EpisodeStore.create(path, CONTRACT, attributes={"split": "train"})
    for index, steps in enumerate(STEPS):
        store.write(f"reach-v3-{index:05d}", make_episode(steps, index))
    return path


@pytest.fixture(scope="module")
def exported(source: Path) -> Path:
    out = source.parent / "dataset"
    outcome = convert(ConvertConfig(source, out, "lerobot"))
    assert outcome.figures == {"episodes": 3, "rows": 11, "frame_rate_hz": 40, "steps_per_row": 2}
    return out


def same_tree(a: Path, b: Path) -> bool:
    files = sorted(path.relative_to(a) for path in a.rglob("*") if path.is_file())
    others = sorted(path.relative_to(b) for path in b.rglob("*") if path.is_file())
    return files == others and all(filecmp.cmp(a / name, b / name, shallow=False) for name in files)


def test_lerobot_reads_equal_arrays(source: Path, exported: Path) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("local/foreact", root=exported, video_backend="pyav")
    store = EpisodeStore.open(source)
    assert (dataset.num_episodes, len(dataset), dataset.fps) == (3, 11, 40)
    assert dataset.meta.depth_keys == ["observation.images.front_depth"]
    row = 0
    for key, steps in zip(store.keys(), STEPS, strict=True):
        episode = store.read(key)
        streams = episode.streams
        for frame in range(-(-steps // 2)):
            item: Any = dataset[row]
            assert item["task"] == episode.instruction
            np.testing.assert_array_equal(item["observation.state"], streams["state"].data[2 * frame])
            np.testing.assert_array_equal(item["action"], streams["action"].data[2 * frame])
            rgb = np.round(item["observation.images.front"].numpy() * 255).astype(np.uint8).transpose(1, 2, 0)
            np.testing.assert_array_equal(rgb, streams["camera.front.rgb"].data[frame])
            depth = item["observation.images.front_depth"].numpy()[0]
            np.testing.assert_array_equal(depth, streams["camera.front.depth"].data[frame])
            row += 1
    assert row == 11


def test_the_way_back_gives_the_same_bytes(source: Path, exported: Path, tmp_path: Path) -> None:
    outcome = convert(ConvertConfig(exported, tmp_path / "again", "store"))
    assert (outcome.figures["unknown"], outcome.figures["left_out"]) == ([], [])
    assert same_tree(source, tmp_path / "again")
    assert inspect(InspectConfig(exported, verify=True)).figures["frames"] == 11


def test_an_interrupted_export_goes_on(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lerobot_export, "_BLOCK", 1)
    config = ConvertConfig(source, tmp_path / "dataset", "lerobot")

    def stop_inside_the_last(done: int, total: int, text: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(config, stop_inside_the_last)
    assert os.listdir(tmp_path) == [".partial-dataset"]
    done: list[int] = []
    convert(config, lambda d, total, text: done.append(d))
    assert done == [2, 3]
    assert os.listdir(tmp_path) == ["dataset"]
    convert(ConvertConfig(config.out, tmp_path / "again", "store"))
    assert same_tree(source, tmp_path / "again")


def test_video_is_small_and_says_that_it_is_lossy(tmp_path: Path) -> None:
    episode = make_episode(7, 0)
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, None, :, None] * 3, (4, 48, 64, 3)).copy()
    for name in ("camera.front.rgb", "camera.wrist.rgb"):
        episode.streams[name] = Stream(ramp, episode.streams[name].time_ns, "1", 40.0)
    EpisodeStore.create(tmp_path / "store", CONTRACT).write("a-0", episode)
    convert(ConvertConfig(tmp_path / "store", tmp_path / "dataset", "lerobot", video=True))
    assert len(list((tmp_path / "dataset" / "videos").rglob("*.mp4"))) == 2
    outcome = convert(ConvertConfig(tmp_path / "dataset", tmp_path / "again", "store"))
    assert outcome.figures["lossy_rgb"] is True
    again = EpisodeStore.open(tmp_path / "again").read("a-0")
    difference = again.streams["camera.front.rgb"].data.astype(int) - ramp
    assert 0 < np.abs(difference).max() < 30
    np.testing.assert_array_equal(again.streams["camera.front.depth"].data, episode.streams["camera.front.depth"].data)


def test_damaged_table(exported: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    table = next((copy / "data").rglob("*.parquet"))
    table.write_bytes(table.read_bytes()[:-100])
    with pytest.raises(StoreError, match="missing, truncated or damaged"):
        convert(ConvertConfig(copy, tmp_path / "store", "store"))
    with pytest.raises(StoreError, match=r"has 3 problem\(s\)"):
        inspect(InspectConfig(copy, verify=True))
    assert not (tmp_path / "store").exists()
