from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from foreact.worldmodels.models.batch import Draws
from foreact.worldmodels.pixels.model import PixelModel, PixelModelConfig
from foreact.worldmodels.pixels.objective import (
    PixelBatch,
    PixelLossWeights,
    batch_of,
    latent_losses,
    outcomes_at_moments,
)
from foreact.worldmodels.pixels.pictures import PixelBranches
from foreact.worldmodels.pixels.signature import PixelSignature
from foreact.worldmodels.pixels.trainer import PixelOptimisation, PixelTrainer

MakeSet = Callable[..., PixelBranches]
LOSS = PixelLossWeights(winner=0.5, lines=8)
SHORT = {"updates": 2, "states": 4, "futures": 2, "moments": 2, "readers": 2, "batch": 4, "drawn": 4, "warmup": 1}


def built(config: PixelModelConfig, data: PixelBranches) -> PixelModel:
    torch.manual_seed(0)
    model = config.build(PixelSignature.of(data))
    model.prepare(data)
    return model


def some(data: PixelBranches, states: list[int], futures: list[int], moments: list[int]) -> PixelBatch:
    chosen = (np.array(states), np.array([futures] * len(states)), np.array(moments))
    return batch_of(data, outcomes_at_moments(data), *chosen)


def terms(
    model: PixelModel, data: PixelBranches, weights: PixelLossWeights = LOSS, moments: tuple[int, ...] = (0, 1)
) -> dict[str, torch.Tensor]:
    batch = some(data, [0, 1, 2, 3], [0, 2], list(moments))
    kept = torch.ones(4, 3, dtype=torch.bool)
    return latent_losses(model, batch, kept, weights, Draws(torch.Generator().manual_seed(0), torch.device("cpu")))


def test_batches_hold_the_frames_seen_then_the_futures(make_set: MakeSet) -> None:
    data = make_set()
    batch = some(data, [5, 1], [0, 2], [1])
    frames = batch.pictures["segmentation"].unflatten(0, (2, 4)).numpy()
    assert np.array_equal(frames[0, :2], data.seen["segmentation"][5])
    assert np.array_equal(frames[1, 3], data.later["segmentation"][1, 2, 1])
    assert np.array_equal(batch.actions.numpy(), data.branches.actions[[5, 1]])
    assert torch.equal(batch.outcomes[1, 1, 0], outcomes_at_moments(data)[1, 2, 1])


def test_outcomes_at_moments_by_hand(make_set: MakeSet) -> None:
    data = make_set()
    branches, found = data.branches, outcomes_at_moments(data).numpy()
    assert found.shape == (6, 3, 2, 3)
    assert np.array_equal(found[..., 0], branches.success[:, :3, [3, 7]])
    assert np.array_equal(found[:, :, 1, 1], branches.contact[:, :3, 4:].any(2))
    assert np.allclose(found[:, :, 0, 2], branches.reward[:, :3, :4].mean(2))


def test_a_moment_left_out_is_no_target(make_set: MakeSet, tiny: PixelModelConfig) -> None:
    data = make_set()
    model = built(tiny, data).eval()
    for each in model.predictor.parameters():
        torch.nn.init.zeros_(each)  # the forecast is z_0
    first, last, both = (terms(model, data, LOSS, each)["winner"].item() for each in ((0,), (1,), (0, 1)))
    assert first != last and both == pytest.approx((first + last) / 2, rel=1e-4)


def test_nothing_is_stopped_on_the_way_to_the_targets(make_set: MakeSet, tiny: PixelModelConfig) -> None:
    data = make_set()
    model = built(tiny, data)
    for each in model.predictor.parameters():
        torch.nn.init.zeros_(each)  # the forecast is z_0: the gradient of |z_f - z_0|^2 reaches both ends
    batch = some(data, [0, 1, 2, 3], [0], [0, 1])
    given = batch.pictures["rgb"].requires_grad_()
    draws = Draws(torch.Generator().manual_seed(3), torch.device("cpu"))
    latent_losses(model.eval(), batch, torch.ones(4, 3, dtype=torch.bool), LOSS, draws)["winner"].backward()
    assert given.grad is not None
    reached = given.grad.unflatten(0, (4, 4)).abs().amax((2, 3, 4))
    assert (reached[:, 1:] > 0).any(0).all()  # the frame at the fork and both later ones
    assert (reached[:, 0] == 0).all()  # the earlier one is no target


def test_terms_follow_their_weights(make_set: MakeSet, tiny: PixelModelConfig) -> None:
    data = make_set()
    model = built(tiny, data)
    once = terms(model, data)
    assert "sigreg" not in terms(model, data, replace(LOSS, sigreg=0.0))
    assert "places" not in terms(model, data, replace(LOSS, places=0.0))
    assert terms(model, data, replace(LOSS, energy=2.0))["energy"].item() == pytest.approx(2 * once["energy"].item())
    with pytest.raises(ValueError, match="must not be negative"):
        PixelLossWeights(sigreg=-1.0)


def test_latents_stand_still_while_others_read_them(make_set: MakeSet, tiny: PixelModelConfig) -> None:
    data = make_set()
    model = built(tiny, data)
    trainer = PixelTrainer(model, data, PixelOptimisation(**SHORT, loss=LOSS), 7)
    drawn = model.decoder.draw.weight.clone()
    for _ in range(2):
        trainer.update()
    assert torch.equal(model.decoder.draw.weight, drawn) and not model.ridge.any()
    encoder = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    rival = [each.clone() for each in model.rival.parameters()]
    found = trainer.update()
    assert {"rival", "pictures"} <= found.keys() and "sigreg" not in found
    trainer.update()
    assert all(torch.equal(value, encoder[name]) for name, value in model.encoder.state_dict().items())
    assert not torch.equal(model.decoder.draw.weight, drawn) and model.ridge.any()
    assert any(not torch.equal(each, old) for each, old in zip(model.rival.parameters(), rival, strict=True))


@pytest.mark.parametrize("stopped", [1, 2, 3])
def test_a_resumed_training_is_an_unbroken_one(stopped: int, make_set: MakeSet, tiny: PixelModelConfig) -> None:
    data = make_set()
    config = PixelOptimisation(**SHORT, loss=LOSS)
    unbroken = PixelTrainer(built(tiny, data), data, config, 7)
    for _ in range(stopped):
        unbroken.update()
    state = unbroken.capture()
    last = [unbroken.update() for _ in range(4 - stopped)]
    resumed = PixelTrainer(built(tiny, data), data, config, 7)
    resumed.restore(stopped, state)
    assert [resumed.update() for _ in range(4 - stopped)] == last
    for name, value in unbroken.capture().items():
        assert torch.equal(value, resumed.capture()[name]), name


def test_training_lowers_the_loss_and_refuses_what_cannot_be(make_set: MakeSet, tiny: PixelModelConfig) -> None:
    data = make_set()
    config = PixelOptimisation(**{**SHORT, "updates": 30, "readers": 30}, learning_rate=5e-3, loss=LOSS)
    trainer = PixelTrainer(built(tiny, data), data, config, 0)
    found = [trainer.update()["loss"] for _ in range(60)]
    for stage in (found[:30], found[30:]):
        assert np.mean(stage[-10:]) < 0.95 * np.mean(stage[:5])
    assert config.rate(29) < 0.01 * config.rate(5) and config.rate(31) == config.rate(1)
    with pytest.raises(ValueError, match="picture 3 futures"):
        PixelTrainer(trainer.model, data, PixelOptimisation(futures=4), 0)
    torch.nn.init.constant_(trainer.model.encoder.outer.weight, float("nan"))
    broken = PixelTrainer(trainer.model, data, config, 0)
    with pytest.raises(FloatingPointError, match="learning_rate"):
        broken.update()
