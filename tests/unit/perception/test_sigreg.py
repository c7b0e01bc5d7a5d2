import math

import pytest
import torch
from torch import Tensor

from foreact.perception.sigreg import epps_pulley, random_lines, sigreg


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def closed_form(x: Tensor) -> Tensor:
    """The integral over the whole line, with weight exp(-t^2 / 2), worked out: cos(t a) exp(-b t^2 / 2) integrates to
    sqrt(2 pi / b) exp(-a^2 / (2 b))."""
    pairs = torch.exp(-((x[:, None] - x[None]) ** 2) / 2).mean()
    cross = torch.exp(-(x**2) / 4).mean() / math.sqrt(2)
    return len(x) * math.sqrt(2 * math.pi) * (pairs - 2 * cross + 1 / math.sqrt(3))


@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
def test_the_statistic_is_the_integral_that_it_approximates(shift: float) -> None:
    x = draws(200, seed=3) + shift
    found = epps_pulley(x[:, None]).item()
    # beyond 3 the weight leaves less than N |difference|^2 times 0.0068
    assert found == pytest.approx(closed_form(x).item(), abs=0.002 * len(x))
    assert found == pytest.approx(closed_form(x).item(), rel=0.05)


def test_by_hand_for_samples_at_zero() -> None:
    # phi_N = 1: (1 - exp(-t^2/2))^2 exp(-t^2/2) integrates to sqrt(2 pi) (1 - 2 / sqrt 2 + 1 / sqrt 3)
    whole = math.sqrt(2 * math.pi) * (1 - math.sqrt(2) + 1 / math.sqrt(3))
    found = epps_pulley(torch.zeros(4, 1)).item()
    assert found == pytest.approx(4 * whole, abs=0.03)  # the tails beyond 3 hold 4 * 0.0068


@pytest.mark.parametrize("count", [50, 400])
def test_the_average_over_gaussian_samples_is_known(count: int) -> None:
    # N E|phi_N - phi|^2 = 1 - exp(-t^2), so the average is sqrt(2 pi) (1 - 1 / sqrt 3)
    found = epps_pulley(draws(count, 2000)).mean().item()
    assert found == pytest.approx(math.sqrt(2 * math.pi) * (1 - 1 / math.sqrt(3)), rel=0.06)


def test_gaussian_latents_pass_whatever_their_number_and_others_fail() -> None:
    lines = random_lines(16, 256, torch.Generator().manual_seed(1))
    few, many = (sigreg(draws(count, 16), lines).item() for count in (256, 4096))
    assert 0.2 < few < 1.5 and 0.2 < many < 1.5
    latents = draws(256, 16)
    narrow = latents.clone()
    narrow[:, 8:] = 0  # half of the elements have collapsed
    assert sigreg(narrow, lines) > 4 * few
    assert sigreg(torch.zeros(256, 16), lines) > 30 * few
    assert sigreg(latents + 1, lines) > 10 * few
    assert sigreg(2 * latents, lines) > 10 * few


def test_descent_makes_a_collapsed_cloud_isotropic() -> None:
    latents = (0.05 * draws(256, 4) + 0.5).requires_grad_()
    optimiser = torch.optim.Adam([latents], lr=0.05)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        optimiser.zero_grad()
        sigreg(latents, random_lines(4, 32, generator)).backward()
        optimiser.step()
    spread = torch.linalg.eigvalsh(torch.cov(latents.detach().T))
    assert latents.detach().mean(0).abs().max() < 0.15
    assert spread.min() > 0.6 and spread.max() < 1.5


def test_lines_are_unit_and_repeat() -> None:
    first, second = (random_lines(8, 64, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.allclose(first.norm(dim=0), torch.ones(64))


@pytest.mark.parametrize("shape", [(1, 4), (8,), (8, 5)])
def test_wrong_shapes_are_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="sigreg"):
        sigreg(torch.zeros(*shape), random_lines(4, 3, torch.Generator().manual_seed(0)))
