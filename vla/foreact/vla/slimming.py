"""Policies with fewer units: which parts of a policy belong together, and the smaller policy without some of them.

A unit is the smallest thing that can go: a convolution channel, an attended place, a summary feature, a channel of the
residual stream, a channel inside a block. A group is a row of alike units; everything its units touch is listed as
parts, so dropping a unit drops rows and columns of several tensors together. Groups of one kind must keep equally many
units, because the configuration has one number for them. Each architecture has an `Anatomy` in a file of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from foreact.vla.chunk_policy import ChunkPolicy

__all__ = [
    "Anatomy",
    "Group",
    "Look",
    "Part",
    "Probe",
    "anatomy_of",
    "describe_groups",
    "kept_rows",
    "parameters_kept",
    "rows_of",
    "shorten",
    "slim",
]

ANATOMIES = {
    "keypoints": "foreact.vla.anatomy_keypoints",
    "transformer": "foreact.vla.anatomy_transformer",
    "mlp": "foreact.vla.anatomy_mlp",
}
"""By architecture: the module whose `ANATOMY` describes it."""


@dataclass(frozen=True)
class Part:
    """Where the units of a group lie along one axis of one tensor.

    Attributes:
        tensor: Name in the policy's state.
        axis: Of that tensor.
        start: Position of unit 0.
        size: Positions of each unit.
    """

    tensor: str
    axis: int
    start: int = 0
    size: int = 1

    def positions(self, units: Tensor) -> Tensor:
        """Positions of these units, int64."""
        return (self.start + units[:, None] * self.size + torch.arange(self.size)).flatten()


@dataclass(frozen=True)
class Probe:
    """Where the activations of a group's units can be seen.

    Attributes:
        module: Its first input or its output is looked at.
        side: Which.
        axis: The axis that units lie along.
        start: Position of unit 0.
        size: Positions of each unit.
    """

    module: str
    side: Literal["input", "output"]
    axis: int = 1
    start: int = 0
    size: int = 1


@dataclass(frozen=True)
class Group:
    """Units of one kind in one place.

    Attributes:
        name: Unique in the policy.
        kind: Groups of one kind keep equally many units.
        count: Units.
        parts: Everything that a unit touches.
        probes: Where its activations are seen.
        named: The first so many units mean something of their own (the landmarks that heads were taught) and stay.
        channels: Of each unit: an attention head has several.
    """

    name: str
    kind: str
    count: int
    parts: tuple[Part, ...]
    probes: tuple[Probe, ...]
    named: int = 0
    channels: int = 1


@dataclass(frozen=True)
class Look:
    """Where something attends.

    Attributes:
        modules: Names of modules whose outputs tell it.
        where: Their outputs in that order -> where it attends: a distribution or a place, (B, ...).
    """

    modules: tuple[str, ...]
    where: Callable[..., Tensor]


@dataclass(frozen=True)
class Anatomy:
    """What compression has to know of an architecture.

    Attributes:
        groups: Policy and number of landmarks -> its groups.
        resize: Configuration and units of each kind -> the smaller configuration.
        stacks: Configuration -> prefix in the state and length of each stack of blocks that can be shortened.
        shorten: Configuration and, by stack, which blocks stay -> the shallower configuration.
        output: Name of the layer whose output is the network's: a chunk, or the velocity of a flow.
        encoders: Names of modules that see and read; the rest decides.
        looks: Where its attention can be seen, in the order in which it attends.
        flow_steps: Configuration -> Euler steps of its flow.
        with_flow_steps: Configuration and steps -> the configuration with so many.
    """

    groups: Callable[[Any, int], list[Group]]
    resize: Callable[[Any, Mapping[str, int]], Any]
    stacks: Callable[[Any], dict[str, int]]
    shorten: Callable[[Any, Mapping[str, Sequence[int]]], Any]
    output: str
    encoders: tuple[str, ...]
    looks: Callable[[Any], list[Look]]
    flow_steps: Callable[[Any], int]
    with_flow_steps: Callable[[Any, int], Any]


def anatomy_of(policy: ChunkPolicy) -> Anatomy:
    """The anatomy of a policy.

    Raises:
        ValueError: Its architecture has none.
    """
    name = policy.config.architecture
    if name not in ANATOMIES:
        raise ValueError(f"architecture {name!r} has no anatomy to slim it by; these have: {', '.join(ANATOMIES)}")
    return importlib.import_module(ANATOMIES[name]).ANATOMY


def describe_groups(policy: ChunkPolicy, landmarks: int = 0) -> list[Group]:
    """All groups of a policy whose units can be dropped.

    Args:
        policy: Of an architecture that is described here.
        landmarks: Attended places of each camera that are taught by name and have to stay.

    Raises:
        ValueError: This architecture has no description.
    """
    return anatomy_of(policy).groups(policy, landmarks)


def slim(policy: ChunkPolicy, kept: Mapping[str, Sequence[int]]) -> ChunkPolicy:
    """The smaller policy that consists of the units kept: same architecture, sliced weights, other sizes.

    Args:
        policy: Not changed.
        kept: For each group that loses units, which stay; other groups stay whole.

    Raises:
        ValueError: An unknown group or unit, nothing kept of a group, or different numbers within a kind.
    """
    groups = describe_groups(policy)
    counts = _checked_counts(groups, kept)
    tensors = policy.state_dict()
    for (name, axis), rows in kept_rows(policy, groups, kept).items():
        tensors[name] = tensors[name].index_select(axis, rows.to(tensors[name].device))
    return _rebuilt(policy, anatomy_of(policy).resize(policy.config, counts), tensors)


def kept_rows(
    policy: ChunkPolicy, groups: Sequence[Group], kept: Mapping[str, Sequence[int]]
) -> dict[tuple[str, int], Tensor]:
    """What stays of each tensor along each axis that loses something: positions, int64.

    Args:
        policy: The whole policy.
        groups: Of it.
        kept: For each group that loses units, which stay.
    """
    stay: dict[tuple[str, int], Tensor] = {}
    tensors = policy.state_dict()
    for group in groups:
        gone = torch.tensor(sorted(set(range(group.count)) - set(kept.get(group.name, range(group.count)))))
        for part in group.parts if len(gone) else ():
            length = tensors[part.tensor].shape[part.axis]
            mask = stay.setdefault((part.tensor, part.axis), torch.ones(length, dtype=torch.bool))
            mask[part.positions(gone)] = False
    return {key: torch.nonzero(mask).flatten() for key, mask in stay.items()}


def shorten(policy: ChunkPolicy, every: int) -> ChunkPolicy:
    """The policy with every k-th block of each stack, the last of each k.

    Args:
        policy: Not changed.
        every: k.

    Raises:
        ValueError: No stack of this policy has so many blocks.
    """
    anatomy = anatomy_of(policy)
    stacks = anatomy.stacks(policy.config)
    chosen = {prefix: list(range(every - 1, count, every)) for prefix, count in stacks.items() if count >= every}
    if not chosen:
        found = ", ".join(f"{prefix} has {count}" for prefix, count in stacks.items()) or "it has no stack"
        raise ValueError(f"depth.every={every}: no stack of blocks is that long ({found})")
    tensors = dict(policy.state_dict())
    for prefix, blocks in chosen.items():
        old = {name: tensors.pop(name) for name in list(tensors) if name.startswith(f"{prefix}.")}
        for place, block in enumerate(blocks):
            start = f"{prefix}.{block}."
            tensors |= {
                f"{prefix}.{place}.{name.removeprefix(start)}": t for name, t in old.items() if name.startswith(start)
            }
    stay = {prefix: chosen.get(prefix, list(range(count))) for prefix, count in stacks.items()}
    return _rebuilt(policy, anatomy.shorten(policy.config, stay), tensors)


def parameters_kept(policy: ChunkPolicy, groups: Sequence[Group], counts: Mapping[str, int]) -> int:
    """Parameters of the policy if each kind kept so many units.

    Args:
        policy: The whole policy.
        groups: Of it.
        counts: Units that stay, by kind; other kinds stay whole.
    """
    lost: dict[tuple[str, int], int] = {}
    for group in groups:
        for part in group.parts:
            key = (part.tensor, part.axis)
            lost[key] = lost.get(key, 0) + (group.count - counts.get(group.kind, group.count)) * part.size
    total = 0
    for name, tensor in policy.named_parameters():
        sizes = 1
        for axis, size in enumerate(tensor.shape):
            sizes *= size - lost.get((name, axis), 0)
        total += sizes
    return total


def rows_of(module: str, start: int = 0, size: int = 1) -> tuple[Part, Part]:
    """What a linear layer or convolution makes: rows of its weight and elements of its bias."""
    return Part(f"{module}.weight", 0, start, size), Part(f"{module}.bias", 0, start, size)


def _rebuilt(policy: ChunkPolicy, config: Any, tensors: Mapping[str, Tensor]) -> ChunkPolicy:
    smaller = config.build(policy.contract)
    smaller.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()})
    return smaller.to(next(policy.parameters()).device).train(policy.training)


def _checked_counts(groups: Sequence[Group], kept: Mapping[str, Sequence[int]]) -> dict[str, int]:
    unknown = sorted(set(kept) - {group.name for group in groups})
    if unknown:
        raise ValueError(f"slim: no group {unknown[0]!r}; this policy has {', '.join(group.name for group in groups)}")
    counts: dict[str, int] = {}
    for group in groups:
        units = sorted(kept.get(group.name, range(group.count)))
        if not units or len(set(units)) != len(units) or units[0] < 0 or units[-1] >= group.count:
            raise ValueError(f"slim: {group.name}: kept units must be some of 0 to {group.count - 1}, each once")
        if counts.setdefault(group.kind, len(units)) != len(units):
            raise ValueError(f"slim: groups of kind {group.kind} must keep equally many units")
    return counts
