"""How much the action loss depends on each unit of a policy, and which units therefore stay.

Shape letters: B batch, U units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from foreact.deploy_edge.compress.recipe import PruneConfig
    from foreact.vla.chunk_policy import ChunkPolicy
    from foreact.vla.slimming import Group, Probe

__all__ = ["choose_counts", "magnitudes", "taylor_scores", "units_to_keep"]

LEAST = 0.125  # no kind falls below this part of its units under a global budget


def taylor_scores(
    policy: ChunkPolicy, groups: Sequence[Group], losses: Iterator[Callable[[], Tensor]]
) -> dict[str, Tensor]:
    """Importance of each unit: what removing it would change in the action loss, to first order.

    Args:
        policy: In evaluation mode.
        groups: Of the policy.
        losses: Each gives the loss summed over one batch, so that gradients of samples do not mix.

    Returns:
        For each group's name, (U,). Molchanov et al. 2017, "Pruning convolutional neural networks for resource
        efficient inference", equation 8.
    """
    import torch

    scores = {group.name: torch.zeros(group.count) for group in groups}
    probes = {probe for group in groups for probe in group.probes}
    for loss in losses:
        with _watch(policy, probes) as seen:
            value = loss()
        tensors = [tensor for _, tensor in seen]
        gradients = torch.autograd.grad(value, tensors, allow_unused=True)
        for (probe, tensor), gradient in zip(seen, gradients, strict=True):
            if gradient is None:
                continue
            # I_u = sum_b | sum_i a_bui dL/da_bui |
            product = (tensor * gradient).detach().float().movedim(probe.axis, 1)
            product = product.flatten(2).sum(-1) if product.ndim > 2 else product
            for group in groups:
                for mine in group.probes:
                    if (mine.module, mine.side, mine.axis) != (probe.module, probe.side, probe.axis) or mine != probe:
                        continue
                    part = product[:, mine.start : mine.start + group.count * mine.size]
                    scores[group.name] += part.unflatten(1, (group.count, mine.size)).sum(-1).abs().sum(0)
    return scores


def magnitudes(policy: ChunkPolicy, groups: Sequence[Group]) -> dict[str, Tensor]:
    """Norm of everything that belongs to each unit: the usual control."""
    import torch

    tensors = policy.state_dict()
    scores = {}
    for group in groups:
        total = torch.zeros(group.count)
        for part in group.parts:
            values = (
                tensors[part.tensor].float().movedim(part.axis, 0)[part.start : part.start + group.count * part.size]
            )
            total += values.square().reshape(group.count, -1).sum(-1)
        scores[group.name] = total.sqrt()
    return scores


def choose_counts(
    policy: ChunkPolicy, groups: Sequence[Group], scores: Mapping[str, Tensor], config: PruneConfig
) -> dict[str, int]:
    """How many units of each kind stay.

    Args:
        policy: The whole policy.
        groups: Of it.
        scores: Importance of each unit, (U,), by group.
        config: What to keep.

    Raises:
        ValueError: `groups` names a kind that this policy does not have, or the budget cannot be met.
    """
    kinds = {group.kind: group for group in groups}
    unknown = [name for name in config.groups if name not in kinds and name not in {k.partition(".")[0] for k in kinds}]
    if unknown:
        raise ValueError(f"prune.groups.{unknown[0]}: this policy has no such units; it has {', '.join(kinds)}")
    least = {kind: _count(group, _share(kind, config), config.multiple) for kind, group in kinds.items()}
    if config.budget is None:
        return least
    return _spend(policy, groups, scores, config, least)


def units_to_keep(
    groups: Sequence[Group], scores: Mapping[str, Tensor], counts: Mapping[str, int]
) -> dict[str, list[int]]:
    """The most important units of each group, in their old order; named ones always stay."""
    kept: dict[str, list[int]] = {}
    for group in groups:
        ranked = scores[group.name].argsort(descending=True, stable=True).tolist()
        named = list(range(group.named))
        others = [unit for unit in ranked if unit >= group.named]
        kept[group.name] = sorted((named + others)[: counts[group.kind]])
    return kept


def _spend(
    policy: ChunkPolicy,
    groups: Sequence[Group],
    scores: Mapping[str, Tensor],
    config: PruneConfig,
    least: Mapping[str, int],
) -> dict[str, int]:
    """Take units where a parameter costs least importance until the budget is met."""
    from foreact.vla.slimming import parameters_kept

    assert config.budget is not None
    fixed = {kind for kind in least if _named(kind, config)}
    kinds = {group.kind: group.count for group in groups}
    counts = {kind: least[kind] if kind in fixed else count for kind, count in kinds.items()}
    sums = {kind: _sorted_sums([scores[g.name] for g in groups if g.kind == kind]) for kind in kinds}
    steps = {group.kind: _step(group, config.multiple) for group in groups}
    goal = config.budget * parameters_kept(policy, groups, {})
    current = parameters_kept(policy, groups, counts)
    while current > goal:
        best: tuple[float, str, int, int] | None = None
        for kind in sorted(set(kinds) - fixed):
            fewer = (counts[kind] - 1) // steps[kind] * steps[kind]
            if fewer < max(least[kind] if config.keep < 1 else 1, 1, int(LEAST * kinds[kind])):
                continue
            saved = current - parameters_kept(policy, groups, {**counts, kind: fewer})
            lost = float(sums[kind][kinds[kind] - fewer] - sums[kind][kinds[kind] - counts[kind]])
            if saved > 0 and (best is None or lost / saved < best[0]):
                best = (lost / saved, kind, fewer, current - saved)
        if best is None:
            raise ValueError(
                f"prune.budget={config.budget} cannot be met: {current:,} parameters are left with prune.keep="
                f"{config.keep} of each kind; lower prune.keep or raise the budget"
            )
        counts[best[1]], current = best[2], best[3]
    return counts


def _sorted_sums(scores: Sequence[Tensor]) -> Tensor:
    """Importance lost, as a part of the kind's own, by how many of the least important units are gone, (U + 1,)."""
    import torch

    rising = torch.stack([each.sort().values / each.sum().clamp(min=1e-12) for each in scores]).mean(0)
    return torch.cat([torch.zeros(1), rising.cumsum(0)])


def _named(kind: str, config: PruneConfig) -> bool:
    return kind in config.groups or kind.partition(".")[0] in config.groups


def _share(kind: str, config: PruneConfig) -> float:
    return config.groups.get(kind, config.groups.get(kind.partition(".")[0], config.keep))


def _count(group: Group, share: float, multiple: int) -> int:
    """A multiple near the share, at least the named units, at most all."""
    if share == 1:
        return group.count
    step = _step(group, multiple)
    wanted = max(step, round(group.count * share / step) * step, group.named)
    return min(group.count, wanted)


def _step(group: Group, multiple: int) -> int:
    """Units whose channels are a multiple of so many: one attention head has enough of its own."""
    return max(1, -(-multiple // group.channels))


@contextmanager
def _watch(policy: ChunkPolicy, probes: set[Probe]) -> Iterator[list[tuple[Probe, Tensor]]]:
    seen: list[tuple[Probe, Tensor]] = []
    handles = []
    modules = dict(policy.named_modules())

    def watcher(probe: Probe) -> Callable[..., None]:
        def look(module: Any, inputs: Any, output: Any) -> None:
            seen.append((probe, inputs[0] if probe.side == "input" else output))

        return look

    try:
        handles += [modules[probe.module].register_forward_hook(watcher(probe)) for probe in probes]
        yield seen
    finally:
        for handle in handles:
            handle.remove()
