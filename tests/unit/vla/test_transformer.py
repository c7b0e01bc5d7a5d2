import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from foreact.episodes.contract import PolicyContract
from foreact.perception.attention import Attention
from foreact.vla.chunk_policy import TrainingDraws
from foreact.vla.transformer import TransformerConfig, TransformerPolicy

Observe = Callable[..., dict[str, np.ndarray]]
Make = Callable[[str], Any]


def sample(policy: TransformerPolicy, observed: dict[str, np.ndarray]) -> tuple[dict[str, torch.Tensor], TrainingDraws]:
    batch = {name: torch.from_numpy(value) for name, value in observed.items()}
    rows, generator = len(batch["state"]), torch.Generator().manual_seed(0)
    chunk = torch.rand((rows, 4, 4), generator=generator) * 2 - 1
    draws = TrainingDraws(torch.randn((rows, 4, 4), generator=generator), torch.full((rows, 1), 0.3))
    return {**batch, "chunk": chunk, "mask": torch.ones(rows, 4)}, draws


def test_attention_of_one_head_is_the_textbooks() -> None:
    torch.manual_seed(0)
    layer, x, memory = Attention(6, 1, 5), torch.randn(2, 3, 6), torch.randn(2, 4, 6)
    keys, values = layer.remember(memory)
    assert keys.shape == (2, 1, 4, 5)
    weights = torch.softmax(layer.query(x) @ layer.key(memory).transpose(1, 2) / 5**0.5, dim=-1)
    assert torch.allclose(layer.weights(x, keys)[:, 0], weights, atol=1e-6)
    assert torch.allclose(layer(x, memory), layer.out(weights @ layer.value(memory)), atol=1e-6)


def test_heads_are_rows_of_the_projections_and_can_be_cut_out() -> None:
    torch.manual_seed(0)
    layer, x = Attention(6, 3, 4), torch.randn(2, 5, 6)
    with torch.no_grad():
        layer.out.weight[:, 4:8] = 0  # nothing of the second head leaves
    kept = Attention(6, 2, 4)
    rows = [*range(4), *range(8, 12)]
    with torch.no_grad():
        for name in ("query", "key", "value"):
            getattr(kept, name).weight.copy_(getattr(layer, name).weight[rows])
            getattr(kept, name).bias.copy_(getattr(layer, name).bias[rows])
        kept.out.weight.copy_(layer.out.weight[:, rows])
        kept.out.bias.copy_(layer.out.bias)
    assert torch.allclose(kept(x, x), layer(x, x), atol=1e-6)


def test_attention_to_what_was_seen_can_be_read(
    contract: PolicyContract, make_config: Make, make_observation: Observe
) -> None:
    policy = make_config("transformer-flow").build(contract)
    batch, draws = sample(policy, make_observation(contract, 2))
    maps: list[torch.Tensor] = []
    policy.predict(policy.observe(batch), policy.to_network(batch["chunk"]), draws, maps=maps)
    # two cameras of 2 x 2 patches, the state and six words
    assert [tuple(each.shape) for each in maps] == [(2, 1, 4, 15), (2, 3, 4, 15)]
    assert all(torch.allclose(each.sum(-1), torch.ones(1), atol=1e-5) for each in maps)


def test_the_flow_loss_is_the_squared_distance_of_the_velocity(
    contract: PolicyContract, make_config: Make, make_observation: Observe
) -> None:
    policy = make_config("transformer-flow").build(contract)
    torch.nn.init.zeros_(policy.decoder.leave.weight)
    torch.nn.init.constant_(policy.decoder.leave.bias, 0.5)
    batch, draws = sample(policy, make_observation(contract, 2))
    velocity = policy.to_network(batch["chunk"]) - draws.noise
    assert policy.loss(batch, draws).item() == pytest.approx((0.5 - velocity).square().mean().item(), rel=1e-5)
    # given rows are not counted
    told = dataclasses.replace(draws, delay=torch.tensor([0, 3]))
    counted = torch.cat([velocity[0], velocity[1, 3:]])
    assert policy.loss(batch, told).item() == pytest.approx((0.5 - counted).square().mean().item(), rel=1e-5)


def test_given_tokens_are_at_the_end_of_the_flow(
    contract: PolicyContract, make_config: Make, make_observation: Observe
) -> None:
    from foreact.vla.prefix import Given

    policy = make_config("transformer-flow-prefix").build(contract)
    given = Given.of(torch.ones(1, 4, 4), torch.tensor([2]))
    torch.manual_seed(0)
    torch.nn.init.normal_(policy.decoder.clock[2].weight)
    late = policy.decoder._time(torch.tensor([[0.25]]), given)
    end, now = (policy.decoder._time(torch.tensor([[moment]]), None)[:, 0] for moment in (1.0, 0.25))
    torch.testing.assert_close(late[0, :3], torch.cat([end, end, now]), rtol=1e-5, atol=1e-5)
    assert (end - now).abs().max() > 0.1


def test_it_does_without_cameras_and_without_words(contract: PolicyContract, make_config: Make) -> None:
    blind = dataclasses.replace(contract, cameras=(), language=None)
    policy = make_config("transformer-l1").build(blind)
    assert [stage.name for stage in policy.stages()] == ["vision", "action_step", "finish"]
    assert policy.act({"state": torch.zeros(2, 4)}).shape == (2, 4, 4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"heads": (2,)}, "one value for each block is needed, got {'heads': 1, 'hidden': 4}"),
        ({"action_heads": (), "context_heads": (), "action_hidden": ()}, "at least one decoder block"),
        ({"hidden": (1, 0, 1, 1)}, "must be 1 or more"),
        ({"patch": 6}, "patch=6 must be a multiple of 4"),
    ],
)
def test_sizes_that_make_no_transformer_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TransformerConfig(**changes)


def test_pictures_must_be_made_of_whole_patches(contract: PolicyContract) -> None:
    with pytest.raises(ValueError, match="patch=12 does not divide the 16x16 pictures of camera front"):
        TransformerConfig(patch=12).build(contract)
