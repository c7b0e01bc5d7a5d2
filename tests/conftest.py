"""Every test folder has a time limit; a test outside these folders fails collection."""

import os
import random
import sys
from pathlib import Path

import pytest

TIMEOUTS = {"unit": 60, "integration": 180, "e2e": 600, "gpu": 300, "tensorrt": 180}  # [s] per test
HERE = Path(__file__).parent

# Small models on a busy machine: one thread per process (set before anything imports torch or numpy).
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Every test draws the same numbers, alone or among others."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def timeout_of(file: Path) -> int:
    """The time limit of a test file [s], by the first folder under tests/."""
    tier = file.relative_to(HERE).parts[0]
    if tier not in TIMEOUTS:
        raise pytest.UsageError(
            f"{file} lies outside tests/{{{','.join(TIMEOUTS)}}}, so it has no time limit. Move it into one of these."
        )
    return TIMEOUTS[tier]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its folder's time limit, unless it sets a shorter one itself."""
    for item in items:
        limit = timeout_of(item.path)
        own = item.get_closest_marker("timeout")
        if own is None or own.args[0] > limit:
            item.add_marker(pytest.mark.timeout(limit), append=False)
