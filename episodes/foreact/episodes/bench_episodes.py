"""`foreact bench episodes`: what reading, replaying and feeding recordings cost on this machine, bare PyAV beside it.

Costs are CPU time of all threads, in rounds in which every side has its turn. Other work on the machine and on its host
only adds to them: a cost is the least of the rounds, on every side, with the median and quartiles beside it.
Shape letters: R = rounds.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes.bench_replay import drift_ns, memory_of_loops, paced, step_costs, wearable
from foreact.episodes.bench_video import VideoCosts, VideoMeter
from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.ranges import require_at_least
from foreact.episodes.runfolder import describe_machine, jsonable, write_dated_json
from foreact.episodes.sources.parts import Part
from foreact.episodes.sources.video import VideoPool
from foreact.episodes.sources.video_part import video_part

__all__ = ["EpisodesBenchConfig", "bench"]

# of the sample recordings: the dataset, and the videos by the names that their figures have
DATASET = "g1_head_teleop_lerobot_v30"
CLIPS = {"gopro": "gopro_gpmf/max-heromode.mp4"}
COLUMNS = ("what", "figure", "median (quartiles)", "unit")


@dataclass(frozen=True)
class EpisodesBenchConfig:
    """What to measure.

    Attributes:
        target: "episodes".
        data: Folder of the project's sample recordings; stands for `lerobot` and `clips`.
        lerobot: A LeRobot dataset with video: frames in order and at random, shuffled batches, memory.
        clips: Video files to seek in; their figures are named after them.
        out: Folder of the dated results file; None writes nothing.
        samples: Frames of a round.
        rounds: In each every side has its turn.
        pacing_s: How long to play in real time [s]; 0 leaves it out.
        loops: Times to replay while memory is watched; 0 leaves it out.
        workers: Processes that read pictures of shuffled batches.
        feed_s: How long to draw shuffled batches [s]; 0 leaves it out.
        seed: Of random orders and of made-up values.
    """

    target: str = "episodes"
    data: Path | None = None
    lerobot: Path | None = None
    clips: tuple[Path, ...] = ()
    out: Path | None = None
    samples: int = 200
    rounds: int = 9
    pacing_s: float = 60.0
    loops: int = 10
    workers: int = 2
    feed_s: float = 15.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.target != "episodes":
            raise ValueError(f"target is {self.target!r}, expected episodes")
        require_at_least(self, samples=1, rounds=1, pacing_s=0, loops=0, workers=0, feed_s=0)


def bench(config: EpisodesBenchConfig, progress: ProgressFn = quiet) -> Outcome:
    """Measure one thing after the other.

    Args:
        config: What to measure.
        progress: Told of work done and what is running.

    Returns:
        Costs with quartiles; the figures hold the machine too.

    Raises:
        ValueError: Neither sample recordings nor a dataset are named, or there is no video.
        SourceError: A recording is damaged.
        RuntimeError: LeRobot failed.
    """
    dataset, clips = _recordings(config)
    figures = _Figures()
    _measure_videos(config, clips, figures, progress)
    progress(0, 1, "step overhead")
    figures.add(("step_overhead_us",), step_costs(wearable(60.0, config.seed), config.rounds))
    if config.pacing_s:
        _measure_pacing(config, next(iter(clips.values())), figures, progress)
    if config.loops:
        _measure_memory(config, [dataset, *list(clips.values())[1:]], figures, progress)
    if config.feed_s:
        progress(0, 1, "shuffled batches")
        _measure_feed(config, dataset, figures)
    found = _as_json(config, figures)
    path = dataset if config.out is None else write_dated_json(config.out, "episodes", found)
    return Outcome(path, found, COLUMNS, figures.rows())


def _recordings(config: EpisodesBenchConfig) -> tuple[Path, dict[str, Path]]:
    """The dataset, and videos by name, that of the dataset first."""
    dataset, clips = config.lerobot, {path.stem: path for path in config.clips}
    name = "" if dataset is None else dataset.name
    if config.data is not None and dataset is None:
        dataset, name = config.data / DATASET, "g1"
    if dataset is None:
        raise ValueError(
            "which recordings? Type data=FOLDER (the folder of sample recordings, which holds "
            f"{DATASET}), or lerobot=DATASET clips=[VIDEO,...]"
        )
    if config.data is not None and not clips:
        clips = {key: config.data / file for key, file in CLIPS.items()}
    videos = sorted((dataset / "videos").rglob("*.mp4"))
    if not videos:
        raise ValueError(f"{dataset} holds no videos/*.mp4; give lerobot=DATASET, a LeRobot dataset with video")
    if missing := [str(path) for path in clips.values() if not path.is_file()]:
        raise ValueError(f"no such video: {', '.join(missing)}; give clips=[VIDEO,...]")
    if len({name, *clips}) <= max(len(clips), len(config.clips)):
        raise ValueError(f"two videos have one name among {name}, {', '.join(path.name for path in config.clips)}")
    return dataset, {name: videos[0], **clips}


class _Figures:
    """Figures by their path of keys, with median and quartiles where there are rounds."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, ...], Any] = {}
        self.quartiles: dict[tuple[str, ...], list[float]] = {}

    def add(self, key: tuple[str, ...], rounds: Sequence[float] | np.ndarray) -> None:
        """The least of costs, (R,), or the median of ratios."""
        quartiles = [float(each) for each in np.percentile(rounds, [25, 50, 75])]
        self.values[key] = quartiles[1] if key[0].startswith("vs_") else float(np.min(rounds))
        self.quartiles[key] = quartiles

    def rows(self) -> tuple[tuple[str, ...], ...]:
        """Of the table: what is a number."""
        return tuple(
            (
                ".".join(key),
                f"{value:,.3f}" if isinstance(value, float) else str(value),
                "{1:,.3f} ({0:,.3f} to {2:,.3f})".format(*self.quartiles[key]) if key in self.quartiles else "",
                _unit(key),
            )
            for key, value in self.values.items()
            if isinstance(value, int | float)
        )


UNITS = {"ms": "ms", "us": "us", "mib": "MiB", "second": "1/s"}


def _unit(key: tuple[str, ...]) -> str:
    return next((unit for each in reversed(key) if (unit := UNITS.get(each.rsplit("_", 1)[-1]))), "")


def _measure_videos(
    config: EpisodesBenchConfig, clips: dict[str, Path], figures: _Figures, progress: ProgressFn
) -> None:
    with ExitStack() as stack:
        meters = {
            name: stack.enter_context(VideoMeter.open(file, config.samples, config.seed))
            for name, file in clips.items()
        }
        total = (config.rounds + 1) * len(meters)
        for number in range(total):
            progress(number, total, "frames of videos")
            list(meters.values())[number % len(meters)].round()
        costs = {name: meter.costs() for name, meter in meters.items()}
    _add_frames(next(iter(costs.values())), figures)
    for name, each in costs.items():
        figures.values[("seek_p95_ms", name)] = float(np.percentile(each.seeks, 95))
        figures.add(("seek_mean_ms", name), each.random)
        figures.add(("bare_pyav", name, "sequential_ms"), each.bare)
        figures.add(("bare_pyav", name, "sequential_rgb_ms"), each.bare_rgb)
        if len(each.bare_random):
            figures.add(("bare_pyav", name, "random_ms"), each.bare_random)


def _add_frames(costs: VideoCosts, figures: _Figures) -> None:
    figures.add(("sequential_ms",), costs.sequential)
    figures.add(("random_ms",), costs.random)
    figures.add(("bare_pyav_ms",), costs.bare)
    figures.add(("vs_bare_pyav", "sequential"), costs.sequential / costs.bare)
    if len(costs.bare_random):
        figures.add(("vs_bare_pyav", "random"), costs.random / costs.bare_random)


def _measure_pacing(config: EpisodesBenchConfig, file: Path, figures: _Figures, progress: ProgressFn) -> None:
    pool = VideoPool()
    try:
        source = wearable(config.pacing_s, config.seed, [_endless(video_part("camera", pool, file), config.pacing_s)])
        pacing, in_hand = paced(source, config.pacing_s, lambda at: progress(int(at), int(config.pacing_s), "pacing"))
    finally:
        pool.close()
    figures.values |= {
        ("pacing_p99_ms",): pacing.p99_ns / 1e6,
        ("pacing_worst_ms",): float(pacing.lateness_ns.max()) / 1e6,
        ("pacing_in_hand_p99_ms",): float(np.percentile(in_hand, 99)) / 1e6,
        ("pacing_drift_ms",): drift_ns(pacing.lateness_ns) / 1e6,
        ("pacing_steps",): pacing.steps,
        ("pacing_dropped",): pacing.dropped,
    }


def _endless(camera: Part, seconds: float) -> Part:
    """A video that begins anew when it ends, at 30 Hz."""
    frames = len(camera.stamps)
    stamps = np.rint(np.arange(int(seconds * 30) + 1) * (1e9 / 30)).astype(np.int64)
    return Part(replace(camera.stream, rate_hz=30.0), stamps, lambda index: camera.read(index % frames))


def _measure_memory(config: EpisodesBenchConfig, paths: list[Path], figures: _Figures, progress: ProgressFn) -> None:
    memory = memory_of_loops(paths, config.loops, lambda done: progress(done, config.loops, "memory"))
    figures.values[("memory_mib",)] = [round(each / 2**20, 2) for each in memory.after.tolist()]
    figures.values[("memory_change",)] = memory.change


def _measure_feed(config: EpisodesBenchConfig, dataset: Path, figures: _Figures) -> None:
    from foreact.episodes.feed.bench_feed import measure_feed

    costs = measure_feed(dataset, workers=config.workers, seconds=config.feed_s, seed=config.seed)
    figures.values |= {
        ("samples_per_second",): costs.samples_per_second,
        ("state_samples_per_second",): costs.state_samples_per_second,
        ("shuffled_ms",): costs.cpu_ms,
    }
    if costs.vs_lerobot is not None and costs.lerobot_cpu_ms is not None:
        figures.values |= {
            ("vs_lerobot", "shuffled"): costs.vs_lerobot,
            ("lerobot", "shuffled_ms"): costs.lerobot_cpu_ms,
            ("lerobot", "version"): costs.lerobot_version,
        }


def _as_json(config: EpisodesBenchConfig, figures: _Figures) -> dict[str, Any]:
    found = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": config,
        "machine": {**describe_machine(), "load_average": os.getloadavg()},
        **_nested(figures.values),
        "quartiles": _nested(figures.quartiles),
    }
    plain = jsonable(found)
    assert isinstance(plain, dict)
    return plain


def _nested(flat: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for (*path, last), value in flat.items():
        inside = found
        for key in path:
            inside = inside.setdefault(key, {})
        inside[last] = value
    return found
