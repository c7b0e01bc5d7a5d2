"""`foreact record`: scripted demonstrations of some tasks into an episode store, by several processes, resumable."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import get_args

from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import RunFolder
from foreact.episodes.workers import worker_processes
from foreact.sim.attempts import AttemptLedger
from foreact.sim.demonstration import DemonstrationRules
from foreact.sim.recording_job import JOB_ATTEMPTS, Job, JobResult, run_job
from foreact.sim.registry import definition, resolve
from foreact.sim.seeds import INDEX_LIMIT, SEED_LIMIT, Split

__all__ = ["RecordConfig", "record"]


@dataclass(frozen=True)
class RecordConfig:
    """What to record.

    Attributes:
        out: Folder of the episode store; one that exists with the same rules is continued.
        tasks: Task names or aliases.
        episodes: Successful demonstrations per task.
        seed: Layouts and noise derive from it, 0 <= seed < 2**28.
        split: Which layouts to draw: train, eval or calibration; the three never meet.
        noise_fraction: Share of attempts that execute noise while the label stays clean, 0 to 1.
        noise_std: Standard deviation of that noise on the motion [action units].
        noise_hold: Control steps that one draw of the noise lasts.
        frame_every: Pictures every so many control steps.
        hold_steps: Control steps recorded after success.
        front: Side of the fixed view's image [px].
        wrist: Side of the wrist view's image [px].
        segmentation: Also record geom ids of every pixel.
        workers: Processes.
        device: Where to draw: cpu or cuda:0.
        target: `demonstrations`.

    Raises:
        ValueError: A value is out of range; the message names it.
    """

    out: Path
    tasks: tuple[str, ...]
    episodes: int = 50
    seed: int = 0
    split: Split = "train"
    noise_fraction: float = 0.5
    noise_std: float = 0.4
    noise_hold: int = 4
    frame_every: int = 4
    hold_steps: int = 20
    front: int = 96
    wrist: int = 64
    segmentation: bool = False
    workers: int = 2
    device: str = "cpu"
    target: str = "demonstrations"

    def __post_init__(self) -> None:
        _require(self.target == "demonstrations", "target", self.target, "demonstrations")
        _require(1 <= self.episodes < INDEX_LIMIT, "episodes", self.episodes, f"1 to {INDEX_LIMIT - 1}")
        _require(0 <= self.seed < SEED_LIMIT, "seed", self.seed, f"0 to {SEED_LIMIT - 1}")
        _require(self.split in get_args(Split), "split", self.split, " or ".join(get_args(Split)))
        _require(0 <= self.noise_fraction <= 1, "noise_fraction", self.noise_fraction, "0 to 1")
        _require(isfinite(self.noise_std) and self.noise_std >= 0, "noise_std", self.noise_std, "0 or more, as 0.4")
        for name, low in (
            ("noise_hold", 1),
            ("frame_every", 1),
            ("hold_steps", 0),
            ("front", 8),
            ("wrist", 8),
            ("workers", 1),
        ):
            _require(getattr(self, name) >= low, name, getattr(self, name), f"{low} or more")

    @property
    def rules(self) -> DemonstrationRules:
        """The part of the configuration that decides what a demonstration holds."""
        return DemonstrationRules(
            self.seed,
            self.split,
            self.noise_fraction,
            self.noise_std,
            self.noise_hold,
            self.frame_every,
            self.hold_steps,
        )


def record(config: RecordConfig, progress: ProgressFn = quiet) -> Outcome:
    """Record until each task has its number of successful demonstrations.

    What is stored depends on tasks, episodes and the rules alone: not on the number of workers, nor on interruptions.
    Running it again continues; a larger `episodes` or more tasks extend the store.

    Args:
        config: What to record.
        progress: Told of each stored demonstration.

    Raises:
        UnknownTask: A task name is unknown; near matches are listed.
        StoreError, ContractMismatch: `out` holds something else, or a store recorded by other rules.
        RecordError: The expert fails too often to ever finish, or the folder's ledger is damaged.
    """
    recording = _Recording(config, progress)
    recording.run()
    return recording.outcome()


class _Recording:
    def __init__(self, config: RecordConfig, progress: ProgressFn) -> None:
        from foreact.episodes.store import EpisodeStore
        from foreact.sim.metaworld import default_cameras, policy_contract

        tasks = tuple(definition(name).name for name in resolve(config.tasks))
        contract = policy_contract(default_cameras(config.front, config.wrist))
        rules: dict[str, JSON] = {**asdict(config.rules), "segmentation": config.segmentation}
        self.store = EpisodeStore.create(config.out, contract, attributes={"recorded": rules})
        (config.out / "run.json").unlink(missing_ok=True)  # describes the latest run; the rules are in the store
        RunFolder.create(config.out, "record", config, config.seed)
        self.config = config
        self.ledgers = {task: AttemptLedger(self.store, task, config.episodes) for task in tasks}
        self.cpu_s = {"simulation": 0.0, "rendering": 0.0, "writing": 0.0, "setup": 0.0}
        self.frames = 0
        self._progress = progress
        self._start = time.monotonic()

    def run(self) -> None:
        self._report()
        if all(ledger.stored >= ledger.wanted for ledger in self.ledgers.values()):
            return
        workers = self.config.workers
        # one job waits for each that runs, so that no worker is idle while we enter results
        most = 2 * workers if workers > 1 else 1
        with worker_processes(workers) as pool:
            running: set[Future[JobResult]] = set()
            while True:
                while len(running) < most and (job := self._next_job()):
                    running.add(pool.submit(run_job, job))
                if not running:
                    break
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    self._enter(future.result())

    def _next_job(self) -> Job | None:
        for task, ledger in self.ledgers.items():
            indices = ledger.take(JOB_ATTEMPTS)
            if indices:
                config = self.config
                return Job(config.out, task, indices, config.rules, config.segmentation, config.device)
        return None

    def _enter(self, result: JobResult) -> None:
        self.ledgers[result.task].close(result.attempts)
        self.frames += result.frames
        for phase, seconds in result.cpu_s.items():
            self.cpu_s[phase] += seconds
        self._report()

    def _report(self) -> None:
        wanted = self.config.episodes * len(self.ledgers)
        stored = sum(min(ledger.stored, ledger.wanted) for ledger in self.ledgers.values())
        self._progress(stored, wanted, "record demonstrations")

    def outcome(self) -> Outcome:
        for ledger in self.ledgers.values():
            ledger.save()  # a run that was killed may have stored episodes that its ledger did not enter
        rendering = self.cpu_s["rendering"]
        figures: dict[str, JSON] = {
            "episodes": sum(ledger.stored for ledger in self.ledgers.values()),
            "steps": sum(a.steps for ledger in self.ledgers.values() for a in ledger.attempts if a.success),
            "frames_drawn": self.frames,
            "frames_per_cpu_s": round(self.frames / rendering, 1) if rendering else None,
            "wall_s": round(time.monotonic() - self._start, 2),
            **{f"{phase}_cpu_s": round(seconds, 2) for phase, seconds in self.cpu_s.items()},
            "expert_success": {task: _share(ledger) for task, ledger in self.ledgers.items()},
        }
        columns = ("task", "episodes", "attempts", "clean success", "noisy success", "mean steps")
        rows = tuple(_row(task, ledger) for task, ledger in self.ledgers.items())
        return Outcome(self.config.out, figures, columns, rows)


def _row(task: str, ledger: AttemptLedger) -> tuple[str, ...]:
    shares = [_share(ledger, noisy=noisy) for noisy in (False, True)]
    texts = ["-" if share is None else f"{share:.2f}" for share in shares]
    steps = [attempt.steps for attempt in ledger.attempts if attempt.success]
    return (task, str(ledger.stored), str(len(ledger.attempts)), *texts, f"{sum(steps) / len(steps):.0f}")


def _share(ledger: AttemptLedger, noisy: bool | None = None) -> float | None:
    """Share of successes among all attempts, or among the noisy or clean ones."""
    chosen: Sequence[bool] = [a.success for a in ledger.attempts if noisy is None or a.noisy == noisy]
    return round(sum(chosen) / len(chosen), 4) if chosen else None


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise ValueError(f"record: {name}={value} is out of range; give {name}={allowed}")
