"""The keypoint policy as compression sees it: channels, attended places, summary features, the head's two widths."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from foreact.vla.slimming import Anatomy, Group, Look, Part, Probe, rows_of

__all__ = ["ANATOMY"]

ENTERS = ("head.enter", "head.enter_chunk", "head.enter_time", "head.enter_prefix")


def _keypoint_groups(policy: Any, landmarks: int) -> list[Group]:
    vision, head = policy.config.vision, policy.config.head
    groups: list[Group] = []
    start = 0
    for index in range(len(policy.eyes)):
        groups += _eye_groups(f"eyes.{index}.encoder", index, vision, start, landmarks)
        start += 4 * vision.keypoints + vision.summary
    blocks = [f"head.blocks.{index}" for index in range(head.depth)]
    names = {name for name, _ in policy.named_parameters()}
    enters = [name for name in ENTERS if f"{name}.weight" in names]
    width = [
        *(part for name in enters for part in rows_of(name) if part.tensor in names),
        *(part for name in blocks for start in (0, head.width) for part in rows_of(f"{name}.modulate", start)),
        *(Part(f"{name}.inner.0.weight", 1) for name in blocks),
        *(part for name in blocks for part in rows_of(f"{name}.inner.2")),
        Part("head.leave.weight", 1),
    ]
    seen = tuple(Probe(name, "input") for name in (*blocks, "head.leave"))
    groups.append(Group("head.width", "width", head.width, tuple(width), seen))
    inside = head.width if head.hidden is None else head.hidden
    for name in blocks:
        parts = (*rows_of(f"{name}.inner.0"), Part(f"{name}.inner.2.weight", 1))
        groups.append(Group(f"{name}.hidden", "hidden", inside, parts, (Probe(f"{name}.inner.2", "input"),)))
    return groups


def _eye_groups(eye: str, index: int, vision: Any, start: int, landmarks: int) -> list[Group]:
    """Groups of one camera's encoder, whose features begin at `start` of the head's context."""
    channels, places = vision.channels, vision.keypoints
    makers = [f"{eye}.stem", *(f"{eye}.layers.{layer}" for layer in range(len(channels) - 1))]
    groups = []
    for layer, (maker, count) in enumerate(zip(makers, channels, strict=True)):
        if layer + 1 < len(makers):
            readers = [Part(f"{makers[layer + 1]}.weight", 1)]
        else:
            scale, shift = rows_of(f"{eye}.modulation.project"), rows_of(f"{eye}.modulation.project", count)
            readers = [*scale, *shift, Part(f"{eye}.attention.weight", 1), Part(f"{eye}.summary.weight", 1)]
        name, kind = f"{eye}.channels.{layer}", f"channels.{layer}"
        groups.append(Group(name, kind, count, (*rows_of(maker), *readers), (Probe(maker, "output"),)))
    strength, summary = start + 3 * places, start + 4 * places
    look = (
        *rows_of(f"{eye}.attention", 0, 4),
        Part(f"{eye}.log_gain", 0),
        Part("head.enter.weight", 1, start, 3),
        Part("head.enter.weight", 1, strength),
    )
    seen = (Probe("head.enter", "input", 1, start, 3), Probe("head.enter", "input", 1, strength))
    groups.append(Group(f"{eye}.keypoints", "keypoints", places, look, seen, min(landmarks, places)))
    whole = (*rows_of(f"{eye}.summary"), Part("head.enter.weight", 1, summary))
    groups.append(
        Group(f"{eye}.summary", "summary", vision.summary, whole, (Probe("head.enter", "input", 1, summary),))
    )
    return groups


def _keypoint_sizes(config: Any, counts: Mapping[str, int]) -> Any:
    vision, head = config.vision, config.head
    channels = tuple(counts[f"channels.{layer}"] for layer in range(len(vision.channels)))
    return dataclasses.replace(
        config,
        vision=dataclasses.replace(vision, channels=channels, keypoints=counts["keypoints"], summary=counts["summary"]),
        head=dataclasses.replace(head, width=counts["width"], hidden=counts.get("hidden")),
    )


def _stacks(config: Any) -> dict[str, int]:
    return {"head.blocks": config.head.depth}


def _shorten(config: Any, blocks: Mapping[str, Sequence[int]]) -> Any:
    return dataclasses.replace(config, head=dataclasses.replace(config.head, depth=len(blocks["head.blocks"])))


def _looks(policy: Any) -> list[Look]:
    return [Look((f"eyes.{index}.encoder",), lambda seen: seen.points) for index in range(len(policy.eyes))]


def _with_flow_steps(config: Any, steps: int) -> Any:
    return dataclasses.replace(config, head=dataclasses.replace(config.head, steps=steps))


ANATOMY = Anatomy(
    groups=_keypoint_groups,
    resize=_keypoint_sizes,
    stacks=_stacks,
    shorten=_shorten,
    output="head.leave",
    encoders=("language", "eyes"),
    looks=_looks,
    flow_steps=lambda config: config.head.steps,
    with_flow_steps=_with_flow_steps,
)
