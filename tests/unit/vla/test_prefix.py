"""Policies trained with a given beginning go on from it; the same policies without it cannot."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from foreact.episodes.contract import PolicyContract
from foreact.vla.chunk_policy import ChunkPolicy, TrainingDraws
from foreact.vla.prefix import Given, known_rows

SAMPLES = 32
Make = Callable[[str], Any]


def test_what_is_given_is_placed_and_not_counted() -> None:
    chunk = torch.tensor([[[1.0], [2.0], [torch.nan]], [[4.0], [5.0], [6.0]]])
    given = Given.of(chunk, torch.tensor([2, 0]))
    assert given.known.squeeze(-1).tolist() == [[True, True, False], [False, False, False]]
    assert given.vector().tolist() == [[1, 2, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0]]
    assert given.placed(torch.full((2, 3, 1), 9.0)).squeeze(-1).tolist() == [[1, 2, 9], [9, 9, 9]]
    assert given.open(torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])).tolist() == [[0, 0, 1], [1, 1, 0]]
    assert known_rows(torch.tensor([1]), 2).flatten().tolist() == [True, False]


def test_given_actions_are_blurred_in_training_alone(contract: PolicyContract, make_config: Make) -> None:
    config = make_config("transformer-l1-prefix")
    chunk, told = torch.full((1, 4, 4), 0.2), torch.full((1, 4, 4), 2.0)
    draws = TrainingDraws(torch.zeros(1, 4, 4), torch.zeros(1, 1), None, torch.tensor([1]), told)
    for noise, expected in ((0.1, 0.4), (0.0, 0.2)):
        policy = replace(config, prefix_noise=noise).build(contract)
        given = policy.training_given(chunk, draws)
        assert given is not None
        assert torch.allclose(given.chunk[0, :, 0], torch.tensor([expected, 0, 0, 0]))
        seen = policy.given({"prefix": chunk, "delay": torch.tensor([1])})
        assert seen is not None and torch.equal(seen.chunk[:, :1], policy.to_network(chunk)[:, :1])


def demonstrations(chunk: int) -> dict[str, torch.Tensor]:
    """One command for the whole chunk, of one sign or the other, for equal observations: only the prefix tells."""
    sign = torch.where(torch.arange(SAMPLES) % 2 == 0, 0.5, -0.5)
    told = {"state": torch.zeros(SAMPLES, 4), "tokens": torch.ones(SAMPLES, 6, dtype=torch.int64)}
    return {**told, "chunk": sign[:, None, None].expand(-1, chunk, 4).clone(), "mask": torch.ones(SAMPLES, chunk)}


def fitted(policy: ChunkPolicy, updates: int) -> ChunkPolicy:
    batch, generator = demonstrations(4), torch.Generator().manual_seed(5)
    optimiser = torch.optim.Adam(policy.parameters(), lr=1e-2)
    for _ in range(updates):
        noise, moment = torch.randn((SAMPLES, 4, 4), generator=generator), torch.rand((SAMPLES, 1), generator=generator)
        drawn = torch.randint(0, policy.prefix + 1, (SAMPLES,), generator=generator)
        optimiser.zero_grad()
        policy.loss(batch, TrainingDraws(noise, moment, None, drawn if policy.prefix else None)).backward()
        optimiser.step()
    return policy.eval()


def goes_on(policy: ChunkPolicy) -> float:
    """Share of the commands after two executed ones that have their sign."""
    batch = demonstrations(4)
    noise = torch.randn((SAMPLES, 4, 4), generator=torch.Generator().manual_seed(7))
    told = (batch["chunk"], torch.full((SAMPLES,), 2)) if policy.prefix else (None, None)
    return (policy.act(batch, noise, *told) * batch["chunk"] > 0)[:, 2:].float().mean().item()


@pytest.mark.parametrize("kind", ["keypoints-l1", "keypoints-flow", "transformer-flow"])
def test_what_follows_a_prefix_goes_on_from_it(kind: str, contract: PolicyContract, make_config: Make) -> None:
    torch.manual_seed(1)
    blind = replace(contract, cameras=())
    assert goes_on(fitted(make_config(f"{kind}-prefix").build(blind), 60)) > 0.9
    assert goes_on(fitted(make_config(kind).build(blind), 30)) < 0.75, "a policy that is not told cannot know"
