import numpy as np
import pytest
import torch

from foreact.worldmodels.pixels.latents import Encoded, Forecast, copied
from foreact.worldmodels.pixels.measures import bootstrap, fit_linear, overlap, psnr, spread_of
from foreact.worldmodels.pixels.report import energy_figures, error_figures


def test_psnr_by_hand() -> None:
    truth = np.zeros((2, 4, 4, 3), np.uint8)
    drawn = truth.copy()
    drawn[0, 0, 0] = 51  # a fifth of 255 in one pixel of 32
    assert psnr(drawn, truth) == pytest.approx(10 * np.log10(25 * 32))
    where = np.zeros((2, 4, 4), bool)
    where[0, 0, 0] = True
    assert psnr(drawn, truth, where) == pytest.approx(10 * np.log10(25))
    with pytest.raises(ValueError, match="no pixel"):
        psnr(drawn, truth, np.zeros((2, 4, 4), bool))
    with pytest.raises(ValueError, match="cannot be compared"):
        psnr(drawn[:1], truth)


def test_the_effective_rank_by_hand() -> None:
    corners = torch.tensor([[1.0, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]])
    found = spread_of(corners)
    assert found.effective_rank == pytest.approx(2.0) and found.smallest == 0
    assert found.variance == pytest.approx(4 / 3 * 2 / 3)
    assert spread_of(corners * torch.tensor([1.0, 0, 0])).effective_rank == pytest.approx(1.0)
    assert spread_of(torch.ones(5, 3)).effective_rank == 0
    with pytest.raises(ValueError, match="finite"):
        spread_of(torch.full((5, 3), float("nan")))


def test_a_linear_map_is_found() -> None:
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    wanted = x @ torch.tensor([[1.0, 0], [2, -1], [0, 3]]) + torch.tensor([5.0, -5])
    fitted = fit_linear(x, wanted, ridge=1e-9)
    assert torch.allclose(fitted(x), wanted, atol=1e-3)
    assert fitted.explained(x, wanted).tolist() == pytest.approx([1, 1], abs=1e-5)
    half = torch.stack([wanted[:, 0], wanted[:, 1].flip(0)], 1)
    shares = fit_linear(x, half).explained(x, half).tolist()
    assert shares[0] > 0.99 and abs(shares[1]) < 0.3


def test_an_interval_holds_the_mean_and_narrows() -> None:
    values = np.random.default_rng(0).normal(3, 1, 1000)
    low, high = bootstrap(values)
    assert low < values.mean() < high and high - low == pytest.approx(4 / np.sqrt(1000), rel=0.2)
    low, high = bootstrap(np.stack([2 * values, values], 1), ratio=True)
    assert low == pytest.approx(2) and high == pytest.approx(2)


def world(states: int = 40, futures: int = 16) -> Encoded:
    """Each future goes left or right of the last latent."""
    generator = torch.Generator().manual_seed(0)
    last = torch.randn(states, 2, generator=generator)
    side = torch.randint(0, 2, (states, futures, 1, 1), generator=generator) * 2.0 - 1
    way = torch.tensor([[0.5, 0.0], [1.0, 0.0]]) * side
    return Encoded(torch.zeros(states, 3), torch.zeros(states, 4, 2), last, last[:, None, None] + way)


def test_two_codes_close_the_gap_that_one_future_leaves() -> None:
    known = world()
    still = copied(known)
    ways = torch.tensor([[0.5, 0.0], [1.0, 0.0]]) * torch.tensor([1.0, -1.0])[:, None, None]
    both = Forecast(known.last[:, None, None] + ways, torch.full((40, 2), 0.5).log())
    found = {"model": both, "deterministic": still, "copy_last": still}
    figures = energy_figures(found, known)
    scores = figures["energy_score"]
    assert isinstance(scores, dict)
    assert scores["deterministic"] == pytest.approx(0.75, abs=1e-3)  # distances 0.5 and 1, nothing to subtract
    assert scores["model"] == pytest.approx(0.375, abs=1e-3)  # half of the truth's spread
    assert isinstance(figures["gap_closed"], float) and 0.95 < figures["gap_closed"] < 1.25
    # what is expected of them is the same
    assert error_figures(found, known)["model"] == pytest.approx([1.0, 1.0], abs=1e-4)


def test_overlap_by_hand() -> None:
    drawn, truth = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    drawn[0, 0, :3] = truth[0, 0, 1:] = True  # two of four in both
    truth[1, 2, 2] = True  # and one that was not drawn
    assert overlap(drawn, truth) == 2 / 5
    assert overlap(truth, truth) == 1.0 and overlap(drawn & ~drawn, drawn & ~drawn) is None
