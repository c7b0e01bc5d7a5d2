"""Does looking at several futures avoid collisions? Candidates of many states, chosen in several ways, judged truly.

What a candidate is worth is known from futures of the simulator that no selector has seen.
Shape letters: S = states, N = candidates of each, M = judging futures of each, K = imagined futures, T = control steps,
A = action elements, O = observed elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import jsonable, write_json_atomic
from foreact.sim.taskworlds import TaskWorlds
from foreact.worldmodels.branching import HORIZON, make_branches
from foreact.worldmodels.futures import FutureModel, Futures
from foreact.worldmodels.planner.intervals import Estimate, mean_of, paired, ratio_of
from foreact.worldmodels.planner.measures import Told, check_told, told_by
from foreact.worldmodels.planner.objective import Objective, ObjectiveConfig
from foreact.worldmodels.planner.oracle import SimulatorOracle
from foreact.worldmodels.planner.policies import PolicyConfig, ScriptedConfig, Situation
from foreact.worldmodels.planner.proposals import ProposalConfig, propose
from foreact.worldmodels.planner.sources import likeliest
from foreact.worldmodels.scenes import Scene, scene

__all__ = ["RiskConfig", "RiskStates", "Worth", "judge", "risk_choice", "risky_states"]

COLUMNS = ("selector", "collisions", "95 %", "of one future", "avoidable", "of one future", "success", "95 %",
           "progress")  # fmt: skip
MEASURES = ("collision", "avoidable", "success", "progress")
ROWS = 1024  # chunks that a model imagines at once
POLICY_STREAM, PROPOSAL_STREAM, CHOICE_STREAM = 5, 6, 7
JUDGE_SEED = 1 << 20  # keeps the judging futures apart from those that the oracle chooses by


@dataclass(frozen=True)
class RiskConfig:
    """What to compare.

    Attributes:
        target: "risk".
        worldmodel: Folder of a model with several futures; none leaves the simulator's own only.
        one_future: Folder of a deterministic one; none takes the likeliest future of `worldmodel`.
        out: Folder of the figures and the plot.
        scene: One with something to collide with, or any other.
        states: S; those of the benchmark have seed 0, settings are tried on seed 1000 and above.
        left: Least and most that is left to do at a state [m].
        seed: Of states, candidates and draws.
        told: Whether positions or a model's heads tell rewards, successes and contacts of its futures.
        alpha: Share of the worst futures that the cautious selectors look at.
        objective: What counts; its own `alpha` is not used.
        proposals: Candidates.
        policy: Where they start from.
        oracle_futures: That the simulator chooses by.
        judges: M.
        resamples: For intervals.
    """

    target: str = "risk"
    worldmodel: Path | None = None
    one_future: Path | None = None
    out: Path = Path("runs/risk")
    scene: str = "arm-reach-passer"
    states: int = 200
    left: tuple[float, float] = (0.05, 0.25)
    seed: int = 0
    told: Told = "positions"
    alpha: float = 0.5
    objective: ObjectiveConfig = field(default_factory=lambda: ObjectiveConfig(final=1.0, collision=4.0))
    proposals: ProposalConfig = field(default_factory=lambda: ProposalConfig(samples=6, shaken=12, straight=6, last=0))
    policy: PolicyConfig = field(default_factory=ScriptedConfig)
    oracle_futures: int = 16
    judges: int = 16
    resamples: int = 2000

    def __post_init__(self) -> None:
        if self.target != "risk":
            raise ValueError(f"target is {self.target!r}, expected risk")
        for name in ("states", "oracle_futures", "judges", "resamples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha is {self.alpha}, expected above 0 and below 1; the mean is compared anyway")
        if not 0 <= self.left[0] < self.left[1]:
            raise ValueError(f"left is {self.left}, expected a least and a most that is more [m]")


@dataclass(frozen=True)
class RiskStates:
    """States with their candidates.

    Attributes:
        worlds: At the states, N live worlds in all.
        observed: What is seen there, (S, O).
        chunks: Candidates, (S, N, T, A).
    """

    worlds: TaskWorlds
    observed: np.ndarray
    chunks: np.ndarray


@dataclass(frozen=True)
class Worth:
    """What candidates are truly worth, each (S, N), or those that were chosen, each (S,).

    Attributes:
        collision: Share of the futures with a collision.
        avoidable: That less the smallest share of any candidate of the state.
        success: Share of the futures that are solved within the chunk and collide nowhere.
        progress: Part of the way to the goal that is made, 0 for a future with a collision; mean.
    """

    collision: np.ndarray
    avoidable: np.ndarray
    success: np.ndarray
    progress: np.ndarray

    def of(self, chosen: np.ndarray) -> Worth:
        """That of the chosen candidate of each state, int (S,)."""
        rows = np.arange(len(chosen))
        return Worth(*(getattr(self, measure)[rows, chosen] for measure in MEASURES))


def risk_choice(config: RiskConfig, progress: ProgressFn = quiet) -> Outcome:
    """Choose among the candidates of each state in every way, and say what came of it.

    Args:
        config: What to compare.
        progress: Told of each stage.

    Raises:
        UnknownScene: No such scene.
        ValueError: There are too few such states, or `told=positions` where they do not tell how it goes.
        CheckpointError: A model is missing, damaged or of another kind.
        SignatureError: A model was made for another task.
    """
    place = scene(config.scene)
    if config.worldmodel is not None:
        check_told(config.told, place)
    progress(0, 4, "find states")
    states = risky_states(config, place)
    progress(1, 4, "judge candidates")
    steps = states.chunks.shape[2]
    worth = judge(place, SimulatorOracle(place, config.judges, steps, config.seed + JUDGE_SEED), states)
    progress(2, 4, "choose by the simulator")
    scores = _simulator_scores(config, place, states)
    progress(3, 4, "choose by the models")
    scores |= _model_scores(config, place, states)
    chosen = {name: each.argmax(1) for name, each in scores.items()}
    progress(4, 4, "done")
    return _outcome(config, worth, chosen)


def risky_states(config: RiskConfig, place: Scene) -> RiskStates:
    """States of the benchmark's episodes with something left to do and nothing touched, and their candidates.

    Raises:
        ValueError: There are too few such states.
    """
    kept: list[TaskWorlds] = []
    wanted, at_once = config.states, 6 * config.states

    def watch(step: int, worlds: TaskWorlds, states: np.ndarray) -> None:
        if step == 0:
            seen = np.asarray(worlds.restore(worlds.snapshot()))
            least, most = config.left
            cost = place.cost(seen)
            fit = (cost > least) & (cost < most) & ~place.touching(worlds)
            if fit.sum() < wanted:
                raise ValueError(f"{fit.sum()} of {at_once} states have left={config.left} m to go; widen it")
            first = np.flatnonzero(fit)[np.argsort(states[fit], kind="stable")][:wanted]
            kept.append(worlds.fork(np.sort(first), 1))

    make_branches(place, "test", at_once, 1, config.seed, horizon=1, worlds=at_once, watch=watch)
    worlds = kept[0]
    observed = np.array(worlds.restore(worlds.snapshot()))
    return RiskStates(worlds, observed, _candidates(config, place, worlds, observed))


def judge(place: Scene, oracle: SimulatorOracle, states: RiskStates) -> Worth:
    """What every candidate is worth in the simulator's futures."""
    shape = states.chunks.shape[:2]
    before = torch.from_numpy(np.repeat(place.cost(states.observed), shape[1]))[:, None]
    futures = oracle.imagine(states.worlds, np.arange(len(states.worlds)), states.chunks)
    collided = futures.contact.amax(-1)
    solved = futures.success.amax(-1) * (1 - collided)
    made = (1 - place.cost(futures.values[:, :, -1]) / before) * (1 - collided)
    collision, success, progress = (each.mean(-1).numpy().reshape(shape) for each in (collided, solved, made))
    return Worth(collision, collision - collision.min(1, keepdims=True), success, progress)


def _candidates(config: RiskConfig, place: Scene, worlds: TaskWorlds, observed: np.ndarray) -> np.ndarray:
    policy = config.policy.build(place, HORIZON, config.seed)
    every = np.arange(len(worlds))
    seeds = np.array([[POLICY_STREAM, config.seed, state] for state in every])
    samples = policy.sample(Situation(worlds, every, observed, seeds), config.proposals.samples)
    return np.stack([
        propose(own, config.proposals, worlds.low, worlds.high,
                np.random.default_rng([PROPOSAL_STREAM, config.seed, state]))
        for state, own in enumerate(samples)
    ])  # fmt: skip


def _simulator_scores(config: RiskConfig, place: Scene, states: RiskStates) -> dict[str, np.ndarray]:
    """Scores (S, N) of selectors that need no model; the policy's own answer is candidate 0."""
    shape = states.chunks.shape[:2]
    oracle = SimulatorOracle(place, config.oracle_futures, states.chunks.shape[2], config.seed)
    futures = oracle.imagine(states.worlds, np.arange(shape[0]), states.chunks)
    plain = np.zeros(shape)
    plain[:, 0] = 1
    return {
        "random": np.random.default_rng([CHOICE_STREAM, config.seed]).random(shape),
        "policy": plain,
        "oracle mean": _scored(config, futures, 1.0, shape),
        "oracle CVaR": _scored(config, futures, config.alpha, shape),
    }


def _model_scores(config: RiskConfig, place: Scene, states: RiskStates) -> dict[str, np.ndarray]:
    from foreact.worldmodels.checkpoint import load_model

    if config.worldmodel is None:
        return {}
    shape = states.chunks.shape[:2]
    model = load_model(config.worldmodel)
    futures = _imagined(model, states)
    if config.one_future is None:
        single = likeliest(lambda _: futures)(torch.empty(0))
    else:
        single = _imagined(load_model(config.one_future), states)
    mixed = _imagined(model, _mixed(states, config.seed))
    rows = {
        "one future": (single, 1.0),
        "K futures, mean": (futures, 1.0),
        "K futures, CVaR": (futures, config.alpha),
        "K futures of other chunks": (mixed, 1.0),
    }
    scores = {
        name: _scored(config, told_by(config.told, place, each), alpha, shape) for name, (each, alpha) in rows.items()
    }
    if config.told == "heads":
        return scores
    heads = {"one future, by heads": (single, 1.0), "K futures, mean, by heads": (futures, 1.0)}
    return scores | {name: _scored(config, each, alpha, shape) for name, (each, alpha) in heads.items()}


def _mixed(states: RiskStates, seed: int) -> RiskStates:
    """The control: every candidate is imagined with another one's actions."""
    count = states.chunks.shape[1]
    order = np.random.default_rng([CHOICE_STREAM, seed, 1]).permutation(count)
    givers = np.empty(count, np.int64)
    givers[order] = np.roll(order, 1)
    return replace(states, chunks=states.chunks[:, givers])


def _imagined(model: FutureModel, states: RiskStates) -> Futures:
    """Futures of all candidates, B = S * N."""
    count = states.chunks.shape[1]
    context = torch.from_numpy(np.repeat(states.observed, count, axis=0))
    actions = torch.from_numpy(states.chunks.reshape(-1, *states.chunks.shape[2:]))
    with torch.no_grad():
        parts = [model.imagine(context[i : i + ROWS], actions[i : i + ROWS]) for i in range(0, len(context), ROWS)]
    return Futures(*(torch.cat([getattr(part, name) for part in parts]) for name in Futures.__dataclass_fields__))


def _scored(config: RiskConfig, futures: Futures, alpha: float, shape: tuple[int, int]) -> np.ndarray:
    scores: Tensor = Objective(replace(config.objective, alpha=alpha))(futures)
    return scores.numpy().reshape(shape)


def _outcome(config: RiskConfig, worth: Worth, chosen: Mapping[str, np.ndarray]) -> Outcome:
    from foreact.worldmodels.planner.charts import draw_rates

    own = {name: worth.of(each) for name, each in chosen.items()}
    rates = {
        measure: {name: mean_of(getattr(each, measure), config.resamples) for name, each in own.items()}
        for measure in MEASURES
    }
    against = _comparisons(config, own)
    plain = jsonable({**rates, **against})
    assert isinstance(plain, dict)
    write_json_atomic(config.out / "risk.json", {"config": config, **plain})
    shown = {"collisions": rates["collision"], "success": rates["success"], "progress": rates["progress"]}
    draw_rates(config.out / "risk.png", shown, f"{config.scene}: {config.states} states, seed {config.seed}")
    rows = tuple(_row(name, rates, against) for name in own)
    return Outcome(config.out, plain, COLUMNS, rows)


def _comparisons(config: RiskConfig, own: Mapping[str, Worth]) -> dict[str, dict[str, Estimate]]:
    """Against the selector with one future, and of CVaR against the mean, paired by state."""
    against = {}
    if single := own.get("one future"):
        others = {name: each for name, each in own.items() if name != "one future"}
        for measure in ("collision", "avoidable"):
            if getattr(single, measure).mean() > 0:
                against[f"{measure}_ratio"] = {
                    name: ratio_of(getattr(each, measure), getattr(single, measure), config.resamples)
                    for name, each in others.items()
                }
        for measure in MEASURES:
            against[f"{measure}_against_one_future"] = {
                name: paired(getattr(each, measure), getattr(single, measure), config.resamples)
                for name, each in others.items()
            }
    pairs = {"oracle": ("oracle CVaR", "oracle mean"), "model": ("K futures, CVaR", "K futures, mean")}
    for measure in MEASURES:
        against[f"{measure}_cvar_less_mean"] = {
            who: paired(getattr(own[first], measure), getattr(own[second], measure), config.resamples)
            for who, (first, second) in pairs.items()
            if first in own
        }
    return against


def _row(
    name: str, rates: Mapping[str, Mapping[str, Estimate]], against: Mapping[str, Mapping[str, Estimate]]
) -> tuple[str, ...]:
    def ratio(measure: str) -> str:
        found = against.get(f"{measure}_ratio", {}).get(name)
        return "" if found is None else f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"

    collision, avoidable, success, made = (rates[measure][name] for measure in MEASURES)
    return (
        name,
        f"{collision.value:.3f}",
        f"{collision.low:.3f} to {collision.high:.3f}",
        ratio("collision"),
        f"{avoidable.value:.3f}",
        ratio("avoidable"),
        f"{success.value:.3f}",
        f"{success.low:.3f} to {success.high:.3f}",
        f"{made.value:.3f}",
    )
