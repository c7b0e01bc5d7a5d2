"""What a plan costs on one core, and how well a deadline is kept.

Shape letters: P = plans, S = states, n = samples, T = control steps, A = action elements, O = observed elements.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import describe_machine, jsonable, write_json_atomic
from foreact.sim.seeds import layout_seed
from foreact.sim.taskworlds import TaskWorlds
from foreact.worldmodels.futures import FutureModel
from foreact.worldmodels.planner.plan import Plan, Planner, PlannerConfig
from foreact.worldmodels.planner.proposals import coloured_noise
from foreact.worldmodels.planner.sources import from_model
from foreact.worldmodels.scenes import scene
from foreact.worldmodels.throughput import one_thread

__all__ = ["PlanTimes", "PlanTimingConfig", "plan_timing", "time_plans"]

COLUMNS = ("plans", "candidates x futures", "p50 [ms]", "p99 [ms]", "CPU [ms]", "late p99 [ms]", "longest slice [ms]")
STATES = 64
WARM_UP = 20  # plans that are not counted


@dataclass(frozen=True)
class PlanTimingConfig:
    """What to time.

    Attributes:
        target: "plan".
        worldmodel: Folder of a trained one.
        out: Folder of the figures.
        scene: That the model was made for.
        plans: P, with a deadline and without.
        planner: How to plan.
        deadline_ms: Of the plans that have one.
        seed: Of states and samples.
    """

    target: str = "plan"
    worldmodel: Path = Path("runs/worldmodel")
    out: Path = Path("runs/plan-timing")
    scene: str = "arm-reach-passer"
    plans: int = 500
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    deadline_ms: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.target != "plan":
            raise ValueError(f"target is {self.target!r}, expected plan")
        if self.plans < 100:
            raise ValueError(f"plans is {self.plans}, expected 100 or more: 99 % of fewer says nothing")


@dataclass(frozen=True)
class PlanTimes:
    """Times of plans, one thread.

    Attributes:
        took_ms: Wall time of each, (P,).
        cpu_ms: CPU time of a plan, mean.
        late_ms: After the deadline, (P,); 0 without one.
        slice_ms: Longest slice of each, (P,).
        scored: Candidates scored by each, (P,).
    """

    took_ms: np.ndarray
    cpu_ms: float
    late_ms: np.ndarray
    slice_ms: np.ndarray
    scored: np.ndarray


def plan_timing(config: PlanTimingConfig, progress: ProgressFn = quiet) -> Outcome:
    """Time plans from the first states of a scene, without a deadline and with one.

    Args:
        config: What to time.
        progress: Told of each of the two.

    Raises:
        UnknownScene: No such scene.
        CheckpointError: The model is missing, damaged or of another kind.
    """
    from foreact.worldmodels.checkpoint import load_model

    model = load_model(config.worldmodel)
    progress(0, 2, "time plans")
    free = time_plans(model, config, None)
    progress(1, 2, "time plans with a deadline")
    bound = time_plans(model, config, config.deadline_ms)
    progress(2, 2, "done")
    figures = {"plan": _figures(free), "plan_with_deadline": {"deadline_ms": config.deadline_ms, **_figures(bound)}}
    plain = jsonable(figures)
    assert isinstance(plain, dict)
    write_json_atomic(config.out / "plan_timing.json", {"config": config, "machine": describe_machine(), **plain})
    name = f"{config.planner.candidates} x {model.futures}"
    rows = (_row(free, name), _row(bound, f"{name}, {config.deadline_ms:g} ms"))
    return Outcome(config.out, plain, COLUMNS, rows)


def time_plans(model: FutureModel, config: PlanTimingConfig, deadline_ms: float | None) -> PlanTimes:
    """Time plans one after the other on one thread.

    Args:
        model: Whose futures.
        config: What to time.
        deadline_ms: Of each plan; none lets it take its time.
    """
    worlds = TaskWorlds(scene(config.scene).task, STATES, autoreset=False, threads=1)
    seen = np.array(worlds.reset(seeds=[layout_seed("eval", config.seed, index) for index in range(STATES)]))
    planner = Planner(replace(config.planner, deadline_ms=deadline_ms), worlds.low, worlds.high)
    random = np.random.default_rng(config.seed)
    shape = (config.planner.proposals.samples, model.horizon, len(worlds.low))
    made: list[Plan] = []
    started = time.process_time()
    with one_thread():
        for number in range(WARM_UP + config.plans):
            if number == WARM_UP:
                started = time.process_time()
            samples = coloured_noise(shape, 0.5, 0.9, random)
            last = made[-1].chunk if made else None
            made.append(planner.plan(from_model(model, seen[number % STATES]), samples, last, number))
        spent = time.process_time() - started
    names = ("took_ms", "late_ms", "slice_ms", "scored")
    found = {name: np.array([getattr(plan, name) for plan in made[-config.plans :]]) for name in names}
    return PlanTimes(cpu_ms=1e3 * spent / config.plans, **found)


def _figures(times: PlanTimes) -> dict[str, float]:
    half, most = np.quantile(times.took_ms, (0.5, 0.99))
    return {
        "p50_ms": float(half),
        "p99_ms": float(most),
        "cpu_ms": times.cpu_ms,
        "late_share": float((times.late_ms > 0).mean()),
        "late_p99_ms": float(np.quantile(times.late_ms, 0.99)),
        "late_most_ms": float(times.late_ms.max()),
        "late_by_more_than_a_slice": int((times.late_ms > times.slice_ms).sum()),
        "slice_most_ms": float(times.slice_ms.max()),
        "scored_mean": float(times.scored.mean()),
    }


def _row(times: PlanTimes, name: str) -> tuple[str, ...]:
    half, most = np.quantile(times.took_ms, (0.5, 0.99))
    late = np.quantile(times.late_ms, 0.99)
    numbers = (half, most, times.cpu_ms, late, times.slice_ms.max())
    return (str(len(times.took_ms)), name, *(f"{each:.2f}" for each in numbers))
