from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from foreact.worldmodels.pixels.model import PixelModel, PixelModelConfig
from foreact.worldmodels.pixels.objective import PixelLossWeights, batch_of, outcomes_at_moments, pixel_losses
from foreact.worldmodels.pixels.pictures import PixelBranches
from foreact.worldmodels.pixels.signature import PixelSignature
from foreact.worldmodels.pixels.trainer import PixelOptimisation, PixelTrainer

MakeSet = Callable[..., PixelBranches]
LOSS = PixelLossWeights(lines=8, drawn=4)


def built(config: PixelModelConfig, data: PixelBranches) -> PixelModel:
    torch.manual_seed(0)
    model = config.build(PixelSignature.of(data))
    model.prepare(data)
    return model


def terms(model: PixelModel, data: PixelBranches, weights: PixelLossWeights = LOSS) -> dict[str, torch.Tensor]:
    batch = batch_of(data, np.arange(4), np.array([0, 2]))
    return pixel_losses(model, batch, weights, torch.Generator().manual_seed(0))


def test_batches_hold_the_frames_seen_then_the_futures(make_set: MakeSet) -> None:
    data = make_set()
    batch = batch_of(data, np.array([5, 1]), np.array([0, 2]))
    frames = batch.pictures["segmentation"].unflatten(0, (2, 6)).numpy()
    assert np.array_equal(frames[0, :2], data.seen["segmentation"][5])
    assert np.array_equal(frames[1, 4:], data.later["segmentation"][1, 2])
    assert np.array_equal(batch.actions.numpy(), data.branches.actions[[5, 1]])


def test_outcomes_at_moments_by_hand(make_set: MakeSet) -> None:
    data = make_set()
    branches, found = data.branches, outcomes_at_moments(data)
    assert found.shape == (6, 3, 2, 3)
    assert np.array_equal(found[..., 0], branches.success[:, :3, [3, 7]])
    assert np.array_equal(found[:, :, 1, 1], branches.contact[:, :3, 4:].any(2))
    assert np.allclose(found[:, :, 0, 2], branches.reward[:, :3, :4].mean(2))


def test_rival_and_decoder_do_not_shape_the_latents(make_set: MakeSet, tiny: PixelModelConfig) -> None:
    data = make_set()
    model = built(tiny, data)
    found = terms(model, data)
    (found["rival"] + found["pictures"]).backward()
    assert all(each.grad is None for each in model.encoder.parameters())
    assert all(each.grad is None for each in model.predictor.parameters())
    assert model.decoder.draw.weight.grad is not None


def test_nothing_is_stopped_on_the_way_to_the_targets(make_set: MakeSet, tiny: PixelModelConfig) -> None:
    data = make_set()
    model = built(tiny, data)
    for each in model.predictor.parameters():
        torch.nn.init.zeros_(each)  # the forecast is z_0: the gradient of |z_f - z_0|^2 reaches both ends
    batch = batch_of(data, np.arange(4), np.array([0]))
    given = batch.pictures["rgb"].requires_grad_()
    pixel_losses(model.eval(), batch, LOSS, torch.Generator().manual_seed(3))["winner"].backward()
    assert given.grad is not None
    reached = given.grad.unflatten(0, (4, 4)).abs().amax((2, 3, 4))
    assert (reached[:, 1:] > 0).any(0).all()  # the frame at the fork and both later ones
    assert (reached[:, 0] == 0).all()  # the earlier one is no target


def test_terms_follow_their_weights(make_set: MakeSet, tiny: PixelModelConfig) -> None:
    data = make_set()
    model = built(tiny, data)
    once = terms(model, data)
    assert "sigreg" not in terms(model, data, replace(LOSS, sigreg=0.0))
    assert "pictures" not in terms(model, data, replace(LOSS, drawn=0))
    assert terms(model, data, replace(LOSS, energy=2.0))["energy"].item() == pytest.approx(2 * once["energy"].item())
    with pytest.raises(ValueError, match="must not be negative"):
        PixelLossWeights(sigreg=-1.0)


def test_two_updates_and_two_more_are_four(make_set: MakeSet, tiny: PixelModelConfig) -> None:
    data = make_set()
    config = PixelOptimisation(updates=4, states=4, futures=2, warmup=1, loss=LOSS)
    unbroken = PixelTrainer(built(tiny, data), data, config, 7)
    for _ in range(2):
        unbroken.update()
    state = unbroken.capture()
    last = [unbroken.update() for _ in range(2)]
    resumed = PixelTrainer(built(tiny, data), data, config, 7)
    resumed.restore(2, state)
    assert [resumed.update() for _ in range(2)] == last
    for name, value in unbroken.capture().items():
        assert torch.equal(value, resumed.capture()[name]), name


def test_training_lowers_the_loss_and_refuses_what_cannot_be(make_set: MakeSet, tiny: PixelModelConfig) -> None:
    data = make_set()
    trainer = PixelTrainer(
        built(tiny, data), data, PixelOptimisation(updates=20, states=6, futures=2, warmup=1, loss=LOSS), 0
    )
    found = [trainer.update()["loss"] for _ in range(20)]
    assert np.mean(found[-4:]) < 0.9 * np.mean(found[:4])
    with pytest.raises(ValueError, match="picture 3 futures"):
        PixelTrainer(trainer.model, data, PixelOptimisation(futures=4), 0)
    torch.nn.init.constant_(trainer.model.encoder.outer.weight, float("nan"))
    with pytest.raises(FloatingPointError, match="learning_rate"):
        trainer.update()
