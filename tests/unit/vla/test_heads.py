import pytest
import torch

from foreact.vla.heads import ChunkHead, FlowHead, HeadConfig


def test_l1_loss_counts_only_steps_that_exist() -> None:
    head = HeadConfig(width=8, depth=1).build(3, 2, 2, 2)
    assert isinstance(head, ChunkHead)
    head.leave.weight.data.zero_()
    head.leave.bias.data.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    chunk = torch.tensor([[[0.0, 0.0], [0.0, 0.0]]])
    loss = head.loss(torch.zeros(1, 3), torch.zeros(1, 2), chunk, torch.tensor([[1.0, 0.0]]), chunk, chunk)
    assert loss.item() == pytest.approx((1 + 2) / 2)  # the second step, worth (3 + 4) / 2, is past the end


def flow_head(velocity: float) -> FlowHead:
    head = HeadConfig(kind="flow", width=8, depth=1, steps=4).build(3, 2, 2, 2)
    assert isinstance(head, FlowHead)
    head.leave.weight.data.zero_()
    head.leave.bias.data.fill_(velocity)
    return head


def test_flow_with_constant_velocity_ends_one_velocity_away() -> None:
    noise = torch.tensor([[[0.5, -0.5], [1.0, 0.0]]])
    sampled = flow_head(2.0).sample(torch.zeros(1, 3), torch.zeros(1, 2), noise)
    assert torch.allclose(sampled, noise + 2.0)


def test_flow_loss_is_the_squared_distance_to_chunk_minus_noise() -> None:
    noise, chunk = torch.full((1, 2, 2), 0.5), torch.full((1, 2, 2), 2.0)
    mask, time = torch.ones(1, 2), torch.full((1, 1), 0.3)
    loss = flow_head(1.0).loss(torch.zeros(1, 3), torch.zeros(1, 2), chunk, mask, noise, time)
    assert loss.item() == pytest.approx((1.0 - (2.0 - 0.5)) ** 2)


def test_a_flow_without_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="noise"):
        flow_head(0.0).sample(torch.zeros(1, 3), torch.zeros(1, 2), None)
