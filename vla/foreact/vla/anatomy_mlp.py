"""The multilayer perceptron as compression sees it: the channels of each hidden layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from foreact.vla.slimming import Anatomy, Group, Part, Probe, rows_of

__all__ = ["ANATOMY"]


def _groups(policy: Any, landmarks: int) -> list[Group]:
    widths = policy.config.widths
    readers = [*(f"layers.{2 * layer}" for layer in range(1, len(widths))), "leave"]
    groups = []
    for layer, (count, reader) in enumerate(zip(widths, readers, strict=True)):
        parts = (*rows_of(f"layers.{2 * layer}"), Part(f"{reader}.weight", 1))
        groups.append(Group(f"layers.{2 * layer}", f"widths.{layer}", count, parts, (Probe(reader, "input"),)))
    return groups


def _resize(config: Any, counts: Mapping[str, int]) -> Any:
    widths = tuple(counts[f"widths.{layer}"] for layer in range(len(config.widths)))
    return dataclasses.replace(config, widths=widths)


ANATOMY = Anatomy(
    groups=_groups,
    resize=_resize,
    stacks=lambda config: {},
    shorten=lambda config, blocks: config,
    output="leave",
    encoders=(),
    looks=lambda policy: [],
    flow_steps=lambda config: 1,
    with_flow_steps=lambda config, steps: config,
)
