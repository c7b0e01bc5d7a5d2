from collections.abc import Callable

import numpy as np
import pytest

from foreact.worldmodels.branches import Branches, BranchSpec
from foreact.worldmodels.models.predictor import PredictorConfig
from foreact.worldmodels.pixels.decoder import DecoderConfig
from foreact.worldmodels.pixels.encoder import EncoderConfig
from foreact.worldmodels.pixels.model import PixelModelConfig
from foreact.worldmodels.pixels.pictures import PictureSpec, PixelBranches

SIDE, HORIZON = 16, 8

MakeSet = Callable[..., PixelBranches]


def made(states: int = 6, pictured: int = 3, seed: int = 0, purpose: str = "train", every: int = 4) -> PixelBranches:
    """Random numbers in the shapes of a set; pictures show a bright square at the hand's place."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    def pictures(*axes: int) -> dict[str, np.ndarray]:
        return {
            "rgb": rng.integers(0, 256, (*axes, SIDE, SIDE, 3), dtype=np.uint8),
            "depth": rng.integers(0, 3000, (*axes, SIDE, SIDE), dtype=np.uint16),
            "segmentation": rng.choice(np.array([0, 3, 40], np.uint8), (*axes, SIDE, SIDE)),
        }

    spec = BranchSpec("arm-test", ("hand", "aim_z", "cube"), (0, 2), ("dx", "jaws"), ("mass",), 20.0, seed, purpose)
    many = (states, pictured + 1, HORIZON)
    branches = Branches(
        spec, normal(states, 3), normal(states, HORIZON, 2), normal(*many, 3), normal(*many), rng.random(many) < 0.3,
        rng.random(many) < 0.1, normal(states, pictured + 1, 1),
    )  # fmt: skip
    return PixelBranches(
        PictureSpec(side=SIDE, every=every), branches, pictures(states, 2), pictures(states, pictured, HORIZON // every)
    )


@pytest.fixture
def make_set() -> MakeSet:
    return made


@pytest.fixture
def tiny() -> PixelModelConfig:
    return PixelModelConfig(
        EncoderConfig(latent=5, channels=(4, 6), hidden=8, points=3),
        DecoderConfig(channels=(4, 4), hidden=8, points=3),
        PredictorConfig(width=16, depth=1, codes=3, code_width=8),
    )
