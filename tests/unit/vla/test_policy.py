from collections.abc import Callable

import numpy as np
import pytest
import torch

from foreact.episodes.contract import PolicyContract
from foreact.vla.chunk_policy import compress, expand
from foreact.vla.policy import CameraEye, Policy, PolicyConfig

Observe = Callable[..., dict[str, np.ndarray]]


def tensors(observation: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in observation.items()}


@pytest.mark.parametrize("kind", ["l1", "flow"])
def test_a_chunk_has_the_contracts_shape_and_range(
    kind: str, contract: PolicyContract, tiny_config: Callable[..., PolicyConfig], make_observation: Observe
) -> None:
    policy = tiny_config(kind).build(contract)
    noise = 100 * torch.ones(3, 4, 4) if kind == "flow" else None
    chunk = policy.act(tensors(make_observation(contract, 3)), noise)
    assert chunk.shape == (3, 4, 4)
    assert chunk.abs().max() <= 1


def test_points_of_a_world_camera_are_relative_to_the_hand(
    policy: Policy, contract: PolicyContract, make_observation: Observe
) -> None:
    observed = make_observation(contract, 1)
    observed["camera.front.depth"][:] = 300  # nothing is so far away that it would be clipped
    observed["state"][:] = 0
    seen = tensors(observed)
    near = policy.prepare(seen)
    moved = policy.prepare({**seen, "state": seen["state"] + torch.tensor([[0.2, 0.0, 0.0, 0.0]])})
    # 0.2 m is one unit of the network
    assert torch.allclose(near[0][:, 3] - moved[0][:, 3], torch.ones(1), atol=1e-5)
    assert torch.equal(near[0][:, :3], moved[0][:, :3])
    assert torch.equal(near[1], moved[1])  # the wrist camera moves with the hand


def test_depth_becomes_metres_along_the_ray(
    policy: Policy, contract: PolicyContract, make_observation: Observe
) -> None:
    seen = make_observation(contract, 1)
    seen["camera.front.depth"][:] = 1000
    seen["state"][:] = 0
    planes = policy.prepare(tensors(seen))[0][0, 3:] * 0.2
    # camera at (0, 0, 1) looking along -z, focal 8 px: pixel (row 0, column 15) is 7.5 px right and 7.5 px up
    assert planes[:, 0, 15].tolist() == pytest.approx([7.5 / 8, 7.5 / 8, 0.0], abs=1e-5)


def test_the_instruction_reaches_the_action(
    policy: Policy, contract: PolicyContract, make_observation: Observe
) -> None:
    seen = tensors(make_observation(contract, 1))
    other = {**seen, "tokens": seen["tokens"].flip(1) % 60 + 1}
    assert not torch.allclose(policy.act(seen), policy.act(other), atol=1e-6)


def test_a_contract_without_language_is_refused(
    contract: PolicyContract, tiny_config: Callable[..., PolicyConfig]
) -> None:
    import dataclasses

    with pytest.raises(ValueError, match="language"):
        tiny_config().build(dataclasses.replace(contract, language=None))


def test_a_landmark_in_the_camera_frame_is_the_point_its_pixel_sees(
    policy: Policy, contract: PolicyContract, make_observation: Observe
) -> None:
    seen = make_observation(contract, 1)
    seen["camera.front.depth"][:] = 800
    planes = policy.prepare(tensors(seen))
    # pixel (row 3, column 10) looks along ((10.5 - 8) / 8, -(3.5 - 8) / 8, -1), planar depth 0.8 m
    place = 0.8 * torch.tensor([[[2.5 / 8, 4.5 / 8, -1.0]]])
    anchor = torch.from_numpy(seen["state"][:, :3])
    eye = policy.eyes[0]
    assert isinstance(eye, CameraEye)
    assert torch.allclose(eye.network_places(place, anchor)[0, 0], planes[0][0, 3:, 3, 10], atol=1e-5)


def test_companding_is_undone_and_favours_small_commands() -> None:
    actions = torch.tensor([-1.0, -0.05, 0.0, 0.02, 1.0])
    assert torch.allclose(expand(compress(actions)), actions, atol=1e-6)
    assert compress(torch.tensor([1.0])).item() == pytest.approx(1.0)
    # slope c / asinh(c) at zero: 10 / 2.998
    assert (compress(torch.tensor([1e-4])) / 1e-4).item() == pytest.approx(3.3353, rel=1e-3)
