"""Real recordings where they lie beside the repository, and damage to order."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.sources import Collection


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


WORKER = """
import importlib.util, json, resource, signal, sys
from pathlib import Path

conftest, target, opened, first, last = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
spec = importlib.util.spec_from_file_location("damage", conftest)
assert spec is not None and spec.loader is not None
tools = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tools)
from foreact.episodes.sources import SourceError, open_collection

file, counts = Path(target), {"error": 0, "read": 0}
whole = file.read_bytes()
for seed in range(int(first), int(last)):
    print(seed, file=sys.stderr, flush=True)
    file.write_bytes(tools.damaged(whole, seed))
    signal.alarm(90)
    try:
        tools.read_all(open_collection(opened))
    except SourceError:
        counts["error"] += 1
    else:
        counts["read"] += 1
    signal.alarm(0)
file.write_bytes(whole)
print(json.dumps(counts))
"""


def damage_apart(target: Path, opened: Path, first: int, last: int) -> dict[str, int]:
    """Damage a file by seeds and read it, in a process of its own: a crash, a hang or 8 GiB of memory fail the test."""
    words = [__file__, target, opened, first, last]
    command = [sys.executable, "-P", "-c", WORKER, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ended by {done.returncode} at seed\n{done.stderr[-3000:]}"
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def damage_in_a_process() -> Callable[[Path, Path, int, int], dict[str, int]]:
    return damage_apart
