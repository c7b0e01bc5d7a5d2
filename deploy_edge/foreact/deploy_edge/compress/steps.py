"""The steps of a recipe before quantisation: each takes a policy and gives one, with figures of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.deploy_edge.compress.distil import Task, distil
from foreact.deploy_edge.compress.prune import prune
from foreact.deploy_edge.compress.qat import train_with_rounding
from foreact.deploy_edge.compress.recover import recover
from foreact.deploy_edge.compress.solver import shorten_flow
from foreact.deploy_edge.compress.sparsity import Factors, sparsify
from foreact.deploy_edge.compress.workbench import Workbench
from foreact.episodes.outcome import JSON

if TYPE_CHECKING:
    from foreact.vla.chunk_policy import ChunkPolicy

__all__ = ["STEPS", "Made"]


@dataclass(frozen=True)
class Made:
    """A policy and what later steps must know of how it came about.

    Attributes:
        policy: In evaluation mode.
        figures: For the report.
        kept: After pruning: the units of each group that stayed.
        dense: After pruning: the policy before it.
        factors: After sparsity with a rank: sparse layers and what was put back beside them.
    """

    policy: ChunkPolicy
    figures: dict[str, JSON]
    kept: dict[str, list[int]] | None = None
    dense: ChunkPolicy | None = None
    factors: Factors | None = None


Step = Callable[[Made, Any, Workbench, Path], Made]
"""What came before, the step's settings, the workbench, a folder for states of training."""


def _depth(made: Made, config: Any, bench: Workbench, states: Path) -> Made:
    from foreact.vla.slimming import anatomy_of, shorten

    before = anatomy_of(made.policy).stacks(made.policy.config)
    policy = shorten(made.policy, config.every).eval()
    after = anatomy_of(policy).stacks(policy.config)
    return Made(policy, {"blocks": {name: [count, after[name]] for name, count in before.items()}})


def _prune(made: Made, config: Any, bench: Workbench, states: Path) -> Made:
    policy, kept, figures = prune(made.policy, config, bench.samples(config.samples), bench.config.seed)
    return Made(policy, figures, kept, made.policy)


def _recover(made: Made, config: Any, bench: Workbench, states: Path) -> Made:
    assert made.dense is not None and made.kept is not None, "a recipe with recover prunes"
    samples = bench.samples(config.samples)
    policy, figures = recover(made.policy, made.dense, made.kept, config, samples, bench.progress)
    return Made(policy, figures)


def _distil(made: Made, config: Any, bench: Workbench, states: Path) -> Made:
    task = Task(config, bench.training, states, bench.config.seed, "distil")
    policy, figures = distil(made.policy, bench.policy, task, bench.progress)
    return Made(policy, figures)


def _solver(made: Made, config: Any, bench: Workbench, states: Path) -> Made:
    samples = bench.training if config.distil is not None else None
    policy, figures = shorten_flow(made.policy, config, samples, states, bench.config.seed, bench.progress)
    return Made(policy, figures)


def _sparsity(made: Made, config: Any, bench: Workbench, states: Path) -> Made:
    policy, factors, figures = sparsify(made.policy, config, bench.samples(config.samples))
    return Made(policy, figures, factors=factors or None)


def _qat(made: Made, config: Any, bench: Workbench, states: Path) -> Made:
    # the teacher is what is to be rounded: what earlier steps took is not asked back of the rounding
    task = Task(config.distil, bench.training, states, bench.config.seed, "train with rounding")
    policy, figures = train_with_rounding(made.policy, config, task, bench.progress)
    return Made(policy, figures)


STEPS: dict[str, Step] = {
    "depth": _depth,
    "prune": _prune,
    "recover": _recover,
    "distil": _distil,
    "solver": _solver,
    "sparsity": _sparsity,
    "qat": _qat,
}
