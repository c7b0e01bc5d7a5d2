"""Small encoders and sets that tests of this folder share."""

from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.aligned import BLOCK, AlignedWriter
from foreact.perception.omnivorous.model import EncoderConfig
from foreact.perception.omnivorous.trunk import TrunkConfig

SIDE = 16
CLASSES = ("nothing", "floor", "box")


@pytest.fixture(scope="session")
def small() -> EncoderConfig:
    return EncoderConfig(TrunkConfig(side=SIDE, patch=4, width=16, depth=2, heads=2))


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Boxes of any colour on floors of any other, whose class, depth and segment fit."""
    path = tmp_path_factory.mktemp("aligned") / "train"
    writer = AlignedWriter(path, BLOCK, SIDE, CLASSES, {"seed": 1000})
    writer.write(drawn(np.random.default_rng(0)))
    return path


@pytest.fixture(scope="session")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("aligned") / "eval"
    writer = AlignedWriter(path, BLOCK, SIDE, CLASSES, {"seed": 1001})
    writer.write(drawn(np.random.default_rng(1)))
    return path


def drawn(random: np.random.Generator) -> dict[str, np.ndarray]:
    rows = np.arange(SIDE)
    low = random.integers(0, SIDE // 2, (BLOCK, 2))
    box = np.ones((BLOCK, SIDE, SIDE), bool)
    for axis in (0, 1):
        inside = (rows >= low[:, [axis]]) & (rows < low[:, [axis]] + 8)
        box &= inside[:, :, None] if axis == 0 else inside[:, None]
    colours = random.integers(0, 255, (BLOCK, 2, 3)).astype(np.uint8)
    far = np.linspace(3000, 1000, SIDE)[:, None].repeat(SIDE, 1)
    numbers = random.permuted(np.tile(np.arange(200), (BLOCK, 1)), axis=1)[:, :2].astype(np.uint8)
    pick = box[..., None]
    return {
        "rgb": np.where(pick, colours[:, 1][:, None, None], colours[:, 0][:, None, None]),
        "depth": np.where(box, 900, far).astype(np.uint16),
        "segmentation": np.where(box, numbers[:, 1][:, None, None], numbers[:, 0][:, None, None]),
        "classes": np.where(box, 2, 1).astype(np.uint8),
    }
