"""What a recipe of `foreact compress` is made of: steps in a fixed order, each with its own settings, each optional."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from foreact.deploy_edge.quantise_config import QuantiseConfig

STEP_ORDER = ("depth", "prune", "recover", "distil", "solver", "sparsity", "qat")

__all__ = [
    "STEP_ORDER",
    "DepthConfig",
    "DistilConfig",
    "PruneConfig",
    "QatConfig",
    "Recipe",
    "RecoverConfig",
    "SolverConfig",
    "SparsityConfig",
    "TrialConfig",
]


@dataclass(frozen=True)
class DepthConfig:
    """Fewer blocks: every k-th stays.

    Attributes:
        every: k; 2 keeps half of the blocks, the last of each pair.
    """

    every: int = 2

    def __post_init__(self) -> None:
        _require(self.every >= 2, f"depth.every={self.every} must be 2 or more")


@dataclass(frozen=True)
class PruneConfig:
    """Fewer units: channels, attended places, summary features.

    Attributes:
        keep: Part of the units of each kind that stays.
        groups: The same for single kinds, such as `hidden` or `channels.0`, or `channels` for all layers.
        keep_of: The same for the kinds of single architectures, where `groups` does not name them: what a named recipe
            knows of architectures that it was tried on.
        budget: Part of all parameters that stays; which kinds lose how much is then chosen by importance, and `keep` is
            the least that stays of any kind that `groups` does not name.
        multiple: Units that stay are a multiple of this, as far as there are so many.
        importance: What decides which units stay: `action_loss`, or the controls `magnitude` and `random`.
        samples: Recorded samples that importance is summed over.
    """

    keep: float = 0.5
    groups: dict[str, float] = field(default_factory=dict)
    keep_of: dict[str, dict[str, float]] = field(default_factory=dict)
    budget: float | None = None
    multiple: int = 8
    importance: Literal["action_loss", "magnitude", "random"] = "action_loss"
    samples: int = 512

    def __post_init__(self) -> None:
        shares = {"keep": self.keep, **{f"groups.{name}": share for name, share in self.groups.items()}}
        for architecture, kinds in self.keep_of.items():
            shares |= {f"keep_of.{architecture}.{name}": share for name, share in kinds.items()}
        shares |= {} if self.budget is None else {"budget": self.budget}
        for name, share in shares.items():
            _require(0 < share <= 1, f"prune.{name}={share} must be above 0 and at most 1")
        _require(self.multiple >= 1 and self.samples >= 1, "prune.multiple and prune.samples must be 1 or more")


@dataclass(frozen=True)
class RecoverConfig:
    """Low-rank recovery without training of what structured pruning left.

    Attributes:
        rank: Singular directions of the gap that each layer gets back; None for all.
        samples: Recorded samples that the gap is estimated on.
        ridge: Damping, as a part of the mean square of a layer's inputs.
    """

    rank: int | None = None
    samples: int = 1024
    ridge: float = 0.01

    def __post_init__(self) -> None:
        _require(self.rank is None or self.rank >= 1, f"recover.rank={self.rank} must be 1 or more, or null for all")
        _require(self.samples >= 1 and self.ridge > 0, "recover.samples must be 1 or more, recover.ridge above 0")


@dataclass(frozen=True)
class DistilConfig:
    """Training with the original as teacher.

    Attributes:
        updates: Updates.
        batch: Samples per update.
        learning_rate: Peak of the cosine schedule.
        warmup: Updates until the peak.
        truth: Weight of the loss against recorded actions.
        teacher: Weight of the distance to the teacher's output (flow: to its velocity).
        attention: Weight of the distance to where the teacher attends, where both have equally many heads.
        landmarks: Weight of the loss that teaches attention where landmarks are; not used for data without them.
        freeze: `vision` trains only what follows the encoders.
        ema: Decay of the weights' moving average, which is the result.
        precision: `auto` takes bf16 where this processor has instructions for it.
        checkpoint_every: Updates between states on disk, from which a killed run continues.
    """

    updates: int = 600
    batch: int = 64
    learning_rate: float = 5e-4
    warmup: int = 20
    truth: float = 1.0
    teacher: float = 1.0
    attention: float = 0.0
    landmarks: float = 0.3
    freeze: Literal["none", "vision"] = "none"
    ema: float = 0.99
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    checkpoint_every: int = 50

    def __post_init__(self) -> None:
        for name in ("updates", "batch", "checkpoint_every"):
            _require(getattr(self, name) >= 1, f"{name}={getattr(self, name)} must be 1 or more")
        for name in ("truth", "teacher", "attention", "landmarks"):
            _require(getattr(self, name) >= 0, f"{name}={getattr(self, name)} must not be negative")
        _require(self.learning_rate > 0 and 0 <= self.ema < 1, "learning_rate must be above 0, ema in [0, 1)")


@dataclass(frozen=True)
class SolverConfig:
    """Fewer steps of a flow.

    Attributes:
        steps: Euler steps that stay.
        distil: Training of the few steps to end where the teacher's many steps end; None only changes the number.
    """

    steps: int = 1
    distil: DistilConfig | None = field(default_factory=lambda: DistilConfig(freeze="vision", truth=0.0, landmarks=0.0))

    def __post_init__(self) -> None:
        _require(self.steps >= 1, f"solver.steps={self.steps} must be 1 or more")


@dataclass(frozen=True)
class SparsityConfig:
    """Two of every four weights along the inputs become zero: a target for TensorRT's sparse tensor cores.

    Attributes:
        method: `magnitude`, or modelopt's `sparsegpt`, which moves the other weights to make up for it.
        rank: Singular directions of what was lost that come back beside each sparse layer; 0 for none.
        samples: Recorded samples for sparsegpt.
    """

    method: Literal["magnitude", "sparsegpt"] = "sparsegpt"
    rank: int = 0
    samples: int = 128

    def __post_init__(self) -> None:
        _require(self.rank >= 0 and self.samples >= 1, "sparsity.rank must be 0 or more, sparsity.samples 1 or more")


@dataclass(frozen=True)
class QatConfig:
    """Training with rounded weights and activations, gradients passed straight through the rounding.

    Attributes:
        bits: Of weights.
        group: Weights along the inputs of a linear layer that share a scale; 0 for one scale per output channel.
        activations: Whether inputs of inner convolutions are rounded to 8 bits as well.
        distil: The training.
    """

    bits: int = 4
    group: int = 32
    activations: bool = True
    distil: DistilConfig = field(default_factory=lambda: DistilConfig(updates=300, learning_rate=1e-4))

    def __post_init__(self) -> None:
        _require(2 <= self.bits <= 8, f"qat.bits={self.bits} must be 2 to 8")
        _require(self.group >= 0, f"qat.group={self.group} must be 0 or more")


@dataclass(frozen=True)
class TrialConfig:
    """Closed loop of each step on layouts made for development, the same for all steps.

    Attributes:
        episodes: Layouts per task; None is 20 for recipes that change the policy before quantisation and 0 for others.
        seed: Which layouts; 1000 or more, so that nothing is chosen on the layouts that results are published on.
        tasks: Task names; empty for those of the store.
        workers: Processes.
        worlds: Worlds run together by a process.
    """

    episodes: int | None = None
    seed: int = 1000
    tasks: tuple[str, ...] = ()
    workers: int = 2
    worlds: int = 10

    def __post_init__(self) -> None:
        _require(self.seed >= 1000, f"trial.seed={self.seed} must be 1000 or more: others are for results")
        _require(self.episodes is None or self.episodes >= 0, "trial.episodes must not be negative")


@dataclass(frozen=True)
class Recipe:
    """Steps in the order in which they run; None leaves one out.

    Attributes:
        name: What the recipe is called in reports.
        depth: Block skipping.
        prune: Structured pruning.
        recover: Low-rank recovery of pruned layers.
        distil: Training with the original as teacher.
        solver: Fewer flow steps.
        sparsity: 2:4 zeros.
        qat: Training with rounding.
        quantise: Q/DQ nodes in the exported file.
        min_cosine: Gate of the file: the smallest cosine that any held-out observation may have with the policy that it
            was made from, after the steps before.
        max_range_fraction: Gate of the file: the largest difference, as a part of each action's range; None for none.
    """

    name: str = "int8"
    depth: DepthConfig | None = None
    prune: PruneConfig | None = None
    recover: RecoverConfig | None = None
    distil: DistilConfig | None = None
    solver: SolverConfig | None = None
    sparsity: SparsityConfig | None = None
    qat: QatConfig | None = None
    quantise: QuantiseConfig | None = field(default_factory=QuantiseConfig)
    min_cosine: float = 0.999
    max_range_fraction: float | None = 0.02

    def __post_init__(self) -> None:
        _require(
            self.recover is None or self.prune is not None,
            "recipe.recover gives back what pruning took; type recipe.prune.keep=0.5 as well",
        )
        _require(
            self.sparsity is None or self.qat is None,
            "recipe.qat would fill the zeros of recipe.sparsity; type recipe.qat=null or recipe.sparsity=null",
        )

    def torch_steps(self) -> dict[str, object]:
        """Settings of the steps before quantisation that are not left out, in order."""
        names = [each.name for each in dataclasses.fields(self) if each.name in STEP_ORDER]
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def trained(self) -> list[str]:
        """Names of the steps that train, and so need the training data."""
        trains = {
            "distil": self.distil is not None,
            "solver": self.solver is not None and self.solver.distil is not None,
            "qat": self.qat is not None,
        }
        return [name for name, does in trains.items() if does]


def _require(fulfilled: bool, otherwise: str) -> None:
    if not fulfilled:
        raise ValueError(otherwise)
