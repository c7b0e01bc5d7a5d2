"""`foreact train worldmodel=safety`: how far from a collision a robot can stay, learned in the futures of a model.

The margin is known: the clearance between gripper and ball. What is learned is how much of it is lost by what comes
after a chunk, whatever is commanded then: V = l - softplus(g). Each chunk is worth what the worst of its futures
leaves. Shape letters: S = states, n = chunks tried in each, K = futures, T = control steps, O = observed elements.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.perception.tensor_folder import CheckpointError, read_description, read_tensors, write_folder
from foreact.worldmodels.branches import Branches
from foreact.worldmodels.branching import HORIZON
from foreact.worldmodels.checkpoint import load_model
from foreact.worldmodels.models.signature import Signature, SignatureError
from foreact.worldmodels.models.trajectory import TrajectoryModel
from foreact.worldmodels.planner.measures import clearance
from foreact.worldmodels.safety.filter import FuturePenalty
from foreact.worldmodels.safety.networks import perceptron
from foreact.worldmodels.safety.value import Imagined, ValueConfig, fit_value
from foreact.worldmodels.scenes import Scene, scene

__all__ = ["SceneValue", "SceneValueConfig", "end_penalty", "load_scene_value", "train_scene_value"]

NAME = "safety"  # of the two files of a folder
ROWS = 1024  # chunks imagined at once
COLUMNS = ("states", "in collision [%]", "cannot stay clear [%]", "V - l, median [cm]")


@dataclass(frozen=True)
class SceneValueConfig:
    """What to learn, and inside which model.

    Attributes:
        inside: Run folder, or model folder, of the world model.
        data: Set of true futures that states and chunks are taken from; made to train on.
        out: Folder of the value; it must not exist.
        worldmodel: `safety`.
        chunks: n.
        execute: Control steps of a chunk after which another is chosen; V is asked again there.
        far: Clearances above this are all alike [m].
        likely: Futures less probable than this are not feared.
        value: How V is fitted; discounts are those of one chunk.
        seed: Of chunks, weights and batches.
    """

    inside: Path
    data: Path
    out: Path
    worldmodel: str = "safety"
    chunks: int = 12
    execute: int = 8
    far: float = 0.1
    likely: float = 0.02
    value: ValueConfig = field(
        default_factory=lambda: ValueConfig(updates=600, width=64, learning_rate=3e-3, first_gamma=0.5, last_gamma=0.9)
    )
    seed: int = 0

    def __post_init__(self) -> None:
        if self.worldmodel != "safety":
            raise ValueError(f"worldmodel is {self.worldmodel!r}, expected safety")
        if self.chunks < 2 or self.execute < 1:
            raise ValueError(f"chunks={self.chunks}, execute={self.execute}: expected at least 2, and at least 1")
        if not self.far > 0 or not 0 <= self.likely < 0.5:
            raise ValueError(f"far={self.far}, likely={self.likely}: expected above 0, and from 0 to below 0.5")


class SceneValue(nn.Module):
    """V [m] of observations of one scene.

    Args:
        place: With something to collide with.
        width: Of hidden layers.
        far: Margins above this are cut off [m].

    Raises:
        ValueError: There is nothing to collide with.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, place: Scene, width: int, far: float) -> None:
        super().__init__()
        if place.contact is None:
            raise ValueError(f"in {place.name} there is nothing to collide with; type arm-reach-passer's model")
        self.scene, self.width, self.far = place, width, far
        elements = len(place.columns)
        self.lost = perceptron(elements, width, 1)
        self.register_buffer("mean", torch.zeros(elements))
        self.register_buffer("scale", torch.ones(elements))

    def margin(self, seen: Tensor) -> Tensor:
        """The margin l [m]: the clearance, cut off at `far`, (...,) of observations (..., O)."""
        return clearance(self.scene, seen).clamp(-self.far, self.far)

    def forward(self, seen: Tensor) -> Tensor:
        """V [m] of observations (..., O), (...,); never above the margin."""
        # V = l - softplus(g): what is touching already cannot be safe
        lost = F.softplus(self.lost((seen - self.mean) / self.scale).squeeze(-1) - 4)
        return self.margin(seen) - self.far * lost


def train_scene_value(config: SceneValueConfig, progress: ProgressFn = quiet) -> Outcome:
    """Learn V inside a world model and write it.

    Args:
        config: What and where.
        progress: Told of each stage.

    Raises:
        CheckpointError: The model is missing or damaged.
        BranchError: The data are.
        SignatureError: Model and data do not fit each other.
        FileExistsError: `out` is there.
        ValueError: There is nothing to collide with in the model's scene.
    """
    if config.out.exists():
        raise FileExistsError(f"{config.out} exists; choose another out, or delete it")
    model = load_model(config.inside)
    branches = Branches.open(config.data)
    model.signature.require(Signature.of(branches), str(config.data))
    if config.execute > model.horizon:
        raise ValueError(f"execute={config.execute} is more than the {model.horizon} steps of a chunk")
    progress(0, 2, "imagine")
    torch.manual_seed(config.seed)
    value = SceneValue(scene(model.signature.task), config.value.width, config.far)
    value.mean.copy_(model.normaliser.context_mean)
    value.scale.copy_(model.normaliser.context_scale)
    data = _imagined(config, model, value, branches)
    progress(1, 2, "fit")
    fit_value(data, config.value, config.seed, value)
    described = {
        "scene": value.scene.name, "columns": list(value.scene.columns), "width": value.width, "far": value.far,
        "execute": config.execute, "about": {"data": config.data.name, "model": dataclasses.asdict(model.signature)},
    }  # fmt: skip
    write_folder(config.out, NAME, dict(value.state_dict()), described)
    progress(2, 2, "done")
    return _outcome(config.out, value, data)


def load_scene_value(folder: Path, place: Scene) -> SceneValue:
    """Read what `train_scene_value` wrote, in evaluation mode.

    Args:
        folder: Of the value.
        place: The scene that it is wanted for.

    Raises:
        CheckpointError: Missing, truncated, altered, or not such a value.
        SignatureError: It was learned in another scene.
    """
    described = read_description(folder, NAME)
    tensors = read_tensors(folder, NAME, described)
    try:
        name, columns = described["scene"], tuple(described["columns"])
        width, far = described["width"], described["far"]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / NAME}.json does not describe a safety value of a scene: {error}") from error
    if name != place.name or columns != place.columns:
        raise SignatureError(f"{folder} is a safety value of {name}, not of {place.name}")
    try:
        value = SceneValue(place, width, far)
        value.load_state_dict(tensors)
    except (TypeError, RuntimeError) as error:
        raise CheckpointError(f"{folder / NAME}.json does not describe these weights: {error}") from error
    return value.eval().requires_grad_(False)


def end_penalty(value: SceneValue) -> Callable[[Tensor], Tensor]:
    """What a planner takes off a score: how much of `far` is missing where a future ends, from 0 to 2.

    Contacts on the way are counted by the planner itself; asking every step would cost more than all else.
    """
    horizon_end = FuturePenalty(value, delta=value.far, every=HORIZON)
    return lambda futures: horizon_end(futures) / value.far


@torch.no_grad()
def _imagined(config: SceneValueConfig, model: TrajectoryModel, value: SceneValue, branches: Branches) -> Imagined:
    """What n chunks lead to in every state: the state's own, standing still, and those of other states."""
    states = len(branches)
    random = np.random.default_rng(config.seed)
    others = random.integers(0, states, (states, config.chunks - 2))
    chunks = np.concatenate(
        [branches.actions[:, None], np.zeros_like(branches.actions)[:, None], branches.actions[others]], axis=1
    )
    context = torch.from_numpy(branches.context)
    rows = torch.arange(states).repeat_interleave(config.chunks)
    given = torch.from_numpy(chunks).flatten(0, 1)
    reached, margins = [], []
    for part in torch.arange(len(rows)).split(ROWS):
        futures = model.imagine(context[rows[part]], given[part])
        values = _feared(futures.values[:, :, : config.execute], futures.log_weights, config.likely)
        margins.append(value.margin(values).amin(dim=(1, 2)))
        reached.append(values[:, :, -1])
    shape = (states, config.chunks)
    return Imagined(context, torch.cat(reached).unflatten(0, shape), torch.cat(margins).unflatten(0, shape))


def _feared(values: Tensor, log_weights: Tensor, likely: float) -> Tensor:
    """Futures (B, K, T, O) with those that are not likely replaced by the likeliest."""
    best = log_weights.argmax(1)
    likeliest = values[torch.arange(len(values)), best][:, None]
    return torch.where((log_weights.exp() >= likely)[:, :, None, None], values, likeliest)


@torch.no_grad()
def _outcome(path: Path, value: SceneValue, data: Imagined) -> Outcome:
    margin, own = value.margin(data.now), value(data.now)
    hit, unsafe = float((margin < 0).float().mean()), float((own < 0).float().mean())
    lost = float((own - margin).median())
    figures = {"states": len(own), "in_collision": hit, "cannot_stay_clear": unsafe, "median_lost_m": lost}
    row = (str(len(own)), f"{100 * hit:.1f}", f"{100 * unsafe:.1f}", f"{100 * lost:.2f}")
    return Outcome(path, figures, COLUMNS, (row,))
