"""Margin, value, limit and pictures: single steps against numbers worked out by hand."""

import numpy as np
import pytest
import torch

from foreact.worldmodels.safety.drawing import draw
from foreact.worldmodels.safety.driving import random_drives
from foreact.worldmodels.safety.latent import LatentConfig, LatentModel, Transitions, fit_latent
from foreact.worldmodels.safety.margin import MarginConfig, fit_margin, hinge
from foreact.worldmodels.safety.networks import Ensemble
from foreact.worldmodels.safety.systems import DubinsCar
from foreact.worldmodels.safety.uncertainty import (
    AugmentedMargin,
    DoubtConfig,
    conformal_limit,
    disagreement,
    fit_doubt,
)
from foreact.worldmodels.safety.value import Imagined, ValueConfig, backup, fit_value


def test_one_update_of_the_value_gives_the_numbers_worked_out_by_hand() -> None:
    margin, following = torch.tensor([[0.4, 0.2]]), torch.tensor([[-1.0, 0.9]])
    # .1 * .4 + .9 * min(.4, -1) and .1 * .2 + .9 * min(.2, .9)
    assert torch.allclose(backup(margin, following, 0.9), torch.tensor([[-0.86, 0.2]]))


def test_the_discount_rises_geometrically_and_then_stays() -> None:
    config = ValueConfig(updates=400, first_gamma=0.9, last_gamma=0.999)
    assert config.gamma(0) == pytest.approx(0.9)
    assert config.gamma(150) == pytest.approx(0.99)  # half of the way: 1 - gamma is the geometric mean
    assert config.gamma(300) == config.gamma(399) == pytest.approx(0.999)


def test_the_hinge_weighs_both_classes_alike() -> None:
    margins = torch.tensor([2.0, 0.5, 0.5, -0.5])
    failed = torch.tensor([False, False, False, True])
    # safe: (0 + .5 + .5) / 3; failed: 1 - .5
    assert hinge(margins, failed).item() == pytest.approx(1 / 3 + 0.5)
    with pytest.raises(ValueError, match="one class only"):
        hinge(margins, torch.zeros(4, dtype=torch.bool))


def test_labels_that_do_not_fit_are_refused() -> None:
    config = MarginConfig(updates=1)
    with pytest.raises(ValueError, match="one class only"):
        fit_margin(torch.zeros(5, 2), torch.ones(5, dtype=torch.bool), config, 0)
    with pytest.raises(ValueError, match="expected bool labels"):
        fit_margin(torch.zeros(5, 2), torch.ones(4, dtype=torch.bool), config, 0)


def test_a_bounded_margin_falls_by_so_much_per_step_and_a_free_one_leaps() -> None:
    latents = torch.linspace(-3.0, 6.0, 901)[:, None]
    failed = latents[:, 0] < 0
    places = torch.tensor([[-2.0], [-0.5], [0.5], [2.0]])
    bounded = fit_margin(latents, failed, MarginConfig(width=16, updates=250, slope=0.2), 0, step=0.5)(places)
    # 0.2 over a step of 0.5: l = 0.4 z, level 0 where the labels change
    assert torch.allclose(bounded, 0.4 * places[:, 0], atol=0.1)
    free = fit_margin(latents, failed, MarginConfig(width=16, updates=250), 0)(places)
    assert free[1] < -0.9 and free[2] > 0.9
    # the rarer class does not push level 0 away from itself
    rare = latents[:, 0] < -2.5
    margins = fit_margin(latents, rare, MarginConfig(width=16, updates=100, slope=0.2), 0, step=0.5)(latents)
    assert int((margins < 0).sum()) == int(rare.sum())


def test_the_conformal_limit_is_the_right_order_statistic() -> None:
    scores = np.arange(1.0, 20.0)  # 19 episodes: ceil(20 * .9) = 18
    assert conformal_limit(scores, 0.1) == 18
    with pytest.raises(ValueError, match="too few"):
        conformal_limit(scores, 0.01)
    with pytest.raises(ValueError, match="finite"):
        conformal_limit(np.array([1.0, np.nan]), 0.1)


def test_the_conformal_limit_holds_for_new_episodes() -> None:
    generator = np.random.default_rng(0)
    exceeded = [np.mean(generator.gamma(2, size=200) > conformal_limit(generator.gamma(2, size=200), 0.1))
                for _ in range(200)]  # fmt: skip
    assert np.mean(exceeded) == pytest.approx(0.1, abs=0.01)


def test_what_is_unknown_lowers_the_margin() -> None:
    torch.manual_seed(0)
    model = LatentModel((4,), 1, LatentConfig(members=3))
    latents, actions = torch.randn(6, 4), torch.zeros(6, 1)
    unsure = disagreement(model, latents, actions)
    members = model.predictions(latents, actions)
    assert torch.allclose(unsure**2, ((members - members.mean(0)) ** 2).sum(0).sum(-1) / 2, rtol=1e-4)
    limit = float(unsure.median())
    term = AugmentedMargin(model, lambda z: torch.ones(len(z)), None, limit, slope=2.0)(latents, actions)
    # min{1, kappa (eps - u)} with kappa = 2 / eps
    assert torch.allclose(term, (2 * (1 - unsure / limit)).clamp(-1, 1))


def test_doubt_is_the_spread_of_members_fitted_to_functions_of_their_own() -> None:
    config, latents = DoubtConfig(features=20, length=1.0, noise=0.5), torch.randn(30, 2) * 0.3
    doubt = fit_doubt(latents, config, 0)
    places = torch.tensor([[0.0, 0.0], [3.0, 3.0]])
    phi, at = doubt.features(latents), doubt.features(places)
    generator = torch.Generator().manual_seed(1)
    own = torch.randn(20, 20_000, generator=generator)  # the random function of each member, linear in the features
    noisy = phi @ own + config.noise * torch.randn(30, 20_000, generator=generator)
    fitted = torch.linalg.solve(phi.T @ phi + config.noise**2 * torch.eye(20), phi.T @ noisy)
    # what is left of a member's own function after the fit spreads as the closed form says
    assert torch.allclose((at @ (fitted - own)).std(dim=1), doubt(places, places), rtol=0.03)
    assert doubt(places, places)[1] > 2 * doubt(places, places)[0]


def test_members_of_an_ensemble_are_perceptrons_of_their_own() -> None:
    torch.manual_seed(0)
    ensemble, inputs = Ensemble(3, 2, 8, 1), torch.randn(5, 2)
    hidden = inputs
    for index in range(3):
        hidden = hidden @ ensemble.weights[index][1] + ensemble.biases[index][1]
        hidden = torch.nn.functional.silu(hidden) if index < 2 else hidden
    assert torch.allclose(ensemble(inputs)[1], hidden, atol=1e-6)
    assert ensemble(inputs.expand(3, 5, 2)).shape == (3, 5, 1)


def test_pictures_show_where_the_car_is_and_where_it_heads() -> None:
    car = DubinsCar()
    east, west, gone = draw(car, np.array([[1.0, 0.8, 0.0], [1.0, 0.8, np.pi], [9.0, 9.0, 0.0]])).astype(int)
    assert east.shape == (3, 32, 32) and (east != west).any()
    changed = np.abs(east - gone).sum(axis=0)
    rows, columns = np.nonzero(changed > 60)
    # 28 of 32 pixels cover 3.2 m; rows count from the top
    size = 3.2 / 28
    assert (columns.mean() + 0.5 - 16) * size == pytest.approx(1.0, abs=0.1)
    assert (16 - rows.mean() - 0.5) * size == pytest.approx(0.8, abs=0.1)
    yellow = (east - gone)[0] - (east - gone)[2] > 20  # the nose alone
    assert np.nonzero(yellow)[1].mean() > columns.mean() + 0.5
    hidden = DubinsCar(unseen=((1.0, 0.8, 0.3),))
    assert (draw(hidden, np.array([[9.0, 9.0, 0.0]])) == gone).all()
    assert hidden.margin(np.array([[1.0, 0.8, 0.0]])) == pytest.approx(-0.3)


def test_steps_that_leave_the_arena_or_touch_the_avoided_disc_do_not_count() -> None:
    car = DubinsCar()
    drives = random_drives(car, 300, 10, np.random.default_rng(0), avoided=(0.5, 0.5, 0.4))
    for horizon in (1, 4):
        data = drives.transitions(car.observe(drives.every()), horizon)
        along = data.frames[data.paths]
        assert along.shape[1:] == (horizon + 1, 4) and data.actions.shape[1:] == (horizon, 1)
        assert (np.abs(along[..., :2]) <= car.half_width).all()
        assert np.hypot(along[..., 0] - 0.5, along[..., 1] - 0.5).min() > 0.4
        # actions lead from frame to frame
        states = drives.every()[data.paths]
        assert np.allclose(car.step(states[:, -2], data.actions[:, -1]), states[:, -1])
    assert 0.5 < drives.kept.mean() < 0.95


def test_bad_transitions_are_refused() -> None:
    good = np.zeros((4, 3), np.float32)
    paths, actions = np.array([[0, 1], [2, 3]]), np.zeros((2, 1, 1), np.float32)
    Transitions(good, paths, actions)
    with pytest.raises(ValueError, match=r"expected paths \(N, H \+ 1\)"):
        Transitions(good, paths, actions[:1])
    with pytest.raises(ValueError, match="outside the 4 frames"):
        Transitions(good, paths + 1, actions)
    with pytest.raises(ValueError, match="frames are not finite"):
        Transitions(np.full_like(good, np.nan), paths, actions)
    with pytest.raises(ValueError, match=r"expected \(3, 32, 32\)"):
        LatentModel((3, 16, 16), 1, LatentConfig())


def test_the_model_learns_the_same_from_the_same_seed() -> None:
    car, config = DubinsCar(), LatentConfig(updates=5, width=8, members=2)
    drives = random_drives(car, 20, 5, np.random.default_rng(0))
    data = drives.transitions(car.observe(drives.every()))
    one, same, other = (fit_latent(data, config, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["members.weights.0"], other["members.weights.0"])


def test_failing_latents_that_are_rare_are_drawn_as_often_as_asked() -> None:
    now = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    margin = torch.ones(2000, 1)
    now[:2], margin[:2] = torch.tensor([1.5, 1.5]), -1.0
    data = Imagined(now, now[:, None], margin)  # every action stays where it is
    learned = [
        fit_value(data, ValueConfig(width=16, updates=60, batch=64, failing=share), 0)(now[:1]).item()
        for share in (0.5, 0.0)
    ]
    assert learned[0] < -0.5 and learned[1] > -0.2
