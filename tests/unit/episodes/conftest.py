from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.contract import CameraSpec, FeatureSpec, LanguageSpec, PolicyContract
from foreact.episodes.store import Episode, EpisodeStore, Stream

ELEMENTS = ("hand_x", "hand_y", "hand_z", "gripper")
EpisodeMaker = Callable[..., Episode]


@pytest.fixture
def contract() -> PolicyContract:
    return PolicyContract(
        version=1,
        embodiment="sawyer",
        control_rate_hz=80.0,
        chunk_length=8,
        state=FeatureSpec(
            "state",
            "float32",
            ELEMENTS,
            ("m", "m", "m", "1"),
            "base",
            (-1.0, 0.0, 0.0, 0.0),
            (1.0, 1.0, 0.5, 1.0),
            "bounds",
        ),
        action=FeatureSpec(
            "action", "float32", ELEMENTS, ("1", "1", "1", "1"), "base", (-1.0,) * 4, (1.0,) * 4, "none"
        ),
        cameras=(
            CameraSpec(
                "front", 6, 4, ("rgb", "depth"), 5.0, 5.0, 3.0, 2.0, "world", (0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0)
            ),
            CameraSpec("wrist", 4, 4, ("rgb",), 5.0, 5.0, 2.0, 2.0, "body:hand", (0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0)),
        ),
        language=LanguageSpec(),
        audio=None,
    )


def build_episode(steps: int = 7, seed: int = 0, **labels: object) -> Episode:
    """Random streams for the contract above: control at 80 Hz, images at 40 Hz, `steps` control steps."""
    rng = np.random.default_rng(seed)
    control = np.arange(steps, dtype=np.int64) * 12_500_000
    frames = control[::2]
    n = len(frames)

    def vector() -> Stream:
        return Stream(rng.uniform(-1, 1, (steps, 4)).astype(np.float32), control, "1", 80.0)

    def images(shape: tuple[int, ...], dtype: str, high: int) -> Stream:
        return Stream(
            rng.integers(0, high, (n, *shape)).astype(dtype), frames, "mm" if dtype == "uint16" else "1", 40.0
        )

    fields = {"task": "reach-v3", "instruction": "reach the red ball", "seed": seed, "success": True, "metadata": {}}
    return Episode(
        streams={
            "state": vector(),
            "action": vector(),
            "action.executed": vector(),
            "reward": Stream(rng.uniform(0, 1, steps).astype(np.float32), control, "1", 80.0),
            "success": Stream(np.arange(steps) == steps - 1, control, "1", 80.0),
            "landmarks.front": Stream(rng.uniform(-1, 1, (n, 3, 4)).astype(np.float32), frames, "m", 40.0),
            "camera.front.rgb": images((4, 6, 3), "uint8", 256),
            "camera.front.depth": images((4, 6), "uint16", 65536),
            "camera.front.segmentation": images((4, 6), "uint8", 256),
            "camera.wrist.rgb": images((4, 4, 3), "uint8", 256),
        },
        **{**fields, **labels},
    )


@pytest.fixture
def make_episode() -> EpisodeMaker:
    return build_episode


@pytest.fixture
def store(tmp_path: Path, contract: PolicyContract) -> EpisodeStore:
    return EpisodeStore.create(tmp_path / "store", contract)
