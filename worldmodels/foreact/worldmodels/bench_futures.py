"""`foreact bench futures`: world models against true futures, in one run, on sets that anyone can make again.

Sets, models and trials are made by the commands that users type and kept in a working folder, so a stopped benchmark
goes on where it stopped. Nothing is tuned on its seeds: settings were chosen on seed 1000 and above.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.ranges import require_at_least
from foreact.episodes.runfolder import describe_machine, jsonable, write_dated_json, write_json_atomic
from foreact.worldmodels.bench_futures_figures import Measured, columns, figures_of, rows_of, scored
from foreact.worldmodels.branch_sets import BranchesConfig, branches, set_path
from foreact.worldmodels.branches import Branches
from foreact.worldmodels.branching import HORIZON
from foreact.worldmodels.checkpoint import load_model
from foreact.worldmodels.model_scores import energy_floor
from foreact.worldmodels.models.codes import CodesConfig
from foreact.worldmodels.models.flow import FlowConfig
from foreact.worldmodels.models.mixture import MixtureConfig
from foreact.worldmodels.models.recurrent import RecurrentConfig
from foreact.worldmodels.models.regression import CopyConfig, DeterministicConfig, LinearConfig
from foreact.worldmodels.models.tdmpc import EmbeddingConfig
from foreact.worldmodels.pixels.model import PixelModel, PixelModelConfig
from foreact.worldmodels.pixels.pictures import PictureSpec
from foreact.worldmodels.pixels.signature import LAST_OF_ROBOT, PixelSignature
from foreact.worldmodels.planner.risk import RiskConfig, risk_choice
from foreact.worldmodels.planner.timing import PlanTimingConfig, plan_timing
from foreact.worldmodels.ranking.command import RankingConfig, ranking
from foreact.worldmodels.scenes import scene, scene_names
from foreact.worldmodels.throughput import rollouts_per_cpu_second
from foreact.worldmodels.train import AnyModelConfig, WorldModelConfig, train_worldmodel
from foreact.worldmodels.trainer import OptimisationConfig

__all__ = ["MODELS", "FuturesBenchConfig", "bench_futures"]

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
        risk_scene: Where something can be collided with.
        ranked: Episodes of each policy that is ranked; 0 leaves it out.
        ranking_scene: Where policies are ranked.
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
    risk_scene: str = "arm-reach-passer"
    ranked: int = 100
    ranking_scene: str = "arm-push"

    def __post_init__(self) -> None:
        if self.target != "futures":
            raise ValueError(f"target is {self.target!r}, expected futures")
        require_at_least(self, plans=100, risky=0, ranked=0)
        if not self.scenes or not self.seeds:
            raise ValueError("bench futures: scenes= and seeds= must name one or more")
        for name in self.scenes:
            scene(name)
        if unknown := set(self.models) - set(MODELS):
            raise ValueError(f"models={sorted(unknown)}: choose from {', '.join(MODELS)}")
        for name, wanted in (("risky", self.risk_scene), ("ranked", self.ranking_scene)):
            if getattr(self, name) and wanted not in self.scenes:
                raise ValueError(f"{wanted} is not among scenes=; add it, choose another, or type {name}=0")

    @property
    def kinds(self) -> tuple[str, ...]:
        """All models, in the order of the table."""
        return tuple(name for name in MODELS if name in {CODES, ONE, *self.models})


def bench_futures(config: FuturesBenchConfig, progress: ProgressFn = quiet) -> Outcome:
    """Make sets, train, score, time and try.

    Args:
        config: What to measure.
        progress: Told of each stage.

    Raises:
        ValueError: Whatever a stage refuses; what was finished is kept.
    """
    sets = config.work / "sets"
    sizes = {"train": config.train, "calibrate": config.calibrate, "test": config.test}
    branches(BranchesConfig(sets, config.scenes, config.seed, **sizes), progress)
    for name, seed, kind in _trainings(config, config.scenes):
        _train(config, name, seed, kind, progress)
    measured = _scores(config, progress)
    figures = figures_of(measured, _speeds(config, progress), _trials(config, progress), config.scenes)
    content = {**figures, "machine": describe_machine(), "config": jsonable(config)}
    path = config.work / "futures.json"
    write_json_atomic(path, content)
    if config.out is not None:
        path = write_dated_json(config.out, "futures", content)
    return Outcome(path, figures, columns(), rows_of(figures))


def model_folder(config: FuturesBenchConfig, name: str, kind: str, seed: int) -> Path:
    """Run folder of one training."""
    return config.work / "models" / name / f"{kind}-{seed}"


def _trainings(config: FuturesBenchConfig, scenes: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    for name in scenes:
        for seed in config.seeds:
            for kind in config.kinds:
                yield name, seed, kind


def _train(config: FuturesBenchConfig, name: str, seed: int, kind: str, progress: ProgressFn) -> None:
    out = model_folder(config, name, kind, seed)
    if (out / "done").exists():
        return
    data = set_path(config.work / "sets", name, "train")
    told = f"{name} {kind} seed {seed}"
    train_worldmodel(
        WorldModelConfig(data, out, MODELS[kind], config.optimisation, seed=seed),
        lambda done, total, text: progress(done, total, f"{told}: {text}"),
    )
    (out / "done").touch()


def _scores(config: FuturesBenchConfig, progress: ProgressFn) -> list[Measured]:
    """Figures of every model on the test set of its scene, and of the true futures themselves."""
    found: list[Measured] = []
    for name in config.scenes:
        test = Branches.open(set_path(config.work / "sets", name, "test"))
        before = Branches.open(set_path(config.work / "sets", name, "calibrate"))
        found.append(Measured(name, "truth", 0, {"energy_score": energy_floor(test)}))
        for place, (each, seed, kind) in enumerate(_trainings(config, (name,))):
            progress(place, len(config.seeds) * len(config.kinds), f"score {name}")
            model = load_model(model_folder(config, each, kind, seed))
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
    pixels = _untrained_pixels(name)
    speeds["pixels"] = rollouts_per_cpu_second(pixels, pixels.context_signature).per_cpu_second
    progress(1, 2, "time plans")
    folder = model_folder(config, name, CODES, seed)
    timing = PlanTimingConfig(worldmodel=folder, out=config.work / "plans", scene=name, plans=config.plans)
    plan = plan_timing(timing).figures["plan"]
    assert isinstance(plan, Mapping)
    progress(2, 2, "time plans")
    return speeds | {f"plan_{key}": float(str(plan[key])) for key in ("p50_ms", "p99_ms")}


def _untrained_pixels(name: str) -> PixelModel:
    """A model of pictures of a scene; how fast it imagines does not depend on what it has learned."""
    place = scene(name)
    robot = place.columns[: place.columns.index(LAST_OF_ROBOT) + 1]
    labels = tuple(range(8))
    signature = PixelSignature(name, PictureSpec(), robot, place.actions, place.rate_hz, HORIZON, labels)
    return PixelModel(PixelModelConfig(), signature).eval()


def _trials(config: FuturesBenchConfig, progress: ProgressFn) -> dict[str, Mapping[str, object]]:
    """What came of choosing by risk, one entry per training seed, and of ranking policies."""
    trials: dict[str, Mapping[str, object]] = {}
    if config.risky:
        for seed in config.seeds:
            folders = (model_folder(config, config.risk_scene, kind, seed) for kind in (CODES, ONE))
            worldmodel, one_future = folders
            risk = RiskConfig(
                worldmodel=worldmodel, one_future=one_future, out=config.work / f"risk-{seed}",
                scene=config.risk_scene, states=config.risky, seed=config.seed,
            )  # fmt: skip
            trials[f"risk-{seed}"] = risk_choice(risk, progress).figures
    if config.ranked:
        folders = tuple(model_folder(config, config.ranking_scene, CODES, seed) for seed in config.seeds)
        out = config.work / "ranking"
        rules = RankingConfig(
            models=folders, out=out, scene=config.ranking_scene, episodes=config.ranked, seed=config.seed
        )
        trials["ranking"] = ranking(rules, progress).figures
    return trials
