"""What feeding a training run costs: CPU time of a shuffled sample, rates, and LeRobot's own class beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foreact.episodes.feed.feed import Dataset, Feed, FeedConfig
from foreact.episodes.feed.order import Order
from foreact.episodes.feed.windows import Steps, Take, Windows
from foreact.episodes.sources import SourceError, open_collection
from foreact.episodes.strictjson import loads

__all__ = ["FeedCosts", "measure_feed"]

HORIZON = 16  # steps of action in a window
BATCH = 64
STATE_BATCH = 256
WARM = 3  # batches before the clock starts
RIVAL_SAMPLES = 200


@dataclass(frozen=True)
class FeedCosts:
    """Costs of shuffled samples: a picture and a state at the anchor and 16 steps of action.

    Attributes:
        samples: That were measured.
        workers: Processes that read pictures.
        cpu_ms: CPU time of a sample, of all processes [ms].
        samples_per_second: By the clock on the wall, as busy as the machine was [1/s].
        state_samples_per_second: Without the picture, of one core, by CPU time [1/s].
        lerobot_cpu_ms: CPU time of a sample of LeRobot's own class, PyAV, bytes, one process [ms]; None if the path is
            no LeRobot dataset v3.0 or LeRobot is not installed.
        lerobot_version: Which; empty without.
        vs_lerobot: `lerobot_cpu_ms / cpu_ms`.
    """

    samples: int
    workers: int
    cpu_ms: float
    samples_per_second: float
    state_samples_per_second: float
    lerobot_cpu_ms: float | None
    lerobot_version: str
    vs_lerobot: float | None


def measure_feed(path: Path, *, workers: int = 2, seconds: float = 5.0, seed: int = 0) -> FeedCosts:
    """Measure shuffled windows of a dataset with at least one camera, `state` and `action`.

    Args:
        path: The dataset.
        workers: Processes that read pictures; 0 reads them in this one.
        seconds: How long, by the clock on the wall [s].
        seed: Of the order.

    Raises:
        SourceError: It is damaged, or has no picture stream.
        RuntimeError: LeRobot failed.
    """
    camera, vectors = _streams(path)
    small: dict[str, Take] = {name: Steps(name) for name in vectors}
    if "action" in small:
        small["action"] = Steps("action", tuple(range(HORIZON)), edge="repeat")
    windows = Windows({"camera": Steps(camera), **small}, anchor=camera)
    config = FeedConfig(batch=BATCH, workers=workers, seed=seed)
    with Feed(Dataset(path, windows), config) as feed:
        format_, numbers, total = open_collection(path).format, _numbers(feed), _last_action(feed)
        count, cpu_ms, rate = _measured(feed, seconds)
    state = _state_rate(path, Windows(small, anchor=next(iter(small))), seed) if small else 0.0
    rival = (
        _lerobot(path, camera, numbers) if format_ == "lerobot-3.0" and {"state", "action"} <= small.keys() else None
    )
    if rival is not None and not np.isclose(rival[2], total, rtol=1e-5):
        raise RuntimeError(f"{path}: LeRobot's window has actions of sum {rival[2]}, here they have {total}")
    return FeedCosts(
        samples=count,
        workers=workers,
        cpu_ms=cpu_ms,
        samples_per_second=rate,
        state_samples_per_second=state,
        lerobot_cpu_ms=rival[0] if rival else None,
        lerobot_version=rival[1] if rival else "",
        vs_lerobot=rival[0] / cpu_ms if rival else None,
    )


def _streams(path: Path) -> tuple[str, list[str]]:
    """The first stream of pictures; and those of `state` and `action` that there are."""
    collection = open_collection(path)
    with collection.open(collection.keys()[0]) as source:
        cameras = [name for name, stream in source.streams.items() if stream.kind == "image"]
        vectors = [name for name in ("state", "action") if name in source.streams]
    collection.close()
    if not cameras:
        raise SourceError(f"{path} has no stream of pictures to feed")
    return cameras[0], vectors


def _numbers(feed: Feed) -> list[int]:
    """The first samples of the order that the feed draws."""
    count = len(feed.samples[0])
    return Order(count, feed.config.seed).take(0, min(RIVAL_SAMPLES, count)).tolist()


def _last_action(feed: Feed) -> float:
    """Sum of the action of the last of these samples."""
    samples = feed.samples[0]
    if "action" not in samples.entries:
        return 0.0
    number = np.array(_numbers(feed)[-1:])
    values = {name: np.zeros((1, *entry.shape), entry.dtype) for name, entry in samples.entries.items()}
    valid = {name: np.zeros((1, entry.shape[0]), bool) for name, entry in samples.entries.items()}
    samples.fill(number, values, valid)
    return float(values["action"].astype(np.float64).sum())


def _measured(feed: Feed, seconds: float) -> tuple[int, float, float]:
    """Samples, CPU time of one [ms], rate [1/s]."""
    for _ in range(WARM + feed.config.prefetch):
        next(feed)
    count, cpu, begin = 0, feed.cpu_ns, time.perf_counter()
    while (spent := time.perf_counter() - begin) < seconds or not count:
        count += len(next(feed))
    return count, (feed.cpu_ns - cpu) / count / 1e6, count / spent


def _state_rate(path: Path, windows: Windows, seed: int) -> float:
    with Feed(Dataset(path, windows), FeedConfig(batch=STATE_BATCH, workers=0, seed=seed)) as feed:
        count, cpu_ms, _ = _measured(feed, 0.5)
    assert count
    return 1e3 / cpu_ms


def _lerobot(path: Path, camera: str, numbers: list[int]) -> tuple[float, str, float] | None:
    """CPU time of a sample [ms], version, and the sum of the last action; None where LeRobot is not installed."""
    import importlib.util

    if importlib.util.find_spec("lerobot") is None:
        return None
    info = loads((path / "meta" / "info.json").read_text(encoding="utf-8"))
    column = next(name for name in info["features"] if name.endswith(camera.removeprefix("camera.")))
    told = {"path": str(path), "camera": column, "horizon": HORIZON, "numbers": numbers}
    done = subprocess.run(
        [sys.executable, "-m", "foreact.episodes.feed.lerobot_rival"],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"},
    )
    if done.returncode:
        raise RuntimeError(f"LeRobot failed on {path}: {done.stderr.strip()[-800:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return float(found["cpu_ms"]), str(found["version"]), float(found["action_sum"])
