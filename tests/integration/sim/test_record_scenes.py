"""Scenes to learn seeing from: the same pictures whatever the workers, all kinds aligned, no split shared."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from foreact.episodes.aligned import BLOCK, KINDS, AlignedError, AlignedPictures
from foreact.sim.still.classes import CLASSES, geom_classes
from foreact.sim.still.looks import looking
from foreact.sim.still.record import RecordScenesConfig, draw_block, record_scenes
from foreact.sim.still.sources import FAMILIES, source


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RecordScenesConfig:
    config = RecordScenesConfig(
        tmp_path_factory.mktemp("scenes") / "set", scenes=2 * BLOCK, families=("rooms", "arm"), side=32, workers=1
    )
    record_scenes(config)
    return config


def test_kinds_show_the_same(made: RecordScenesConfig) -> None:
    found = AlignedPictures.open(made.out)
    classes, segments, depth, rgb = (found.read(kind) for kind in ("classes", "segmentation", "depth", "rgb"))
    assert found.classes == CLASSES
    np.testing.assert_array_equal(classes == 0, segments == 0)
    assert (depth[segments > 0] > 0).all()
    rooms, arm = slice(BLOCK), slice(BLOCK, None)
    shown = {CLASSES[number] for number in np.unique(classes[rooms])}
    assert shown >= {"floor", "wall", "box", "sphere", "cylinder", "capsule", "ellipsoid"} and "robot" not in shown
    assert (classes[arm] == CLASSES.index("robot")).any(axis=(1, 2)).mean() > 0.9
    # an edge of segments is an edge of colours far more often than not
    edge = segments[rooms, :, 1:] != segments[rooms, :, :-1]
    step = np.abs(np.diff(rgb[rooms].astype(int), axis=2)).sum(-1)
    assert step[edge].mean() > 2 * step[~edge].mean()
    assert Image.open(made.out / "scenes.png").size == (8 * 32, 2 * 3 * 32)


def test_no_scene_is_like_another(made: RecordScenesConfig) -> None:
    depth = AlignedPictures.open(made.out).read("depth")
    other = draw_block(replace(made, split="eval"), 0)["depth"]
    every = np.concatenate([depth, other]).reshape(3 * BLOCK, -1)
    assert len(np.unique(every, axis=0)) == len(every)
    # things stand in 3 to 8 places of a room
    count = [len(np.unique(each)) for each in draw_block(made, 0)["segmentation"]]
    assert np.mean(count) > 4


def test_a_killed_run_goes_on_to_the_same(made: RecordScenesConfig, tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom pathlib import Path\n"
        "from foreact.sim.still.record import RecordScenesConfig, record_scenes\n"
        "def progress(done, total, text): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"record_scenes(RecordScenesConfig(Path({str(tmp_path / 'set')!r}), scenes=128, families=('rooms', 'arm'), "
        "side=32, workers=1), progress)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], env=os.environ, check=False)
    assert ended.returncode == -signal.SIGKILL
    with pytest.raises(AlignedError, match="1 of 2 blocks"):
        AlignedPictures.open(tmp_path / "set")
    record_scenes(replace(made, out=tmp_path / "set", workers=2))
    one, other = (AlignedPictures.open(path) for path in (made.out, tmp_path / "set"))
    for kind in KINDS:
        np.testing.assert_array_equal(one.read(kind), other.read(kind))
    with pytest.raises(AlignedError, match="another set"):
        record_scenes(replace(made, seed=1))


def test_meta_world_is_drawn_with_its_goal_and_fixtures() -> None:
    pictures = draw_block(RecordScenesConfig(Path("unused"), families=("metaworld",), side=32), 2)
    found = source(FAMILIES["metaworld"][2], BLOCK)
    robot = geom_classes(found.model)[pictures["segmentation"]] == CLASSES.index("robot")
    assert robot.any(axis=(1, 2)).mean() > 0.9
    assert len(np.unique(pictures["depth"].reshape(BLOCK, -1), axis=0)) == BLOCK


def test_a_camera_looks_where_it_is_told_with_a_level_horizon() -> None:
    direction = np.array([[0.6, 0.0, -0.8], [0.0, 1.0, 0.0], [-0.36, -0.48, -0.8]])
    w, x, y, z = looking(direction).T
    ahead = -np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], axis=-1)
    np.testing.assert_allclose(ahead, direction, atol=1e-12)
    np.testing.assert_allclose(2 * (x * z - w * y), 0, atol=1e-12)  # its right side has no height
    assert (1 - 2 * (x * x + z * z) >= -1e-12).shape == (3,)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"scenes": 100}, "multiple of 64"),
        ({"families": ("moon",)}, "rooms, arm, metaworld"),
        ({"side": 4}, "8 to 1024"),
        ({"split": "holiday"}, "known split"),
        ({"target": "scene"}, "expected scenes"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        RecordScenesConfig(**{"out": Path("x"), **change})
