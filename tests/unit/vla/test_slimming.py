"""Smaller policies: what is dropped together belongs together, in every architecture."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from foreact.episodes.contract import PolicyContract
from foreact.vla.chunk_policy import ChunkPolicy
from foreact.vla.slimming import Group, anatomy_of, describe_groups, parameters_kept, shorten, slim

Build = Callable[[str], ChunkPolicy]
Chunks = Callable[[ChunkPolicy], torch.Tensor]
KINDS = ["keypoints-l1", "keypoints-flow-prefix", "transformer-l1", "transformer-flow-prefix", "mlp"]
NORMED = {"width"}  # a normalisation over fewer channels has another mean: dropping is not the same as zeroing


@pytest.fixture
def build(contract: PolicyContract, make_config: Any, fitting: Any) -> Build:
    def make(kind: str) -> ChunkPolicy:
        torch.manual_seed(0)
        policy = make_config(kind).build(fitting(kind, contract))
        for parameter in policy.parameters():  # what starts at zero hides what is forgotten
            torch.nn.init.normal_(parameter, std=0.2)
        return policy.eval()

    return make


@pytest.fixture
def chunks(make_observation: Any) -> Chunks:
    def run(policy: ChunkPolicy) -> torch.Tensor:
        observation = make_observation(policy.contract, 2)
        seen = {name: torch.from_numpy(observation[name]) for name in policy.contract.input_names}
        noise = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 4, 4)).astype(np.float32))
        return policy.act(seen, noise)

    return run


def halved(groups: list[Group], without: set[str]) -> dict[str, list[int]]:
    """Every second unit of each group."""
    return {group.name: list(range(0, group.count, 2)) for group in groups if group.kind not in without}


@pytest.mark.parametrize("kind", KINDS)
def test_dropping_units_is_the_same_as_nobody_reading_them(build: Build, chunks: Chunks, kind: str) -> None:
    policy = build(kind)
    groups = describe_groups(policy)
    kept = halved(groups, NORMED)
    smaller = slim(policy, kept)
    tensors = policy.state_dict()
    for group in groups:
        gone = torch.tensor(
            [unit for unit in range(group.count) if unit not in kept.get(group.name, range(group.count))]
        )
        for part in group.parts if len(gone) else ():
            if part.axis == 1:  # columns: who reads the units
                tensors[part.tensor].index_fill_(1, part.positions(gone), 0.0)
    assert torch.allclose(chunks(smaller), chunks(policy), atol=1e-5)
    assert chunks(policy).std() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_can_shrink_and_parameters_are_foretold(build: Build, chunks: Chunks, kind: str) -> None:
    policy = build(kind)
    groups = describe_groups(policy)
    kept = halved(groups, set())
    smaller = slim(policy, kept)
    counts = {group.kind: len(kept[group.name]) for group in groups}
    assert sum(each.numel() for each in smaller.parameters()) == parameters_kept(policy, groups, counts)
    assert parameters_kept(policy, groups, {}) == sum(each.numel() for each in policy.parameters())
    assert type(smaller) is type(policy) and torch.isfinite(chunks(smaller)).all()
    assert [group.count for group in describe_groups(smaller)] == [counts[group.kind] for group in groups]


@pytest.mark.parametrize("kind", KINDS)
def test_every_probe_sees_all_units_of_its_group(build: Build, chunks: Chunks, kind: str) -> None:
    policy = build(kind)
    seen: dict[Any, int] = {}
    modules: dict[str, Any] = dict(policy.named_modules())
    for group in describe_groups(policy):
        for probe in group.probes:

            def look(module: Any, inputs: Any, output: Any, probe: Any = probe, group: Group = group) -> None:
                values = inputs[0] if probe.side == "input" else output
                seen[(group.name, probe)] = values.shape[probe.axis] - probe.start - group.count * probe.size

            modules[probe.module].register_forward_hook(look)
    chunks(policy)
    assert len(seen) == sum(len(group.probes) for group in describe_groups(policy))
    assert min(seen.values()) >= 0


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"nothing": [0]}, "no group 'nothing'"),
        ({"head.blocks.0.hidden": []}, "each once"),
        ({"head.blocks.0.hidden": [0, 99]}, "each once"),
        ({"eyes.0.encoder.summary": [0]}, "equally many"),
    ],
)
def test_units_that_cannot_be_kept_are_refused(build: Build, kept: dict[str, list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        slim(build("keypoints-l1"), kept)


def test_every_second_block_stays_with_its_weights(build: Build, chunks: Chunks) -> None:
    policy = build("transformer-flow-prefix")
    smaller = shorten(policy, 2)
    assert anatomy_of(smaller).stacks(smaller.config) == {"encoder": 1, "decoder.blocks": 1}
    old, new = policy.state_dict(), smaller.state_dict()
    assert smaller.config.heads == (2,) and smaller.config.action_hidden == (14,)
    assert torch.equal(new["encoder.0.feed.enter.weight"], old["encoder.1.feed.enter.weight"])
    assert torch.equal(new["decoder.blocks.0.context.out.bias"], old["decoder.blocks.1.context.out.bias"])
    assert torch.isfinite(chunks(smaller)).all()


def test_a_policy_without_so_many_blocks_cannot_be_shortened(build: Build) -> None:
    with pytest.raises(ValueError, match="head.blocks has 1"):
        shorten(build("keypoints-l1"), 2)
    with pytest.raises(ValueError, match="it has no stack"):
        shorten(build("mlp"), 2)


def test_landmarks_stay_first(build: Build) -> None:
    groups = {group.name: group for group in describe_groups(build("keypoints-l1"), 3)}
    assert groups["eyes.1.encoder.keypoints"].named == 3 and groups["eyes.1.encoder.summary"].named == 0


def test_an_architecture_without_anatomy_is_named(build: Build) -> None:
    policy: Any = build("mlp")
    object.__setattr__(policy.config, "architecture", "unheard")
    with pytest.raises(ValueError, match="'unheard' has no anatomy"):
        describe_groups(policy)
