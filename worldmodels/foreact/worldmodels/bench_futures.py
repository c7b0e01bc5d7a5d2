"""`foreact bench futures`: world models against true futures, in one run, on sets that anyone can make again.

Sets, models and trials are made by the commands that users type and kept in a working folder, so a stopped benchmark
goes on where it stopped. Nothing is tuned on its seeds: settings were chosen on seed 1000 and above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.ranges import require_at_least
from foreact.episodes.runfolder import describe_machine, jsonable, write_dated_json, write_json_atomic
from foreact.episodes.workers import worker_processes
from foreact.worldmodels.bench_futures_figures import Measured, columns, figures_of, rows_of, scored
from foreact.worldmodels.branch_sets import BranchesConfig, branches, set_path
from foreact.worldmodels.branches import Branches
from foreact.worldmodels.branching import HORIZON
from foreact.worldmodels.checkpoint import load_model
from foreact.worldmodels.model_scores import score_truth
from foreact.worldmodels.models.codes import CodesConfig
from foreact.worldmodels.models.flow import FlowConfig
from foreact.worldmodels.models.mixture import MixtureConfig
from foreact.worldmodels.models.recurrent import RecurrentConfig
from foreact.worldmodels.models.registry import UPDATES
from foreact.worldmodels.models.regression import CopyConfig, DeterministicConfig, LinearConfig
from foreact.worldmodels.models.tdmpc import EmbeddingConfig
from foreact.worldmodels.pixels.model import PixelModel, PixelModelConfig
from foreact.worldmodels.pixels.pictures import PictureSpec
from foreact.worldmodels.pixels.signature import LAST_OF_ROBOT, PixelSignature
from foreact.worldmodels.planner.closed_loop import Arm, ClosedLoopConfig, closed_loop
from foreact.worldmodels.planner.plan import PlannerConfig
from foreact.worldmodels.planner.policies import ClonedConfig
from foreact.worldmodels.planner.proposals import ProposalConfig
from foreact.worldmodels.planner.risk import RiskConfig, risk_choice
from foreact.worldmodels.planner.risk_states import StatesConfig
from foreact.worldmodels.planner.timing import PlanTimingConfig, plan_timing
from foreact.worldmodels.ranking.command import RankingConfig, ranking
from foreact.worldmodels.safety.scene_value import SceneValueConfig, train_scene_value
from foreact.worldmodels.scenes import scene, scene_names
from foreact.worldmodels.throughput import one_thread, rollouts_per_cpu_second
from foreact.worldmodels.train import AnyModelConfig, WorldModelConfig, train_worldmodel
from foreact.worldmodels.trainer import OptimisationConfig

__all__ = ["MODELS", "FuturesBenchConfig", "bench_futures", "untrained_pixels"]

MODELS: Mapping[str, AnyModelConfig] = {
    "codes": CodesConfig(),
    "deterministic": DeterministicConfig(),
    "copy-last": CopyConfig(),
    "linear": LinearConfig(),
    "mdn": MixtureConfig(),
    "flow": FlowConfig(),
    "rssm": RecurrentConfig(),
    "tdmpc2": EmbeddingConfig(),
}
CODES, ONE = "codes", "deterministic"

Trial = tuple[str, Mapping[str, object]]
"""Name and figures."""


@dataclass(frozen=True)
class FuturesBenchConfig:
    """What to measure.

    Attributes:
        target: `futures`.
        work: Folder of sets, models and trials; the same benchmark is continued there.
        out: Folder of the dated results file; None writes none.
        scenes: Which scenes.
        models: Which models beside `codes` and `deterministic`.
        seeds: Training seeds; each trains every model of every scene.
        optimisation: How models are fitted.
        train: States of a training set, 8 futures each.
        calibrate: States of a set to calibrate on, 8 futures each.
        test: States of a test set, 32 futures each.
        seed: Of all sets, of the states that are chosen in and of the starts that are ranked from.
        plans: Timed plans.
        risky: States of the choice by risk; 0 leaves it out.
        planned: Episodes of each arm of the planner in closed loop, in both scenes below and for each training seed; 0
            leaves it out.
        risk_scene: Where something can be collided with.
        ranked: Episodes of each policy that is ranked; 0 leaves it out.
        ranking_scene: Where policies are ranked and a planner helps a policy to push.
        workers: Processes that train, score and try, each with one thread; what is timed is timed alone.
    """

    target: str = "futures"
    work: Path = Path("runs/bench-futures")
    out: Path | None = None
    scenes: tuple[str, ...] = scene_names()
    models: tuple[str, ...] = ("copy-last", "linear", "mdn", "flow", "rssm", "tdmpc2")
    seeds: tuple[int, ...] = (0, 1, 2)
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    train: int = 2000
    calibrate: int = 1000
    test: int = 400
    seed: int = 0
    plans: int = 500
    risky: int = 200
    planned: int = 100
    risk_scene: str = "arm-reach-passer"
    ranked: int = 100
    ranking_scene: str = "arm-push"
    workers: int = 2

    def __post_init__(self) -> None:
        if self.target != "futures":
            raise ValueError(f"target is {self.target!r}, expected futures")
        require_at_least(self, plans=100, risky=0, planned=0, ranked=0, workers=1)
        if not self.scenes or not self.seeds:
            raise ValueError("bench futures: scenes= and seeds= must name one or more")
        for name in self.scenes:
            scene(name)
        if unknown := set(self.models) - set(MODELS):
            raise ValueError(f"models={sorted(unknown)}: choose from {', '.join(MODELS)}")
        for name, wanted in (
            ("risky", self.risk_scene), ("planned", self.risk_scene), ("planned", self.ranking_scene),
            ("ranked", self.ranking_scene),
        ):  # fmt: skip
            if getattr(self, name) and wanted not in self.scenes:
                raise ValueError(f"{wanted} is not among scenes=; add it, choose another, or type {name}=0")

    @property
    def kinds(self) -> tuple[str, ...]:
        """All models, in the order of the table."""
        return tuple(name for name in MODELS if name in {CODES, ONE, *self.models})


def bench_futures(config: FuturesBenchConfig, progress: ProgressFn = quiet) -> Outcome:
    """Make sets, train, score, try, and at last, with nothing beside it, time.

    Args:
        config: What to measure.
        progress: Told of each stage.

    Raises:
        ValueError: Whatever a stage refuses; what was finished is kept.
    """
    sets = config.work / "sets"
    sizes = {"train": config.train, "calibrate": config.calibrate, "test": config.test}
    branches(BranchesConfig(sets, config.scenes, config.seed, threads=config.workers, **sizes), progress)
    with worker_processes(config.workers) as pool:
        _done(pool, "train", [partial(_train, config, *each) for each in _trainings(config, config.scenes)], progress)
        scored = _done(pool, "score", [partial(_scores, config, name) for name in config.scenes], progress)
        trials = _done(pool, "try", list(_trials(config)), progress)
    measured = [each for of_scene in scored for each in of_scene]
    figures = figures_of(measured, _speeds(config, progress), dict(trials), config.scenes)
    content = {**figures, "machine": describe_machine(), "config": jsonable(config)}
    path = config.work / "futures.json"
    write_json_atomic(path, content)
    if config.out is not None:
        path = write_dated_json(config.out, "futures", content)
    return Outcome(path, figures, columns(), rows_of(figures))


def _done[T](pool: Executor, text: str, jobs: Sequence[Callable[[], T]], progress: ProgressFn) -> list[T]:
    """What the jobs give, in order, each done with one thread."""
    futures = [pool.submit(_alone, job) for job in jobs]
    for count, future in enumerate(as_completed(futures), 1):
        future.result()  # a failure is told at once
        progress(count, len(jobs), text)
    return [future.result() for future in futures]


def _alone[T](job: Callable[[], T]) -> T:
    with one_thread():
        return job()


def model_folder(config: FuturesBenchConfig, name: str, kind: str, seed: int) -> Path:
    """Run folder of one training."""
    return config.work / "models" / name / f"{kind}-{seed}"


def _trainings(config: FuturesBenchConfig, scenes: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    for name in scenes:
        for seed in config.seeds:
            for kind in config.kinds:
                yield name, seed, kind


def _train(config: FuturesBenchConfig, name: str, seed: int, kind: str) -> None:
    out = model_folder(config, name, kind, seed)
    if (out / "done").exists():
        return
    data = set_path(config.work / "sets", name, "train")
    updates = round(config.optimisation.updates * UPDATES.get(kind, 1.0))
    optimisation = replace(config.optimisation, updates=updates)
    train_worldmodel(WorldModelConfig(data, out, MODELS[kind], optimisation, seed=seed))
    (out / "done").touch()


def _scores(config: FuturesBenchConfig, name: str) -> list[Measured]:
    """Figures of every model on the test set of a scene, and of the true futures themselves."""
    test = Branches.open(set_path(config.work / "sets", name, "test"))
    before = Branches.open(set_path(config.work / "sets", name, "calibrate"))
    found = [Measured(name, "truth", 0, score_truth(test))]
    for _, seed, kind in _trainings(config, (name,)):
        model = load_model(model_folder(config, name, kind, seed))
        found.append(Measured(name, kind, seed, scored(model, test, before)))
    return found


def _speeds(config: FuturesBenchConfig, progress: ProgressFn) -> dict[str, float]:
    """Roll-outs per CPU-second of every kind in the first scene, of pictures, and the time of a plan [ms]."""
    progress(0, 2, "time models")
    seed, name = config.seeds[0], config.scenes[0]
    speeds: dict[str, float] = {}
    for kind in config.kinds:
        model = load_model(model_folder(config, name, kind, seed))
        speeds[kind] = rollouts_per_cpu_second(model, model.signature).per_cpu_second
    pixels = untrained_pixels(name)
    speeds["pixels"] = rollouts_per_cpu_second(pixels, pixels.context_signature).per_cpu_second
    progress(1, 2, "time plans")
    folder = model_folder(config, name, CODES, seed)
    timing = PlanTimingConfig(worldmodel=folder, out=config.work / "plans", scene=name, plans=config.plans)
    plan = plan_timing(timing).figures["plan"]
    assert isinstance(plan, Mapping)
    progress(2, 2, "time plans")
    return speeds | {f"plan_{key}": float(str(plan[key])) for key in ("p50_ms", "p99_ms")}


def untrained_pixels(name: str) -> PixelModel:
    """A model of pictures of 64 px of a scene; how fast it imagines does not depend on what it has learned.

    Args:
        name: Of the scene.
    """
    place = scene(name)
    robot = place.columns[: place.columns.index(LAST_OF_ROBOT) + 1]
    labels = tuple(range(8))
    signature = PixelSignature(name, PictureSpec(), robot, place.actions, place.rate_hz, HORIZON, labels)
    return PixelModel(PixelModelConfig(), signature).eval()


def _trials(config: FuturesBenchConfig) -> Iterator[Callable[[], Trial]]:
    """Ranking policies; of each training seed the choice by risk and the planner in closed loop."""
    if config.ranked:
        yield partial(_rank, config)
    for seed in config.seeds:
        if config.risky:
            yield partial(_choose, config, seed)
        if config.planned:
            yield partial(_reach, config, seed)
            yield partial(_push, config, seed)


def _rank(config: FuturesBenchConfig) -> Trial:
    name = config.ranking_scene
    models = tuple(model_folder(config, name, CODES, seed) for seed in config.seeds)
    rules = RankingConfig(
        models=models, out=config.work / "ranking", scene=name, episodes=config.ranked, seed=config.seed
    )
    return "ranking", ranking(rules).figures


def _choose(config: FuturesBenchConfig, seed: int) -> Trial:
    name = config.risk_scene
    several, one = (model_folder(config, name, kind, seed) for kind in (CODES, ONE))
    risk = RiskConfig(
        worldmodel=several, one_future=one, out=config.work / f"risk-{seed}", scene=name,
        states=StatesConfig(config.risky), seed=config.seed,
        oracle_futures=8 if seed == config.seeds[0] else 0,  # what the simulator chooses does not depend on training
    )  # fmt: skip
    return f"risk-{seed}", risk_choice(risk).figures


def _reach(config: FuturesBenchConfig, seed: int) -> Trial:
    """Where something can be collided with; policy, world model, episodes and safety value of one seed."""
    name = config.risk_scene
    inside, safety = model_folder(config, name, CODES, seed), config.work / f"safety-{seed}"
    if not safety.exists():
        train_scene_value(SceneValueConfig(inside, set_path(config.work / "sets", name, "train"), safety, seed=seed))
    arms: tuple[Arm, ...] = ("policy", "futures", "guarded", "shuffled", "one-future")
    return _planned(config, name, seed, ClosedLoopConfig(inside, safety=safety, arms=arms))


def _push(config: FuturesBenchConfig, seed: int) -> Trial:
    """Where no plan sees the end: the plan stays near a policy that was stopped early."""
    name = config.ranking_scene
    loop = ClosedLoopConfig(
        model_folder(config, name, CODES, seed), arms=("policy", "futures", "shuffled", "one-future"),
        policy=ClonedConfig(updates=800, demonstrations=512),
        planner=PlannerConfig(closeness=3.0, proposals=ProposalConfig(straight=0)),
    )  # fmt: skip
    return _planned(config, name, seed, loop)


def _planned(config: FuturesBenchConfig, name: str, seed: int, loop: ClosedLoopConfig) -> Trial:
    trial = f"plan-{name}-{seed}"
    one = model_folder(config, name, ONE, seed)
    whole = replace(
        loop, one_future=one, out=config.work / trial, scene=name, episodes=config.planned, seed=seed, seeds=1
    )
    return trial, closed_loop(whole).figures
