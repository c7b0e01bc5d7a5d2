"""Structured pruning: the units that the action loss needs least go, and a smaller policy of the same kind remains."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from foreact.deploy_edge.compress.importance import choose_counts, magnitudes, taylor_scores, units_to_keep
from foreact.deploy_edge.compress.samples import batches, fixed_draws
from foreact.episodes.outcome import JSON

if TYPE_CHECKING:
    from torch import Tensor

    from foreact.deploy_edge.compress.recipe import PruneConfig
    from foreact.vla.chunk_policy import ChunkPolicy
    from foreact.vla.dataset import Demonstrations
    from foreact.vla.slimming import Group

__all__ = ["prune"]


def prune(
    policy: ChunkPolicy, config: PruneConfig, samples: Demonstrations, seed: int
) -> tuple[ChunkPolicy, dict[str, list[int]], dict[str, JSON]]:
    """Drop units of a policy.

    Args:
        policy: In evaluation mode; it is not changed.
        config: How much, and by what.
        samples: Recorded samples that importance is summed over.
        seed: Of the draws, and of the random control.

    Returns:
        The smaller policy; for each group the units that stayed; figures for the report.

    Raises:
        ValueError: The architecture has no groups, `groups` names none of them, or the budget cannot be met.
    """
    from foreact.vla.slimming import describe_groups, slim

    landmarks = max((values.shape[1] for values in samples.landmarks.values()), default=0)
    groups = describe_groups(policy, landmarks if policy.uses_landmarks else 0)
    scores = _scores(policy, groups, config, samples, seed)
    known = config.keep_of.get(policy.config.architecture, {})
    counts = choose_counts(policy, groups, scores, dataclasses.replace(config, groups={**known, **config.groups}))
    kept = units_to_keep(groups, scores, counts)
    smaller = slim(policy, kept).eval()
    whole = {group.kind: group.count for group in groups}
    figures: dict[str, JSON] = {
        "importance": config.importance,
        "units": {kind: [whole[kind], count] for kind, count in counts.items()},
        "importance_kept": {
            group.name: round(float(scores[group.name][kept[group.name]].sum() / scores[group.name].sum()), 4)
            for group in groups
            if float(scores[group.name].sum()) > 0
        },
    }
    return smaller, kept, figures


def _scores(
    policy: ChunkPolicy, groups: list[Group], config: PruneConfig, samples: Demonstrations, seed: int
) -> dict[str, Tensor]:
    if config.importance == "magnitude":
        return magnitudes(policy, groups)
    if config.importance == "random":
        import torch

        generator = torch.Generator().manual_seed(seed)
        return {group.name: torch.rand(group.count, generator=generator) for group in groups}
    return taylor_scores(policy, groups, _losses(policy, samples, seed))


def _losses(policy: ChunkPolicy, samples: Demonstrations, seed: int) -> Iterator[Callable[[], Tensor]]:
    for batch in batches(samples):
        draws = fixed_draws(policy, batch["chunk"], seed)
        # the mean over a batch times its size: each sample's gradient as if it were alone
        yield lambda batch=batch, draws=draws: policy.loss(batch, draws) * len(batch["chunk"])
