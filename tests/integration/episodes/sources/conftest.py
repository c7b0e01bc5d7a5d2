"""Real recordings where they lie beside the repository, and damage to order."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.sources import Collection


@pytest.fixture(scope="session")
def shared_data() -> Path:
    root = next(parent for parent in Path(__file__).parents if (parent / "pyproject.toml").is_file())
    path = root.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the sample recordings do not lie beside the repository: ../shared/data")
    return path


def damaged(data: bytes, seed: int) -> bytes:
    """The same bytes cut off, flipped, shuffled, zeroed or gone, by seed."""
    rng = np.random.default_rng(seed)
    raw = bytearray(data)
    low, high = sorted(int(at) for at in rng.integers(0, len(raw) + 1, 2))
    match seed % 6:
        case 0:
            return bytes(raw[:low])
        case 1:
            for at in rng.integers(0, len(raw), int(rng.integers(1, 8))):
                raw[at] ^= 1 << int(rng.integers(8))
        case 2:
            raw[low:high] = bytes(high - low)
        case 3:
            block = max(len(raw) // 16, 1)
            blocks = [raw[at : at + block] for at in range(0, len(raw), block)]
            return b"".join(bytes(blocks[at]) for at in rng.permutation(len(blocks)))
        case 4:
            for at in rng.integers(0, min(len(raw), 256), 3):  # headers lie at the front
                raw[at] = int(rng.integers(256))
        case _:
            return b"" if seed % 60 == 5 else bytes(raw[:low] + raw[high:])
    return bytes(raw)


def read_all(collection: Collection) -> int:
    """Read every sample of every recording; how many."""
    count = 0
    for key in collection.keys():
        with collection.open(key) as source:
            for name in source.streams:
                count += len(source.read_range(name, 0, len(source.stamps(name))))
    return count


@pytest.fixture(scope="session")
def damage() -> Callable[[bytes, int], bytes]:
    return damaged


@pytest.fixture(scope="session")
def read_everything() -> Callable[[Collection], int]:
    return read_all
