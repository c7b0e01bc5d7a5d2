"""Does looking at several futures avoid collisions? One plan at each of many states, in several ways, judged truly.

What a plan is worth is known from futures of the simulator that nobody has chosen by.
Shape letters: S = states, T = control steps, A = action elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.ranges import require_at_least
from foreact.episodes.runfolder import jsonable, write_json_atomic
from foreact.worldmodels.branching import HORIZON
from foreact.worldmodels.futures import FutureModel
from foreact.worldmodels.planner.intervals import Estimate, mean_of, paired, ratio_of
from foreact.worldmodels.planner.measures import Told, told_by
from foreact.worldmodels.planner.objective import ObjectiveConfig
from foreact.worldmodels.planner.oracle import SimulatorOracle
from foreact.worldmodels.planner.plan import Imagine, Planner, PlannerConfig
from foreact.worldmodels.planner.policies import PolicyConfig, ScriptedConfig
from foreact.worldmodels.planner.proposals import propose
from foreact.worldmodels.planner.risk_states import MEASURES, RiskStates, StatesConfig, Worth, judge, risky_states
from foreact.worldmodels.planner.sources import from_model, likeliest, shuffled
from foreact.worldmodels.scenes import Scene, scene

__all__ = ["RiskConfig", "risk_choice"]

COLUMNS = ("selector", "collisions", "95 %", "of one future", "success", "95 %", "more than one future", "progress")
ONE, MEAN, CVAR, DEARER = "one future", "K futures, mean", "K futures, CVaR", "K futures, mean, contacts dearer"
CHOICE_STREAM = 7
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
        states: Where plans are made.
        seed: Of states, samples and draws; the benchmark has 0, settings are tried on 1000 and above.
        told: Whether positions or a model's heads tell rewards, successes and contacts of its futures.
        planner: How to plan, the same for all; its `seed` and the `alpha` of its objective are not used.
        alpha: Share of the worst futures that CVaR looks at.
        policy: Whose samples the candidates start from.
        oracle_futures: That the simulator plans by; 0 leaves it out.
        judges: True futures that every chosen chunk is judged by.
        resamples: For intervals.
    """

    target: str = "risk"
    worldmodel: Path | None = None
    one_future: Path | None = None
    out: Path = Path("runs/risk")
    scene: str = "arm-reach-passer"
    states: StatesConfig = field(default_factory=StatesConfig)
    seed: int = 0
    told: Told = "positions"
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    alpha: float = 0.8
    policy: PolicyConfig = field(default_factory=ScriptedConfig)
    oracle_futures: int = 8
    judges: int = 24
    resamples: int = 2000

    def __post_init__(self) -> None:
        if self.target != "risk":
            raise ValueError(f"target is {self.target!r}, expected risk")
        require_at_least(self, oracle_futures=0, judges=1, resamples=1)
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha is {self.alpha}, expected above 0 and below 1; the mean is compared anyway")


def risk_choice(config: RiskConfig, progress: ProgressFn = quiet) -> Outcome:
    """Plan once at each state in every way, and say what came of it.

    Args:
        config: What to compare.
        progress: Told of each stage.

    Raises:
        UnknownScene: No such scene.
        ValueError: There are too few such states.
        CheckpointError: A model is missing, damaged or of another kind.
        SignatureError: A model was made for another task.
    """
    place = scene(config.scene)
    selectors = _selectors(config, place)
    total = len(selectors) + 2
    progress(0, total, "find states")
    states = risky_states(place, config.states, config.policy, config.planner.proposals.samples, config.seed)
    chosen = _unplanned(config, states)
    for number, (name, own) in enumerate(selectors.items(), 1):
        progress(number, total, f"plan by {name}")
        chosen[name] = _planned(config, states, own)
    progress(total - 1, total, "judge")
    oracle = SimulatorOracle(place, config.judges, HORIZON, config.seed + JUDGE_SEED)
    worth = judge(states, oracle, np.stack(list(chosen.values()), 1))
    progress(total, total, "done")
    return _outcome(config, dict(zip(chosen, worth, strict=True)))


@dataclass(frozen=True)
class _Selector:
    """Futures for a planner, by states and the number of one, and what counts of them."""

    futures: Callable[[RiskStates, int], Imagine]
    objective: ObjectiveConfig


def _selectors(config: RiskConfig, place: Scene) -> dict[str, _Selector]:
    from foreact.worldmodels.checkpoint import load_model

    mean, cautious = (replace(config.planner.objective, alpha=alpha) for alpha in (1.0, config.alpha))
    found = {}
    if config.oracle_futures:
        oracle = SimulatorOracle(place, config.oracle_futures, HORIZON, config.seed)
        true = _told(config.told, place, lambda states, state: oracle.at(states.worlds, state))
        found["oracle mean"] = _Selector(true, mean)
    if config.worldmodel is None:
        return found
    model = load_model(config.worldmodel)
    single = None if config.one_future is None else load_model(config.one_future)
    one, several = _one_future(model, single), _of(model)
    # where a collision is rarer than alpha, CVaR weighs it 1 / alpha times as much as the mean
    dearer = replace(mean, collision=mean.collision / config.alpha)
    found |= {
        ONE: _Selector(_told(config.told, place, one), mean),
        MEAN: _Selector(_told(config.told, place, several), mean),
        CVAR: _Selector(_told(config.told, place, several), cautious),
        DEARER: _Selector(_told(config.told, place, several), dearer),
        "K futures of other chunks": _Selector(_told(config.told, place, _of_others(several, config.seed)), cautious),
    }
    if config.told == "positions":
        found |= {
            f"{name}, by heads": _Selector(which, objective)
            for name, which, objective in ((ONE, one, mean), (CVAR, several, cautious))
        }
    return found


def _of(model: FutureModel) -> Callable[[RiskStates, int], Imagine]:
    return lambda states, state: from_model(model, states.observed[state])


def _one_future(model: FutureModel, single: FutureModel | None) -> Callable[[RiskStates, int], Imagine]:
    if single is not None:
        return _of(single)
    return lambda states, state: likeliest(from_model(model, states.observed[state]))


def _of_others(own: Callable[[RiskStates, int], Imagine], seed: int) -> Callable[[RiskStates, int], Imagine]:
    """The control: every candidate gets another one's futures."""
    return lambda states, state: shuffled(own(states, state), seed + state)


def _told(told: Told, place: Scene, own: Callable[[RiskStates, int], Imagine]) -> Callable[[RiskStates, int], Imagine]:
    def futures(states: RiskStates, state: int) -> Imagine:
        imagine = own(states, state)
        return lambda chunks: told_by(told, place, imagine(chunks))

    return futures


def _planned(config: RiskConfig, states: RiskStates, own: _Selector) -> np.ndarray:
    """The chunk planned at each state, (S, T, A)."""
    settings = replace(config.planner, objective=own.objective, seed=config.seed)
    planner = Planner(settings, states.worlds.low, states.worlds.high)
    return np.stack([
        planner.plan(own.futures(states, state), samples, number=state).chunk
        for state, samples in enumerate(states.samples)
    ])  # fmt: skip


def _unplanned(config: RiskConfig, states: RiskStates) -> dict[str, np.ndarray]:
    """Chunks that need no futures, (S, T, A): any candidate, and the policy's answer."""
    worlds = states.worlds
    random = np.random.default_rng([CHOICE_STREAM, config.seed])
    anything = [
        random.choice(propose(samples, config.planner.proposals, worlds.low, worlds.high, random))
        for samples in states.samples
    ]
    return {"random": np.stack(anything), "policy": states.samples[:, 0]}


def _outcome(config: RiskConfig, worth: Mapping[str, Worth]) -> Outcome:
    from foreact.worldmodels.planner.charts import draw_rates

    rates = {
        measure: {name: mean_of(getattr(each, measure), config.resamples) for name, each in worth.items()}
        for measure in MEASURES
    }
    against = _comparisons(config, worth)
    plain = jsonable({**rates, **against})
    assert isinstance(plain, dict)
    write_json_atomic(config.out / "risk.json", {"config": config, **plain})
    shown = {"collisions": rates["collision"], "success": rates["success"], "progress": rates["progress"]}
    draw_rates(config.out / "risk.png", shown, f"{config.scene}: {config.states.count} states, seed {config.seed}")
    return Outcome(config.out, plain, COLUMNS, tuple(_row(name, rates, against) for name in worth))


def _comparisons(config: RiskConfig, worth: Mapping[str, Worth]) -> dict[str, dict[str, Estimate]]:
    """Against the selector with one future, and of CVaR against both means, paired by state."""
    if ONE not in worth:
        return {}
    others = {name: each for name, each in worth.items() if name != ONE}
    means = {name: worth[name] for name in (MEAN, DEARER)}
    against = {}
    if worth[ONE].collision.mean() > 0:
        against["collision_ratio"] = {
            name: ratio_of(each.collision, worth[ONE].collision, config.resamples) for name, each in others.items()
        }
    for measure in MEASURES:
        against[f"{measure}_against_one_future"] = _less(config, measure, others, worth[ONE])
        cautious = getattr(worth[CVAR], measure)
        against[f"{measure}_of_cvar_less"] = {
            name: paired(cautious, getattr(each, measure), config.resamples) for name, each in means.items()
        }
    return against


def _less(config: RiskConfig, measure: str, many: Mapping[str, Worth], one: Worth) -> dict[str, Estimate]:
    return {
        name: paired(getattr(each, measure), getattr(one, measure), config.resamples) for name, each in many.items()
    }


def _row(
    name: str, rates: Mapping[str, Mapping[str, Estimate]], against: Mapping[str, Mapping[str, Estimate]]
) -> tuple[str, ...]:
    collision, success, made = (rates[measure][name] for measure in MEASURES)
    ratio, more = (against.get(key, {}).get(name) for key in ("collision_ratio", "success_against_one_future"))
    return (
        name,
        f"{collision.value:.3f}",
        f"{collision.low:.3f} to {collision.high:.3f}",
        "" if ratio is None else f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
        f"{success.value:.3f}",
        f"{success.low:.3f} to {success.high:.3f}",
        "" if more is None else f"{more.value:+.3f} ({more.low:+.3f} to {more.high:+.3f})",
        f"{made.value:.3f}",
    )
