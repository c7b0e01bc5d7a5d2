"""A worker's share of a recording: simulate some attempts of one task, draw them, store the successful ones."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foreact.episodes.contract import PolicyContract
from foreact.episodes.workers import give_back_memory
from foreact.sim.cameras import WorldStates, joined
from foreact.sim.demonstration import Attempt, Demonstration, DemonstrationRules, demonstrate
from foreact.sim.landmarks import in_camera
from foreact.sim.registry import definition

if TYPE_CHECKING:
    import mujoco

    from foreact.episodes.store import Episode
    from foreact.sim.definitions import ShownWorlds
    from foreact.sim.pictures import WorldPictures

__all__ = ["JOB_ATTEMPTS", "Job", "JobResult", "episode_key", "run_job"]

JOB_ATTEMPTS = 8  # a job is a few seconds of work: small enough to balance, large enough to step and draw together
LAUNCH = 8  # frames drawn by one launch: on CPU as fast per frame as 64, and the last launch of a job wastes less


@dataclass(frozen=True)
class Job:
    """Attempts of one task for one worker.

    Attributes:
        store: Folder of the episode store, which exists.
        task: Full task name.
        indices: Attempts to make, at most `JOB_ATTEMPTS`.
        rules: How to record.
        segmentation: Also record geom ids.
        device: Where to draw.
    """

    store: Path
    task: str
    indices: tuple[int, ...]
    rules: DemonstrationRules
    segmentation: bool
    device: str


@dataclass(frozen=True)
class JobResult:
    """What came of a job.

    Attributes:
        task: Full task name.
        attempts: One per index of the job.
        frames: Frames drawn, each with all cameras.
        cpu_s: CPU time by phase [s].
    """

    task: str
    attempts: tuple[Attempt, ...]
    frames: int
    cpu_s: dict[str, float]


@dataclass
class _CpuClock:
    """Adds up CPU time by phase."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - start


def episode_key(task: str, index: int) -> str:
    """The store key of an attempt.

    Args:
        task: Full task name.
        index: Number of the attempt.
    """
    return f"{task}-{index:05d}"


def run_job(job: Job) -> JobResult:
    """Do a job in this process.

    Args:
        job: What to do.

    Raises:
        StoreError: An episode cannot be stored.
    """
    from foreact.episodes.store import EpisodeStore

    clock = _CpuClock()
    store = EpisodeStore.open(job.store)
    with clock.phase("setup"):
        worlds = _worlds(job.task)
    text = definition(job.task).text
    with clock.phase("simulation"):
        made = demonstrate(worlds, text, job.indices, job.rules, store.contract.cameras)
    kept = [demonstration for demonstration in made if demonstration.attempt.success]
    if kept:
        with clock.phase("setup"):
            pictures = _pictures(job, worlds.shown_model, store.contract, kept[0].poses.part(slice(1)))
        with clock.phase("rendering"):
            drawn = _draw(pictures, kept)
        with clock.phase("writing"):
            for demonstration, images in zip(kept, drawn, strict=True):
                key = episode_key(job.task, demonstration.attempt.index)
                store.write(key, _episode(job, demonstration, images, store.contract))
    frames = sum(len(demonstration.poses) for demonstration in kept)
    return JobResult(job.task, tuple(demonstration.attempt for demonstration in made), frames, clock.seconds)


# Between jobs a process keeps worlds and pictures of the latest task: jobs come task by task.
_kept_worlds: dict[str, ShownWorlds] = {}
_kept_pictures: dict[tuple[str, str, bool, str], WorldPictures] = {}


def _worlds(name: str) -> ShownWorlds:
    if name not in _kept_worlds:
        _kept_worlds.clear()
        _kept_pictures.clear()
        give_back_memory()
        _kept_worlds[name] = definition(name).make(JOB_ATTEMPTS)
    return _kept_worlds[name]


def _pictures(job: Job, model: mujoco.MjModel, contract: PolicyContract, first: WorldStates) -> WorldPictures:
    from foreact.sim.pictures import WorldPictures

    key = (job.task, contract.hash, job.segmentation, job.device)
    if key not in _kept_pictures:
        _kept_pictures.clear()
        with _compile_lock():
            pictures = WorldPictures(
                model, contract.cameras, LAUNCH, segmentation=job.segmentation, device=job.device, launch=LAUNCH
            )
            pictures.draw_states(first)  # the first launch compiles, if this scene never was
        _kept_pictures[key] = pictures
    return _kept_pictures[key]


@contextlib.contextmanager
def _compile_lock() -> Iterator[None]:
    """Let one process at a time compile kernels: those that wait find them in Warp's cache."""
    import fcntl

    import warp

    warp.config.log_level = warp.LOG_WARNING
    warp.init()
    cache = warp.config.kernel_cache_dir
    assert cache is not None  # init has chosen it
    with (Path(cache) / "foreact-compile.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _draw(pictures: WorldPictures, demonstrations: Sequence[Demonstration]) -> list[dict[str, np.ndarray]]:
    """Draw all frames of some demonstrations in full launches, and hand each its own."""
    images = pictures.draw_states(joined([each.poses for each in demonstrations]))
    ends = np.cumsum([len(each.poses) for each in demonstrations])
    split = {key: np.split(values, ends[:-1]) for key, values in images.items()}
    return [{key: values[place] for key, values in split.items()} for place in range(len(demonstrations))]


def _episode(
    job: Job, demonstration: Demonstration, images: dict[str, np.ndarray], contract: PolicyContract
) -> Episode:
    from foreact.episodes.store import Episode, Stream

    rate = contract.control_rate_hz
    attempt, rules = demonstration.attempt, job.rules
    step_clock = _clock(np.arange(attempt.steps), rate)
    frame_clock = _clock(demonstration.frame_steps, rate)
    state_unit, action_unit = ",".join(contract.state.units), ",".join(contract.action.units)
    streams = {
        "state": Stream(demonstration.state, step_clock, state_unit, rate),
        "action": Stream(demonstration.label, step_clock, action_unit, rate),
        "action.executed": Stream(demonstration.executed, step_clock, action_unit, rate),
        "reward": Stream(demonstration.reward, step_clock, "1", rate),
        "success": Stream(demonstration.solved, step_clock, "1", rate),
    }
    for key, values in images.items():
        unit = "mm" if key.endswith(".depth") else "1"
        streams[key] = Stream(np.ascontiguousarray(values), frame_clock, unit, rate / rules.frame_every)
    for index, camera in enumerate(contract.cameras):
        position, rotation = demonstration.camera_position[:, index], demonstration.camera_rotation[:, index]
        places = in_camera(demonstration.landmarks, camera, position, rotation)
        streams[f"landmarks.{camera.name}"] = Stream(places, frame_clock, "m", rate / rules.frame_every)
    noise_std = rules.noise_std if attempt.noisy else 0.0
    return Episode(
        streams, job.task, demonstration.instruction, demonstration.layout, True,
        {"attempt": attempt.index, "steps": attempt.steps, "noise_std": noise_std, "frame_every": rules.frame_every},
    )  # fmt: skip


def _clock(steps: np.ndarray, rate_hz: float) -> np.ndarray:
    """Time of control steps since reset, int64 [ns]."""
    return np.rint(steps * (1e9 / rate_hz)).astype(np.int64)
