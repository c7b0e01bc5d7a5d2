import dataclasses

import pytest
import torch

from foreact.episodes.contract import PolicyContract
from foreact.vla.chunk_policy import TrainingDraws
from foreact.vla.mlp import MLPConfig


def blind(contract: PolicyContract) -> PolicyContract:
    return dataclasses.replace(contract, cameras=(), language=None)


def test_it_is_linear_layers_between_normalised_state_and_scaled_action(contract: PolicyContract) -> None:
    wide = dataclasses.replace(contract.action, low=(-2,) * 4, high=(2,) * 4, normalisation="bounds")
    policy = MLPConfig(widths=(3,), activation="tanh").build(dataclasses.replace(blind(contract), action=wide))
    state = torch.tensor([[0.5, 0.25, 1.0, 0.0]])
    # bounds of the state: x in [-1, 1], the others in [0, 1]
    felt = torch.tensor([[0.5, -0.5, 1.0, -1.0]])
    output = policy.leave(torch.tanh(policy.layers[0](felt))).reshape(1, 4, 4)
    assert torch.allclose(policy.act({"state": state}), (2 * output).clamp(-2, 2), atol=1e-6)


def test_its_loss_is_the_mean_absolute_error_of_scaled_actions(contract: PolicyContract) -> None:
    policy = MLPConfig().build(blind(contract))
    torch.nn.init.zeros_(policy.leave.weight)
    torch.nn.init.zeros_(policy.leave.bias)
    batch = {"state": torch.zeros(1, 4), "chunk": torch.full((1, 4, 4), 0.5), "mask": torch.tensor([[1.0, 1, 0, 0]])}
    batch["chunk"][0, 2:] = 9.0  # past the end
    draws = TrainingDraws(torch.zeros(1, 4, 4), torch.zeros(1, 1))
    assert policy.loss(batch, draws).item() == pytest.approx(0.5)


def test_what_it_would_ignore_is_refused(contract: PolicyContract) -> None:
    with pytest.raises(ValueError, match=r"camera front and camera wrist and language; type streams=\[\] language=fal"):
        MLPConfig().build(contract)


def test_it_needs_a_layer() -> None:
    with pytest.raises(ValueError, match=r"widths=\[\]"):
        MLPConfig(widths=())
