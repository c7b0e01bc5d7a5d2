"""kill -9 at any moment of a write: committed episodes stay whole, nothing half-written becomes visible."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foreact.episodes.contract import FeatureSpec, PolicyContract
from foreact.episodes.store import EpisodeStore

WRITER = r"""
import itertools, os, signal, sys
import numpy as np
from foreact.episodes.store import Episode, EpisodeStore, Stream

path, first, count, call, number = sys.argv[1], *map(int, sys.argv[2:4]), sys.argv[4], int(sys.argv[5])
if call:
    original, calls = getattr(os, call), itertools.count(1)
    def counted(*args, **kwargs):
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    setattr(os, call, counted)
store = EpisodeStore.open(path)
times = np.arange(50, dtype=np.int64) * 20_000_000
for index in range(first, first + count):
    rng = np.random.default_rng(index)
    vector = lambda: Stream(rng.uniform(-1, 1, (50, 2)).astype(np.float32), times, "m", 50.0)
    image = Stream(rng.integers(0, 255, (50, 32, 32, 3)).astype(np.uint8), times, "1", 50.0)
    streams = {"state": vector(), "action": vector(), "video": image}
    store.write(f"t-{index:05d}", Episode(streams, "t", "do it", index, True))
    print(index, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    def spec(name: str) -> FeatureSpec:
        return FeatureSpec(name, "float32", ("x", "y"), ("m", "m"), "base", (-1.0, -1.0), (1.0, 1.0), "bounds")

    contract = PolicyContract(1, "point", 50.0, 4, spec("state"), spec("action"), (), None, None)
    return EpisodeStore.create(tmp_path / "store", contract).path


def start(path: Path, first: int, count: int, call: str = "", number: int = 0) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(path), str(first), str(count), call, str(number)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def staging_folders(path: Path) -> list[str]:
    return [name for name in os.listdir(path / "episodes") if name.startswith(".tmp-")]


@pytest.mark.parametrize(
    ("call", "number", "committed"),
    [("fsync", 1, 0), ("fsync", 9, 0), ("rename", 1, 0), ("rename", 2, 1)],
)
def test_killed_at_a_given_call(path: Path, call: str, number: int, committed: int) -> None:
    process = start(path, 0, 3, call, number)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    store = EpisodeStore.open(path)
    assert len(store) == committed
    assert store.verify() == []
    assert len(staging_folders(path)) == 1
    EpisodeStore.create(path, store.contract)
    assert staging_folders(path) == []
    assert start(path, committed, 3 - committed).wait() == 0
    assert EpisodeStore.open(path).keys() == ["t-00000", "t-00001", "t-00002"]
    assert EpisodeStore.open(path).verify() == []


def test_two_writers_killed_at_random_moments(path: Path) -> None:
    rng = random.Random(3)
    store = EpisodeStore.open(path)
    for turn in range(2):
        writers = [start(path, 1000 * (2 * turn + i), 900) for i in range(2)]
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()  # it has committed one
        time.sleep(rng.uniform(0.0, 0.4))
        printed = []
        for writer in writers:
            writer.kill()
            printed += writer.communicate()[0].split()
        store = EpisodeStore.open(path)
        assert store.verify() == []
        assert len(store) >= 2 * (turn + 1)
        assert all(f"t-{int(index):05d}" in store for index in printed)
    EpisodeStore.create(path, store.contract)
    assert staging_folders(path) == []
