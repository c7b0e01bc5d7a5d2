"""Fewer steps of a flow: a student that ends in a few Euler steps where its teacher ends in many.

The student starts from the same noise as the teacher and is taught the teacher's end point, as in the distillation of
rectified flows (Liu et al. 2023, "Flow straight and fast", section 2.2), with the teacher's own number of steps.
Shape letters: B batch, H chunk length, A action elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from foreact.deploy_edge.compress.distil import Task, distil
from foreact.episodes.outcome import JSON, ProgressFn

if TYPE_CHECKING:
    from torch import Tensor

    from foreact.deploy_edge.compress.recipe import SolverConfig
    from foreact.vla.chunk_policy import ChunkPolicy, TrainingDraws
    from foreact.vla.dataset import Demonstrations

__all__ = ["end_point_distance", "shorten_flow"]


def shorten_flow(
    policy: ChunkPolicy,
    config: SolverConfig,
    samples: Demonstrations | None,
    states: Path,
    seed: int,
    progress: ProgressFn,
) -> tuple[ChunkPolicy, dict[str, JSON]]:
    """Reduce the Euler steps of a flow policy, and teach the shorter one if asked to.

    Args:
        policy: In evaluation mode; not changed.
        config: How many steps, and the training.
        samples: To train on; None if `config.distil` is.
        states: Where states of the training go.
        seed: Of the training.
        progress: Told of updates.

    Raises:
        ValueError: The policy is no flow, or has not more steps already.
    """
    from foreact.vla.slimming import anatomy_of

    anatomy = anatomy_of(policy)
    if not policy.needs_noise or anatomy.flow_steps(policy.config) <= config.steps:
        found = (
            f"its flow has {anatomy.flow_steps(policy.config)}" if policy.needs_noise else "it has no flow (kind l1)"
        )
        raise ValueError(
            f"solver.steps={config.steps}: the policy has no steps to save, {found}; type recipe.solver=null"
        )
    before = anatomy.flow_steps(policy.config)
    student = anatomy.with_flow_steps(policy.config, config.steps).build(policy.contract)
    student.load_state_dict(policy.state_dict())
    student.eval()
    figures: dict[str, JSON] = {"flow_steps": [before, config.steps]}
    if config.distil is None:
        return student, figures
    assert samples is not None
    task = Task(config.distil, samples, states, seed, "teach the short flow", loss=end_point_distance)
    student, trained = distil(student, policy, task, progress)
    return student, {**figures, **trained}


def end_point_distance(
    student: ChunkPolicy, teacher: ChunkPolicy, batch: Mapping[str, Tensor], draws: TrainingDraws
) -> Tensor:
    """Mean squared distance of where both flows end from the same noise, in network units.

    Args:
        student: With few steps.
        teacher: With many.
        batch: As `ChunkPolicy.loss` takes it.
        draws: The noise.
    """
    import torch

    with torch.no_grad():
        wanted = _end(teacher, batch, draws)
    return (_end(student, batch, draws).float() - wanted.float()).square().mean()


def _end(policy: ChunkPolicy, batch: Mapping[str, Tensor], draws: TrainingDraws) -> Tensor:
    from foreact.vla.chunk_policy import run_stages

    told = {} if draws.delay is None else {"prefix": batch["chunk"], "delay": draws.delay}
    values = {name: batch[name] for name in policy.contract.input_names}
    stages = tuple(stage for stage in policy.stages() if stage.name != "finish")
    return run_stages(stages, {**values, "noise": draws.noise, **told})["output"]
