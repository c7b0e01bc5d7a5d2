"""How long to go on with a plan: for as long as reality stays inside the futures that were imagined for it.

After Wang et al. 2026, "When to trust imagination: adaptive action execution for world action models" (FFDC), arXiv
2605.06222. Their verifier is a learned network; here it is a distance to the nearest imagined future against a radius
that holds a stated share of true ones. Shape letters: S = states, K = imagined futures, M = true
futures, T = control steps, D = tracked elements.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foreact.worldmodels.calibration import conformal_quantile
from foreact.worldmodels.futures import Futures

__all__ = ["Envelope", "ExecutionConfig", "calibrated_radii", "nearest_distance", "shared_radii"]


@dataclass(frozen=True)
class ExecutionConfig:
    """When to plan anew.

    Attributes:
        shortest: Control steps that are executed whatever happens.
        longest: Control steps after which a new plan is made whatever happens.
        adaptive: Whether reality is held against the futures; if not, every plan runs for `longest` steps.
        level: Share of true futures that an envelope shall hold.
        least: Smallest radius [unit of the tracked elements].
    """

    shortest: int = 2
    longest: int = 8
    adaptive: bool = True
    level: float = 0.9
    least: float = 0.005

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.longest:
            raise ValueError(f"shortest={self.shortest}, longest={self.longest}: expected 1 <= shortest <= longest")
        if not 0 < self.level < 1 or not self.least > 0:
            raise ValueError(f"level={self.level}, least={self.least}: expected level in (0, 1) and least above 0")


def nearest_distance(forecast: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """How far what was seen is from the nearest imagined future, step by step.

    Args:
        forecast: (..., K, T, D).
        seen: (..., T, D).

    Returns:
        Euclidean distances, (..., T).
    """
    return np.linalg.norm(forecast - seen[..., None, :, :], axis=-1).min(-2)


def calibrated_radii(forecast: np.ndarray, truth: np.ndarray, level: float) -> np.ndarray:
    """Radii that hold a share of true futures, by split conformal prediction.

    Args:
        forecast: Imagined futures of calibration states, (S, K, T, D).
        truth: True futures of each, (S, M, T, D).
        level: Share.

    Returns:
        A radius per control step, (T,).

    Raises:
        CalibrationError: There are too few states for this level.
    """
    return conformal_quantile(nearest_distance(forecast[:, None], truth), level)


def shared_radii(forecast: np.ndarray, weights: np.ndarray, level: float, least: float) -> np.ndarray:
    """Radii from the futures themselves, where nothing was calibrated: how far each is from its nearest neighbour.

    Args:
        forecast: (K, T, D).
        weights: Of the futures, (K,), adding up to 1.
        level: Share of the futures' weight that has a neighbour within the radius.
        least: Smallest radius; with one future there is nothing else.

    Returns:
        A radius per control step, (T,).
    """
    count, steps, _ = forecast.shape
    if count == 1:
        return np.full(steps, least)
    apart = np.linalg.norm(forecast[:, None] - forecast[None], axis=-1)
    apart[np.arange(count), np.arange(count)] = np.inf
    nearest = apart.min(1)
    order = nearest.argsort(0)
    reached = np.cumsum(weights[order], axis=0) >= level - 1e-9
    rank = reached.argmax(0)
    return np.maximum(np.take_along_axis(nearest, order, 0)[rank, np.arange(steps)], least)


class Envelope:
    """The tube around the futures of the plan that is being executed.

    Args:
        config: When to plan anew.
        futures: Of the plan alone (B = 1).
        tracked: Elements that reality is judged by.
        radii: A radius per control step (T,) that was calibrated; None takes it from the futures.

    Raises:
        ValueError: The radii are not one per step, or `longest` is beyond the futures.
    """

    def __init__(
        self, config: ExecutionConfig, futures: Futures, tracked: tuple[int, ...], radii: np.ndarray | None = None
    ) -> None:
        self.config, self._tracked = config, list(tracked)
        self._forecast = futures.values[0, :, :, self._tracked].cpu().numpy()
        steps = self._forecast.shape[1]
        if config.longest > steps:
            raise ValueError(f"longest={config.longest}, but the futures end after {steps} steps")
        if radii is None:
            weights = futures.log_weights[0].exp().cpu().numpy()
            radii = shared_radii(self._forecast, weights, config.level, config.least)
        if radii.shape != (steps,):
            raise ValueError(f"expected one radius per step, ({steps},), got {radii.shape}")
        self.radii = np.maximum(radii, config.least)

    def distance(self, step: int, observed: np.ndarray) -> float:
        """How far an observation (O,) after `step` executed steps, counted from 1, is from the nearest future."""
        here = self._forecast[:, step - 1 : step]
        return float(nearest_distance(here, observed[self._tracked][None])[0])

    def goes_on(self, step: int, observed: np.ndarray) -> bool:
        """Whether the plan shall go on after `step` executed steps, counted from 1.

        Args:
            step: Steps executed.
            observed: What is seen after them, (O,).
        """
        if step < self.config.shortest:
            return True
        if step >= self.config.longest:
            return False
        # d_t = min_k |x_t - x_tk| <= r_t
        return not self.config.adaptive or self.distance(step, observed) <= self.radii[step - 1]
