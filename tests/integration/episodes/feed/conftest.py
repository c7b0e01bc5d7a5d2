"""Real recordings where they lie beside the repository, and a small dataset made here."""

from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.sources.mcap_writer import write_mcap
from foreact.episodes.sources.parts import PartsSource, array_part
from foreact.episodes.sources.protocol import Stream


def made(key: str, count: int, seed: int) -> PartsSource:
    """A camera and a state twice as fast."""
    rng = np.random.default_rng(seed)
    frames = np.arange(count, dtype=np.int64) * 100_000_000
    states = np.arange(2 * count, dtype=np.int64) * 50_000_000
    camera = Stream("camera.rgb", "image", (8, 12, 3), "uint8", clock="episode")
    state = Stream("state", "vector", (3,), "float32", clock="episode")
    return PartsSource(key, [
        array_part(camera, frames, rng.integers(0, 255, (count, 8, 12, 3), np.uint8)),
        array_part(state, states, rng.normal(size=(2 * count, 3)).astype(np.float32)),
    ], task=f"task {key}")  # fmt: skip


@pytest.fixture(scope="session")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings in one dataset of 9 and 14 frames, and another dataset of 5."""
    pytest.importorskip("mcap")
    root = tmp_path_factory.mktemp("bags")
    for name, key, count in (("two", "a", 9), ("two", "b", 14), ("one", "c", 5)):
        (root / name / key).mkdir(parents=True)
        write_mcap(made(key, count, count), root / name / key / "bag.mcap")
    return root
