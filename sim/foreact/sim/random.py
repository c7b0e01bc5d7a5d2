"""Random numbers of many worlds at once, each world with a stream of its own that can be copied and put back.

A draw depends on the world's key and on how many numbers it has drawn, on nothing else: not on other worlds, their
number, their order or threads. Source of the mixing function: Steele, Lea and Flood 2014, "Fast splittable
pseudorandom number generators", figure 17. Shape letters: N = worlds, n = selected worlds, k = numbers per world.
"""

from __future__ import annotations

import numpy as np

__all__ = ["WorldRandom"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class WorldRandom:
    """One stream per world.

    Args:
        seed: Of all streams together.
        nworld: N.
    """

    def __init__(self, seed: int, nworld: int) -> None:
        self.key = np.zeros(nworld, np.uint64)
        self.drawn = np.zeros(nworld, np.uint64)
        self.seed(np.arange(nworld), np.arange(nworld, dtype=np.uint64) + _mixed(np.array([seed], np.uint64)))

    def seed(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        """Start the streams of some worlds anew.

        Args:
            ids: Worlds, int (n,).
            seeds: One number each, (n,).
        """
        self.key[ids] = _mixed(np.asarray(seeds).astype(np.uint64) * GOLDEN + GOLDEN)
        self.drawn[ids] = 0

    def uniform(
        self, ids: np.ndarray, k: int, low: float | np.ndarray = 0.0, high: float | np.ndarray = 1.0
    ) -> np.ndarray:
        """Numbers in [low, high), float64 (n, k)."""
        counters = self.drawn[ids][:, None] + np.arange(k, dtype=np.uint64)
        self.drawn[ids] += np.uint64(k)
        bits = _mixed(self.key[ids][:, None] + GOLDEN * (counters + np.uint64(1)))
        return low + (high - low) * ((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53)

    def normal(self, ids: np.ndarray, k: int, scale: float = 1.0) -> np.ndarray:
        """Gaussian numbers, float64 (n, k), by Box and Muller's transform."""
        pairs = self.uniform(ids, 2 * k)
        # z = sqrt(-2 ln u) cos(2 pi v), u in (0, 1]
        return scale * np.sqrt(-2 * np.log(1 - pairs[:, :k])) * np.cos(2 * np.pi * pairs[:, k:])


def _mixed(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
