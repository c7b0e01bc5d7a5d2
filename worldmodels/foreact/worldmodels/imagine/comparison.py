"""Imagined futures of states beside the true ones, and how far apart they are.

Of the true futures of a state the first is taken to be what happened; the others show what else could have.
Shape letters: S = states, K = imagined futures, M = true futures, T = control steps, O = observed elements,
A = action elements, D = tracked elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from foreact.sim.tabletop.arm import STEP
from foreact.worldmodels.branches import BranchError, Branches
from foreact.worldmodels.calibration import Calibration
from foreact.worldmodels.futures import FutureModel
from foreact.worldmodels.model_scores import RISK, forecast
from foreact.worldmodels.scenes import Scene
from foreact.worldmodels.scores import cvar, distances, energy_score, intervals

__all__ = ["LEVEL", "Compared", "Imagined", "Scores", "State", "chosen_states", "compare", "percent"]

BATCH = 256  # states imagined together
LEVEL = 0.8  # of the band that is shown
STILL = 0.5  # share of the states, those whose true futures part least, that are not shown unless asked for
SHOWN_PATHS = 4  # imagined futures that a picture must have in view
ARM_ABOVE, PALM = 0.1, 0.09  # how much of the arm above the finger tips, and beside them [m]
SENSE = 0.005  # a way below it is not worth a word [m]


@dataclass(frozen=True)
class Imagined:
    """What a model imagines, those of a state sorted by probability, the most probable first.

    Attributes:
        values: In the units of the observation, (S, K, T, O).
        weights: Probabilities, (S, K).
        success: Probability that the task is solved after each step, (S, K, T).
        contact: Probability of touching what must not be touched, (S, K, T).
    """

    values: np.ndarray
    weights: np.ndarray
    success: np.ndarray
    contact: np.ndarray


@dataclass(frozen=True)
class Scores:
    """How good the imagined futures of each state are, (S,) each; distances are means over steps [m].

    Attributes:
        energy: Energy score against all true futures.
        floor: That of one half of the true futures against the other.
        shuffled: That of futures imagined for another state's chunk.
        nearest: From what happened to the nearest imagined future.
        nearest_weight: Probability of that one.
        likeliest: From what happened to the most probable imagined future.
        inside: Share of all true numbers inside the band.
        risk: Mean cost of the worst imagined futures, as left to do at the end.
        true_risk: That of the true futures.
    """

    energy: np.ndarray
    floor: np.ndarray
    shuffled: np.ndarray
    nearest: np.ndarray
    nearest_weight: np.ndarray
    likeliest: np.ndarray
    inside: np.ndarray
    risk: np.ndarray
    true_risk: np.ndarray


@dataclass(frozen=True)
class State:
    """One state with its futures.

    Attributes:
        number: In its set.
        scene: Where.
        context: What is seen at the start, (O,).
        actions: The commanded chunk, (T, A).
        truth: True futures, what happened first, (M, T, O).
        true_success: (M, T).
        true_contact: (M, T).
        values: Imagined futures, (K, T, O).
        weights: Their probabilities, falling, (K,).
        success: (K, T).
        contact: (K, T).
        band: Lower and upper ends of the band of each tracked element, (2, T, D).
        scores: Of this state alone, by name.
    """

    number: int
    scene: Scene
    context: np.ndarray
    actions: np.ndarray
    truth: np.ndarray
    true_success: np.ndarray
    true_contact: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    success: np.ndarray
    contact: np.ndarray
    band: np.ndarray
    scores: dict[str, float]

    @cached_property
    def apart(self) -> np.ndarray:
        """From what happened to each imagined future at each step [m], (K, T)."""
        return _apart(self._tracked(self.values), self._tracked(self.truth[:1]))

    @cached_property
    def others_apart(self) -> np.ndarray:
        """From what happened to what else could have, at each step [m], (M - 1, T)."""
        return _apart(self._tracked(self.truth[1:]), self._tracked(self.truth[:1]))

    @property
    def nearest(self) -> int:
        """Which imagined future came nearest to what happened."""
        return int(self.apart.mean(1).argmin())

    @property
    def left(self) -> np.ndarray:
        """What each imagined future leaves to do at the end [m], (K,)."""
        return np.asarray(self.scene.cost(self.values[:, -1].astype(np.float64)))

    @property
    def true_left(self) -> np.ndarray:
        """What each true future leaves to do at the end [m], (M,)."""
        return np.asarray(self.scene.cost(self.truth[:, -1].astype(np.float64)))

    @property
    def time_s(self) -> np.ndarray:
        """Of each step, since the fork [s], (T,)."""
        return (1 + np.arange(len(self.actions))) / self.scene.rate_hz

    def places(self, values: np.ndarray, part: str) -> np.ndarray:
        """Where a part is in some futures, from the fork on [m], (..., T + 1, 3)."""
        columns = [self.scene.columns.index(f"{part}_{axis}") for axis in "xyz"]
        start = np.broadcast_to(self.context[columns], (*values.shape[:-2], 1, 3))
        return np.concatenate([start, values[..., columns]], axis=-2)

    @property
    def parts(self) -> tuple[str, ...]:
        """What moves and is judged: the hand first."""
        names = [self.scene.columns[each].rsplit("_", 1)[0] for each in self.scene.tracked]
        return tuple(dict.fromkeys(names))

    @property
    def goal(self) -> np.ndarray | None:
        """Where the goal is [m], (3,); height 0 where it lies on the table."""
        found = {axis: f"goal_{axis}" for axis in "xyz" if f"goal_{axis}" in self.scene.columns}
        if not found:
            return None
        return np.array([self.context[self.scene.columns.index(found[axis])] if axis in found else 0 for axis in "xyz"])

    @property
    def extent(self) -> np.ndarray:
        """Places that a picture of this state must show [m], (n, 3): paths, goal, and some of the arm."""
        paths = [self.places(each, part) for part in self.parts for each in (self.truth, self.values[:SHOWN_PATHS])]
        hands = self.places(np.concatenate([self.truth, self.values[:SHOWN_PATHS]]), "hand")[:, [0, -1]]
        palms = [hands + np.array([0.0, side, ARM_ABOVE]) for side in (-PALM, PALM)]
        goal = [] if self.goal is None else [self.goal[None]]
        return np.concatenate([each.reshape(-1, 3) for each in (*paths, *palms, *goal)])

    @property
    def commanded(self) -> str:
        """The chunk in words."""
        x, y, z = STEP * self.actions[:, :3].sum(0)
        ways = (("forwards", "back", x), ("to its left", "to its right", y), ("up", "down", z))
        said = [f"{abs(way) * 100:.0f} cm {up if way > 0 else down}" for up, down, way in ways if abs(way) > SENSE]
        jaws = "closed" if self.actions[-1, 3] > 0 else "open"
        return f"{', '.join(said) or 'stay'} in {self.time_s[-1]:.1f} s, jaws {jaws}"

    def _tracked(self, values: np.ndarray) -> np.ndarray:
        return values[..., list(self.scene.tracked)].astype(np.float64)


@dataclass(frozen=True)
class Compared:
    """A set of states, imagined and true.

    Attributes:
        scene: Where.
        branches: What is true.
        imagined: What the model says.
        bands: Lower and upper ends of the tracked elements, (S, 2, T, D).
        scores: Of each state.
    """

    scene: Scene
    branches: Branches
    imagined: Imagined
    bands: np.ndarray
    scores: Scores

    def state(self, number: int) -> State:
        """One of them."""
        true, guess = self.branches, self.imagined
        return State(
            number, self.scene, true.context[number], true.actions[number],
            true.futures[number], true.success[number], true.contact[number],
            guess.values[number], guess.weights[number], guess.success[number], guess.contact[number],
            self.bands[number], {name: float(each[number]) for name, each in vars(self.scores).items()},
        )  # fmt: skip


def compare(model: FutureModel, branches: Branches, scene: Scene, calibration: Calibration | None) -> Compared:
    """Imagine the futures of all states of a set and hold them against the true ones.

    Args:
        model: Who imagines.
        branches: What is true; two states and two futures of each at least.
        scene: Where.
        calibration: Of the model; without it the band is the model's own.

    Raises:
        BranchError: Model and set do not fit, or there is too little to compare.
    """
    states, copies = branches.futures.shape[:2]
    if states < 2 or copies < 2:
        raise BranchError(f"{states} states with {copies} futures each: the controls need two of both at least")
    imagined = _imagined(model, branches)
    values, truth = imagined.values[..., list(branches.spec.tracked)], branches.positions
    if calibration is None:
        ends = intervals(values, imagined.weights, [LEVEL])
        bands = np.stack([each[:, 0] for each in ends], axis=1)
    else:
        if LEVEL not in calibration.levels:
            raise BranchError(f"the calibration knows {calibration.levels}, not {LEVEL}; calibrate again")
        place = calibration.levels.index(LEVEL)
        ends = calibration.intervals(values, imagined.weights)
        bands = np.stack([each[:, place] for each in ends], axis=1)
    return Compared(scene, branches, imagined, bands, _scores(model, branches, scene, imagined, bands, truth))


def percent(share: float) -> str:
    """A share in words."""
    return f"{100 * share:.0f} %"


def chosen_states(compared: Compared, count: int) -> tuple[int, ...]:
    """States worth a look: of the half whose true futures part most, from the best imagined to the worst, evenly.

    Args:
        compared: All of them.
        count: How many; as many as there are, if that is fewer.
    """
    truth = compared.branches.positions
    spread = distances(truth, truth).mean((1, 2))
    parting = np.flatnonzero(spread >= np.quantile(spread, STILL))
    # relative to how far true futures part: else a chunk that goes far counts as badly imagined
    order = parting[np.argsort(compared.scores.energy[parting] / np.maximum(spread[parting], 1e-9), kind="stable")]
    places = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    return tuple(int(each) for each in order[places])


def _scores(
    model: FutureModel,
    branches: Branches,
    scene: Scene,
    imagined: Imagined,
    bands: np.ndarray,
    truth: np.ndarray,
) -> Scores:
    tracked, weights = list(branches.spec.tracked), imagined.weights
    values = imagined.values[..., tracked]
    half = truth.shape[1] // 2
    first, second, even = truth[:, :half], truth[:, half : 2 * half], np.full((len(truth), half), 1 / half)
    other = forecast(model, branches, shuffle_actions=True)
    to_happened = distances(values, truth[:, :1])[..., 0]
    nearest = to_happened.argmin(1)
    rows = np.arange(len(truth))
    cost, true_cost = scene.cost(imagined.values[:, :, -1]), scene.cost(branches.futures[:, :, -1])
    return Scores(
        energy=energy_score(values, weights, truth),
        floor=(energy_score(first, even, second) + energy_score(second, even, first)) / 2,
        shuffled=energy_score(other.values[..., tracked], other.weights, truth),
        nearest=to_happened[rows, nearest],
        nearest_weight=weights[rows, nearest],
        likeliest=to_happened[:, 0],
        inside=((truth >= bands[:, None, 0]) & (truth <= bands[:, None, 1])).mean((1, 2, 3)),
        risk=cvar(cost, weights, RISK),
        true_risk=cvar(true_cost, np.full(true_cost.shape, 1 / true_cost.shape[1]), RISK),
    )


def _imagined(model: FutureModel, branches: Branches) -> Imagined:
    if branches.actions.shape[1] != model.horizon:
        raise BranchError(f"the model imagines {model.horizon} steps, the set has {branches.actions.shape[1]}")
    parts = [_part(model, branches, slice(at, at + BATCH)) for at in range(0, len(branches), BATCH)]
    values, weights, success, contact = (np.concatenate(each) for each in zip(*parts, strict=True))
    wanted = (len(branches), model.futures, *branches.futures.shape[2:])
    if values.shape != wanted:
        raise BranchError(f"the model answered {values.shape}, expected {wanted}")
    for name, each in (("values", values), ("probabilities", weights), ("success", success), ("contact", contact)):
        if not np.isfinite(each).all():
            raise BranchError(f"the model imagined {name} that are not finite")
    order = np.argsort(-weights, axis=1, kind="stable")
    sort = [np.take_along_axis(each, order[:, :, None], axis=1) for each in (success, contact)]
    everything = np.take_along_axis(values, order[:, :, None, None], axis=1)
    return Imagined(everything, np.take_along_axis(weights, order, axis=1), *sort)


def _part(model: FutureModel, branches: Branches, rows: slice) -> Sequence[np.ndarray]:
    with torch.no_grad():
        chunk = torch.from_numpy(branches.actions[rows])
        found = model.imagine(torch.from_numpy(branches.context[rows]), chunk)
    weights = found.log_weights.exp().double().cpu().numpy()
    return found.values.float().cpu().numpy(), weights, found.success.cpu().numpy(), found.contact.cpu().numpy()


def _apart(values: np.ndarray, happened: np.ndarray) -> np.ndarray:
    return np.linalg.norm(values - happened, axis=-1)
