"""The transformer policy as compression sees it: attention heads, inner channels of feed-forward layers, stems."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from foreact.vla.slimming import Anatomy, Group, Look, Part, Probe, rows_of

__all__ = ["ANATOMY"]

ENCODER, DECODER = "encoder", "decoder.blocks"


def _groups(policy: Any, landmarks: int) -> list[Group]:
    config, groups = policy.config, []
    for block, (heads, hidden) in enumerate(zip(config.heads, config.hidden, strict=True)):
        groups.append(_heads(f"{ENCODER}.{block}.attention", f"heads.{block}", heads, config.head_width))
        groups.append(_hidden(f"{ENCODER}.{block}.feed", f"hidden.{block}", hidden))
    sizes = zip(config.action_heads, config.context_heads, config.action_hidden, strict=True)
    for block, (own, context, hidden) in enumerate(sizes):
        name = f"{DECODER}.{block}"
        groups.append(_heads(f"{name}.attention", f"action_heads.{block}", own, config.head_width))
        groups.append(_heads(f"{name}.context", f"context_heads.{block}", context, config.head_width))
        groups.append(_hidden(f"{name}.feed", f"action_hidden.{block}", hidden))
    for view in range(len(policy.views)):
        name = f"views.{view}.stem"
        parts = (*rows_of(name), Part(f"views.{view}.patches.weight", 1))
        groups.append(Group(name, "stem", config.stem, parts, (Probe(name, "output"),)))
    return groups


def _heads(name: str, kind: str, count: int, width: int) -> Group:
    made = [part for layer in ("query", "key", "value") for part in rows_of(f"{name}.{layer}", 0, width)]
    parts = (*made, Part(f"{name}.out.weight", 1, 0, width))
    return Group(name, kind, count, parts, (Probe(f"{name}.out", "input", 2, 0, width),), channels=width)


def _hidden(name: str, kind: str, count: int) -> Group:
    parts = (*rows_of(f"{name}.enter"), Part(f"{name}.leave.weight", 1))
    return Group(name, kind, count, parts, (Probe(f"{name}.leave", "input", 2),))


def _resize(config: Any, counts: Mapping[str, int]) -> Any:
    names = ("heads", "hidden", "action_heads", "context_heads", "action_hidden")
    sizes = {name: tuple(counts[f"{name}.{block}"] for block in range(len(getattr(config, name)))) for name in names}
    return dataclasses.replace(config, **sizes, stem=counts.get("stem", config.stem))


def _stacks(config: Any) -> dict[str, int]:
    return {ENCODER: len(config.heads), DECODER: len(config.action_heads)}


def _shorten(config: Any, blocks: Mapping[str, Sequence[int]]) -> Any:
    stacks = {"heads": ENCODER, "hidden": ENCODER}
    stacks |= dict.fromkeys(("action_heads", "context_heads", "action_hidden"), DECODER)
    sizes = {name: tuple(getattr(config, name)[block] for block in blocks[stack]) for name, stack in stacks.items()}
    return dataclasses.replace(config, **sizes)


def _looks(policy: Any) -> list[Look]:
    """From action tokens to what was seen, block by block."""
    width = policy.config.head_width

    def where(query: Tensor, key: Tensor) -> Tensor:
        # mean over heads, so that policies with other numbers of heads can be compared
        q, k = (each.float().unflatten(-1, (-1, width)).transpose(1, 2) for each in (query, key))
        return torch.softmax(q @ k.transpose(2, 3) / width**0.5, dim=-1).mean(1)

    names = [f"{DECODER}.{block}.context" for block in range(len(policy.config.action_heads))]
    return [Look((f"{name}.query", f"{name}.key"), where) for name in names]


ANATOMY = Anatomy(
    groups=_groups,
    resize=_resize,
    stacks=_stacks,
    shorten=_shorten,
    output="decoder.leave",
    encoders=("views", "state", "words", ENCODER, "norm"),
    looks=_looks,
    flow_steps=lambda config: config.steps,
    with_flow_steps=lambda config, steps: dataclasses.replace(config, steps=steps),
)
