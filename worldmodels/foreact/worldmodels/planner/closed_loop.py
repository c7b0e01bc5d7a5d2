"""`foreact plan`: does a planner help a policy in closed loop, and is it because of its futures?

The same episodes are run by the policy alone, by the policy with a planner, and by controls: futures of other chunks,
one future, the policy's own consensus. Shape letters: E = episodes, S = worlds, n = samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import jsonable, write_json_atomic
from foreact.episodes.statistics import paired_difference, wilson_interval
from foreact.sim.taskworlds import TaskWorlds
from foreact.worldmodels.branches import Branches
from foreact.worldmodels.futures import FutureModel
from foreact.worldmodels.planner.episodes import Choice, Choose, Episodes, Request, live_worlds, run_episodes
from foreact.worldmodels.planner.execution import ExecutionConfig, calibrated_radii
from foreact.worldmodels.planner.intervals import Estimate
from foreact.worldmodels.planner.measures import Told, told_by
from foreact.worldmodels.planner.oracle import SimulatorOracle
from foreact.worldmodels.planner.plan import Imagine, Planner, PlannerConfig
from foreact.worldmodels.planner.policies import ClonedConfig, PolicyConfig, SamplingPolicy, Situation
from foreact.worldmodels.planner.sources import from_model, likeliest, model_of, shuffled
from foreact.worldmodels.safety.scene_value import end_penalty, load_scene_value
from foreact.worldmodels.scenes import Scene, scene

__all__ = ["Arm", "ClosedLoopConfig", "closed_loop"]

Arm = Literal["policy", "consensus", "futures", "guarded", "adaptive", "shuffled", "one-future", "oracle"]
"""Who acts: the policy's first sample; the medoid of its samples; the planner with the model's futures, the same with
the penalty of a safety value, with adaptive execution, with futures of other chunks, with one future; the planner with
the simulator's own futures."""

COLUMNS = ("who", "solved", "95 %", "more than policy", "95 %", "collided", "95 %", "plans")
SAMPLE_STREAM = 3  # keeps the policy's errors apart from all else that is drawn from a seed


@dataclass(frozen=True)
class ClosedLoopConfig:
    """What to compare.

    Attributes:
        worldmodel: Folder of a trained world model; none leaves the simulator's own futures only.
        one_future: Folder of a model with one future; none takes the likeliest of `worldmodel`.
        safety: Folder of a safety value (`foreact train worldmodel=safety`): what `guarded` takes off a score.
        calibrate: Set of true futures that gives the radii of `adaptive`; none takes them from the futures themselves.
        out: Folder of the figures and the plot.
        scene: Task and what is hidden in it.
        arms: Who acts.
        episodes: Of each seed.
        seed: First seed of layouts, hidden numbers and the policy; 1000 and above to try settings.
        seeds: How many seeds, one after the other.
        policy: Who is to be helped.
        planner: How to plan.
        told: Whether positions tell rewards, successes and contacts of futures, or the model's heads (the simulator
            itself, for `oracle`).
        execution: When to plan anew; all arms but `adaptive` run every plan for its `longest` steps.
        oracle_futures: Of the simulator.
    """

    worldmodel: Path | None = None
    one_future: Path | None = None
    safety: Path | None = None
    calibrate: Path | None = None
    out: Path = Path("runs/plan")
    scene: str = "arm-reach-passer"
    arms: tuple[Arm, ...] = ("policy", "consensus", "futures", "adaptive", "shuffled", "one-future")
    episodes: int = 100
    seed: int = 0
    seeds: int = 3
    policy: PolicyConfig = field(default_factory=ClonedConfig)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    told: Told = "positions"
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    oracle_futures: int = 8

    def __post_init__(self) -> None:
        if unknown := set(self.arms) - set(get_args(Arm)):
            raise ValueError(f"arms: {', '.join(sorted(unknown))} unknown; there are {', '.join(get_args(Arm))}")
        if "policy" not in self.arms or len(set(self.arms)) != len(self.arms):
            raise ValueError("arms: `policy` must be among them, and none twice")
        if ("guarded" in self.arms) != (self.safety is not None):
            raise ValueError(
                "arms: `guarded` and safety=FOLDER belong together; `foreact train worldmodel=safety` makes one"
            )
        if needing := self.needing_a_model:
            raise ValueError(
                f"arms {', '.join(needing)} need worldmodel=FOLDER; or give arms=[policy,consensus,oracle]"
            )
        if min(self.episodes, self.seeds, self.oracle_futures) < 1 or self.seed < 0:
            raise ValueError("episodes, seeds and oracle_futures: expected 1 or more of each; seed: 0 or more")

    @property
    def needing_a_model(self) -> tuple[Arm, ...]:
        """Arms that cannot run for want of a model."""
        if self.worldmodel is not None:
            return ()
        return tuple(arm for arm in self.arms if arm not in ("policy", "consensus", "oracle"))


def closed_loop(config: ClosedLoopConfig, progress: ProgressFn = quiet) -> Outcome:
    """Run all arms on the same episodes.

    Args:
        config: What to compare.
        progress: Told of each batch of episodes.

    Raises:
        UnknownScene: No such scene.
        CheckpointError: A model is missing, damaged or of another kind.
        SignatureError: A model was made for another task.
        BranchError, CalibrationError: The set for the radii is missing, damaged or too small.
    """
    stage = _Stage(config)
    found: dict[str, list[Episodes]] = {arm: [] for arm in config.arms}
    total = len(config.arms) * config.seeds
    for done in range(total):
        arm = config.arms[done % len(config.arms)]
        progress(done, total, f"run {arm}")
        found[arm].append(stage.run(arm, config.seed + done // len(config.arms)))
    progress(total, total, "done")
    return _outcome(config, {arm: _joined(parts) for arm, parts in found.items()})


class _Stage:
    """The scene, the policy, and how each arm chooses."""

    def __init__(self, config: ClosedLoopConfig) -> None:
        self.config = config
        self.scene: Scene = scene(config.scene)
        self._model = _loaded(config.worldmodel, config.scene)
        self._single = _loaded(config.one_future, config.scene)
        self._steps = 16 if self._model is None else self._model.horizon
        self._policies: dict[int, SamplingPolicy] = {}
        self._penalty = None if config.safety is None else end_penalty(load_scene_value(config.safety, self.scene))
        self._radii: np.ndarray | None = None
        if config.calibrate is not None and self._model is not None:
            self._radii = _radii(self._model, Branches.open(config.calibrate), config.execution.level)
        self._oracle = SimulatorOracle(self.scene, config.oracle_futures, self._steps)

    def run(self, arm: Arm, seed: int) -> Episodes:
        """The episodes of one seed."""
        worlds = live_worlds(self.scene, self.config.episodes, seed)
        count = self.config.planner.proposals.samples
        execution = dataclasses.replace(self.config.execution, adaptive=arm == "adaptive")

        if seed not in self._policies:
            self._policies[seed] = self.config.policy.build(self.scene, self._steps, seed)
        policy = self._policies[seed]

        def sample(live: TaskWorlds, ids: np.ndarray, observed: np.ndarray, step: int) -> np.ndarray:
            seeds = np.array([[SAMPLE_STREAM, seed, world, step] for world in ids])
            return policy.sample(Situation(live, ids, observed, seeds), count)

        return run_episodes(self.scene, worlds, sample, self._choose(arm, seed, worlds), execution, self._radii)

    def _choose(self, arm: Arm, seed: int, worlds: TaskWorlds) -> Choose:
        if arm == "policy":
            return lambda request: Choice(request.samples[0])
        planner = self._planner(arm, seed, worlds)
        futures = self._futures(arm, seed)

        def choose(request: Request) -> Choice:
            plan = planner.plan(futures(request), request.samples, request.last, request.number)
            return Choice(plan.chunk, plan.futures)

        return choose

    def _planner(self, arm: Arm, seed: int, worlds: TaskWorlds) -> Planner:
        config = dataclasses.replace(self.config.planner, calibrated=arm != "consensus", seed=seed)
        return Planner(config, worlds.low, worlds.high, penalty=self._penalty if arm == "guarded" else None)

    def _futures(self, arm: Arm, seed: int) -> Callable[[Request], Imagine]:
        if self._model is None or arm == "oracle":
            return lambda request: self._told(self._oracle.at(request.worlds, request.world))
        model, single = self._model, self._single
        if arm == "shuffled":
            return lambda request: shuffled(self._imagine(model, request), seed + request.number)
        if arm == "one-future":
            if single is not None:
                return lambda request: self._imagine(single, request)
            return lambda request: likeliest(self._imagine(model, request))
        return lambda request: self._imagine(model, request)

    def _imagine(self, model: FutureModel, request: Request) -> Imagine:
        return self._told(from_model(model, request.observed))

    def _told(self, imagine: Imagine) -> Imagine:
        return lambda chunks: told_by(self.config.told, self.scene, imagine(chunks))


def _loaded(folder: Path | None, name: str) -> FutureModel | None:
    return None if folder is None else model_of(folder, name)


def _radii(model: FutureModel, branches: Branches, level: float) -> np.ndarray:
    """Radii that hold a share of the true futures of states that the model was not trained on, (T,)."""
    with torch.inference_mode():
        futures = model.imagine(torch.from_numpy(branches.context), torch.from_numpy(branches.actions))
    return calibrated_radii(futures.values[..., list(branches.spec.tracked)].numpy(), branches.positions, level)


def _joined(parts: list[Episodes]) -> Episodes:
    names = ("success", "collided", "steps", "plans")
    return Episodes(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class _Figures:
    """Of one arm; a gain is against the policy alone on the same episodes."""

    success: float
    success_95: tuple[float, float]
    gain: float
    gain_95: tuple[float, float]
    collided: float
    collided_95: tuple[float, float]
    plans_per_episode: float
    steps_per_plan: float

    @classmethod
    def of(cls, own: Episodes, policy: Episodes) -> _Figures:
        solved, hit, count = int(own.success.sum()), int(own.collided.sum()), len(own.success)
        more = paired_difference(own.success.tolist(), policy.success.tolist())
        return cls(
            success=solved / count,
            success_95=wilson_interval(solved, count),
            gain=more.difference,
            gain_95=(more.low, more.high),
            collided=hit / count,
            collided_95=wilson_interval(hit, count),
            plans_per_episode=float(own.plans.mean()),
            steps_per_plan=float(own.steps.sum() / own.plans.sum()),
        )

    def row(self, arm: str) -> tuple[str, ...]:
        ends = (self.success_95, self.gain_95, self.collided_95)
        solved, gained, hit = (f"{low:.1%} to {high:.1%}" for low, high in ends)
        plans = f"{self.plans_per_episode:.1f} of {self.steps_per_plan:.1f} steps"
        return (arm, f"{self.success:.1%}", solved, f"{self.gain:+.1%}", gained, f"{self.collided:.1%}", hit, plans)


def _outcome(config: ClosedLoopConfig, found: Mapping[str, Episodes]) -> Outcome:
    from foreact.worldmodels.planner.charts import draw_rates

    figures = {arm: _Figures.of(each, found["policy"]) for arm, each in found.items()}
    plain = jsonable(figures)
    assert isinstance(plain, dict)
    episodes = len(found["policy"].success)
    write_json_atomic(config.out / "plan.json", {"config": config, "episodes": episodes, "arms": plain})
    rates = {arm: Estimate(each.success, *each.success_95) for arm, each in figures.items()}
    hits = {arm: Estimate(each.collided, *each.collided_95) for arm, each in figures.items()}
    title = f"{config.scene}: {episodes} episodes, {config.seeds} seeds"
    draw_rates(config.out / "plan.png", {"solved": rates, "collided": hits}, title)
    rows = tuple(each.row(arm) for arm, each in figures.items())
    return Outcome(config.out, {"episodes": episodes, "arms": plain}, COLUMNS, rows)
