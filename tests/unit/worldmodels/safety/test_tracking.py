"""Latents over time: single steps against numbers worked out by hand, and what is left of an observation's error."""

import pytest
import torch

from foreact.worldmodels.safety.latent import LatentConfig, LatentModel
from foreact.worldmodels.safety.tracking import Tracker


def drifting(by: float) -> LatentModel:
    """A model in which every latent moves on by so much per step, whatever is done."""
    model = LatentModel((2,), 1, LatentConfig(members=2, width=4))
    with torch.no_grad():
        model.members.weights[2].zero_()
        model.members.biases[2].fill_(by)
    return model


def test_a_latent_is_mixed_from_what_is_seen_and_what_was_expected() -> None:
    tracker = Tracker(drifting(0.5), 3, gain=0.25)
    both, still = torch.tensor([0, 2]), torch.zeros(2, 1)
    first = tracker.see(both, torch.tensor([[1.0, 1.0], [4.0, 0.0]]))
    assert first.tolist() == [[1.0, 1.0], [4.0, 0.0]]  # nothing was expected yet
    tracker.act(both, first, still)
    # .75 * (4 + .5) + .25 * 2 and .75 * .5 + .25 * 2; episode 1 begins only now
    later = tracker.see(torch.tensor([2, 1]), torch.tensor([[2.0, 2.0], [7.0, 7.0]]))
    assert torch.allclose(later, torch.tensor([[3.875, 0.875], [7.0, 7.0]]))


def test_a_gain_of_one_is_what_is_seen() -> None:
    tracker, one = Tracker(drifting(0.5), 1, gain=1.0), torch.tensor([0])
    tracker.act(one, tracker.see(one, torch.tensor([[9.0, 9.0]])), torch.zeros(1, 1))
    assert torch.equal(tracker.see(one, torch.tensor([[0.1, 0.3]])), torch.tensor([[0.1, 0.3]]))
    for wrong in (0.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="gain is"):
            Tracker(drifting(0.5), 1, wrong)


def test_errors_that_are_new_every_time_shrink_as_the_gain_says() -> None:
    generator, episodes = torch.Generator().manual_seed(0), torch.arange(4000)
    tracker, actions = Tracker(drifting(0.0), 4000, gain=0.25), torch.zeros(4000, 1)
    latents = torch.zeros(4000, 2)
    for _ in range(40):
        latents = tracker.see(episodes, torch.randn(4000, 2, generator=generator))
        tracker.act(episodes, latents, actions)
    # the variance of an exponential mean is k / (2 - k) of one observation's
    assert latents.var().item() == pytest.approx(0.25 / 1.75, rel=0.05)
