"""Figures of a model of pictures on held-out states: errors, energy scores, swapped actions, collapse, pictures.

Shape letters: S = states, P = pictured futures, F = pictured moments, D = latent elements, K = futures of a forecast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from foreact.episodes.outcome import JSON
from foreact.worldmodels.pixels.latents import Encoded, Forecast, coded, copied, linear, one, scores
from foreact.worldmodels.pixels.measures import bootstrap, fit_linear, overlap, psnr, spread_of
from foreact.worldmodels.pixels.model import PixelModel
from foreact.worldmodels.pixels.pictures import PixelBranches

__all__ = [
    "collapse_figures",
    "energy_figures",
    "error_figures",
    "forecasts",
    "picture_figures",
    "segment_figures",
    "swap_figures",
    "swapped",
]

MOVED = 12  # a pixel has moved if one of its colours differs by more than this of 255
PICTURED = 64  # states that are decoded
STAYED = 0.5  # overlap with the last frame under which a thing has moved


def forecasts(model: PixelModel, known: Encoded, train: Encoded) -> dict[str, Forecast]:
    """What the model and those that it is held against say, by name."""
    return {
        "model": coded(model, known),
        "deterministic": one(model, known),
        "linear": linear(known, train),
        "copy_last": copied(known),
    }


def error_figures(found: Mapping[str, Forecast], known: Encoded) -> dict[str, JSON]:
    """Distance of expected futures to the true ones at each moment over that of copying the last latent, by name."""
    last = _distances(found["copy_last"].mean, known.later)
    return {
        name: [round(float(each), 4) for each in _distances(forecast.mean, known.later) / last]
        for name, forecast in found.items()
        if name != "copy_last"
    }


def energy_figures(found: Mapping[str, Forecast], known: Encoded) -> dict[str, JSON]:
    """Energy scores against one half of the true futures, the other half being the floor, and the gap closed."""
    half = known.later.shape[1] // 2
    truth = known.later[:, half : 2 * half]
    floor = Forecast(known.later[:, :half], torch.full((len(truth), half), 1 / half).log())
    each = {name: scores(forecast, truth) for name, forecast in found.items()} | {"floor": scores(floor, truth)}
    gap = np.stack([each["deterministic"] - each["model"], each["deterministic"] - each["floor"]], axis=1)
    closed = gap.mean(0)[0] / gap.mean(0)[1]
    means = {name: round(float(values.mean()), 4) for name, values in each.items()}
    return {
        "energy_score": means,
        "gap_closed": round(float(closed), 4),
        "gap_closed_interval": [round(value, 4) for value in bootstrap(gap, ratio=True)],
    }


def swapped(model: PixelModel, known: Encoded, seed: int = 0) -> Forecast:
    """What the model forecasts under actions of another state."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(known.actions), generator=generator)
    other = order[(torch.argsort(order) + 1) % len(order)]  # one cycle: no state keeps its actions
    return coded(model, known, known.actions[other])


def swap_figures(model: PixelModel, known: Encoded, seed: int = 0) -> dict[str, JSON]:
    """Energy scores under actions of another state over those under the right ones, and how often they are worse."""
    right = scores(coded(model, known), known.later)
    wrong = scores(swapped(model, known, seed), known.later)
    ratio = np.stack([wrong, right], axis=1)
    return {
        "swapped_over_right": round(float(wrong.mean() / right.mean()), 4),
        "swapped_over_right_interval": [round(value, 4) for value in bootstrap(ratio, ratio=True)],
        "swapped_is_worse": round(float((wrong > right).mean()), 4),
    }


def collapse_figures(
    known: Encoded, train: Encoded, positions: np.ndarray, train_positions: np.ndarray, names: Sequence[str]
) -> dict[str, JSON]:
    """How far latents spread, and how much of true positions a linear map reads off them.

    Args:
        known: Held-out states.
        train: Training states.
        positions: Tracked positions at all pictured moments of the held-out futures [m], (S, P, F, E).
        train_positions: The same of the training states.
        names: Of the E positions.
    """
    spread = spread_of(known.later.flatten(0, 2))
    wanted, learnt = (torch.from_numpy(each).flatten(0, 2) for each in (positions, train_positions))
    probe = fit_linear(train.later.flatten(0, 2), learnt)
    explained = probe.explained(known.later.flatten(0, 2), wanted)
    return {
        "effective_rank": round(spread.effective_rank, 2),
        "variance": round(spread.variance, 6),
        "smallest_eigenvalue_share": round(spread.smallest, 6),
        "positions_explained": {name: round(float(share), 4) for name, share in zip(names, explained, strict=True)},
    }


def picture_figures(
    model: PixelModel, data: PixelBranches, known: Encoded, found: Mapping[str, Forecast]
) -> dict[str, JSON]:
    """PSNR of decoded futures [dB], of all pixels and of those that moved since the last frame.

    Args:
        model: Whose decoder is used.
        data: Held-out pictures.
        known: Their latents.
        found: Forecasts; a forecast is judged by its most likely future and, with several, by its best one too.
    """
    states = slice(0, PICTURED)
    truth = data.later["rgb"][states, 0]
    last = np.broadcast_to(data.seen["rgb"][states, -1:], truth.shape)
    moved = np.asarray((np.abs(truth.astype(np.int16) - last) > MOVED).any(-1))
    drawn = {"true latents": model.decode(known.later[states, 0])["rgb"], "last frame": last}
    for name, forecast in found.items():
        if name != "copy_last":  # the last frame itself is sharper than what the decoder makes of its latent
            likely = forecast.log_weights[states].argmax(1)
            drawn[name] = model.decode(forecast.latents[states][torch.arange(len(likely)), likely])["rgb"]
    best = _nearest(found["model"].latents[states], known.later[states, 0])
    drawn["model, best of K"] = model.decode(best)["rgb"]
    return {
        "psnr_db": {name: round(psnr(each, truth), 2) for name, each in drawn.items()},
        "psnr_moved_db": {name: round(psnr(each, truth, moved), 2) for name, each in drawn.items()},
        "moved_share": round(float(moved.mean()), 4),
    }


def segment_figures(
    model: PixelModel, data: PixelBranches, known: Encoded, found: Mapping[str, Forecast], things: Mapping[str, int]
) -> dict[str, JSON]:
    """How well the drawn pixels of things overlap with the true ones, in all frames and where the thing has moved.

    Args:
        model: Whose decoder is used.
        data: Held-out pictures.
        known: Their latents.
        found: Forecasts by name, each judged by the future of its K that is nearest to the true one.
        things: Numbers of segments as they stand in pictures, by name.
    """
    states = slice(0, PICTURED)
    truth = data.later["segmentation"][states, 0]
    last = np.broadcast_to(data.seen["segmentation"][states, -1:], truth.shape)
    drawn = {"true latents": model.decode(known.later[states, 0])["segmentation"], "last frame": last}
    for name, forecast in found.items():
        best = _nearest(forecast.latents[states], known.later[states, 0])
        drawn[name] = model.decode(best)["segmentation"]
    every: dict[str, JSON] = {}
    for thing, number in things.items():
        there, was = truth == number, last == number
        moved = (there & was).sum((2, 3)) < STAYED * (there | was).sum((2, 3))
        every[thing] = {
            name: {"all": overlap(each == number, there), "moved": overlap((each == number)[moved], there[moved])}
            for name, each in drawn.items()
        } | {"moved_share": round(float(moved.mean()), 4)}
    return {"overlap": every}


def _nearest(latents: Tensor, truth: Tensor) -> Tensor:
    """Of K futures (S, K, F, D) the one nearest to the true one (S, F, D)."""
    nearest = (latents - truth[:, None]).square().sum((2, 3)).argmin(1)
    return latents[torch.arange(len(latents)), nearest]


def _distances(mean: Tensor, truth: Tensor) -> Tensor:
    """Mean distance at each moment, (F,)."""
    return (mean[:, None] - truth).norm(dim=-1).mean((0, 1))
