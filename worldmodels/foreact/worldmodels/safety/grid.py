"""Safety values on a grid: what learned values are held against.

V(x) is the largest margin that some sequence of actions keeps for ever from x. Sources: Bansal et al. 2017,
"Hamilton-Jacobi reachability: a brief overview"; Fisac et al. 2019, "Bridging Hamilton-Jacobi safety analysis and
reinforcement learning", equation 7 (the discounted form). Shape letters: G = grid points, S = state elements,
n = actions, C = corners of a cell.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from foreact.worldmodels.safety.systems import SafeSystem

__all__ = ["Grid", "Solution", "overlap", "solve"]


@dataclass(frozen=True)
class Grid:
    """Points of a box, evenly spaced along each axis.

    Attributes:
        axes: Coordinates along each axis; those of an angle leave its end out, which is its start.
        periodic: Which axes are angles.
    """

    axes: tuple[np.ndarray, ...]
    periodic: tuple[bool, ...]

    @classmethod
    def over(cls, system: SafeSystem, sizes: tuple[int, ...]) -> Grid:
        """A grid over a system's box.

        Args:
            system: Whose box.
            sizes: Points along each axis, at least 2.

        Raises:
            ValueError: Not one size per state element, or fewer than 2 points.
        """
        if len(sizes) != len(system.low) or min(sizes) < 2:
            raise ValueError(f"sizes={sizes}: expected {len(system.low)} sizes of 2 or more")
        axes = tuple(
            np.linspace(low, high, size, endpoint=not angle)
            for low, high, size, angle in zip(system.low, system.high, sizes, system.periodic, strict=True)
        )
        return cls(axes, system.periodic)

    @property
    def shape(self) -> tuple[int, ...]:
        """Points along each axis."""
        return tuple(len(axis) for axis in self.axes)

    def points(self) -> np.ndarray:
        """All points, the last axis running fastest, (G, S)."""
        return np.stack([each.ravel() for each in np.meshgrid(*self.axes, indexing="ij")], axis=1)

    def corners(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Grid points around states and their weights in multilinear interpolation; outside the box the nearest count.

        Args:
            states: (N, S).

        Returns:
            Numbers of points, int32 (N, C), and weights that add up to 1, float32 (N, C).
        """
        below, above, part = zip(
            *(self._along(index, states[:, index]) for index in range(len(self.axes))), strict=True
        )
        numbers, weights = [], []
        for choice in itertools.product((0, 1), repeat=len(self.axes)):
            at = [above[axis] if up else below[axis] for axis, up in enumerate(choice)]
            share = [part[axis] if up else 1 - part[axis] for axis, up in enumerate(choice)]
            numbers.append(np.ravel_multi_index(at, self.shape).astype(np.int32))
            weights.append(np.prod(share, axis=0).astype(np.float32))
        return np.stack(numbers, axis=1), np.stack(weights, axis=1)

    def _along(self, index: int, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        axis, size = self.axes[index], len(self.axes[index])
        places = (values - axis[0]) / (axis[1] - axis[0])
        if self.periodic[index]:
            below = np.floor(places).astype(int)
            return below % size, (below + 1) % size, places - below
        places = np.clip(places, 0, size - 1)
        below = np.minimum(places.astype(int), size - 2)
        return below, below + 1, places - below


@dataclass(frozen=True)
class Solution:
    """Safety values on a grid.

    Attributes:
        grid: The points.
        values: In the units of the margin, float32, of the grid's shape.
        rounds: Sweeps until nothing changed.
    """

    grid: Grid
    values: np.ndarray
    rounds: int

    def at(self, states: np.ndarray) -> np.ndarray:
        """Values between grid points, (N,)."""
        numbers, weights = self.grid.corners(states)
        return (self.values.ravel()[numbers] * weights).sum(axis=1)


def backup(margin: np.ndarray, following: np.ndarray, gamma: float) -> np.ndarray:
    """One safety Bellman update.

    Args:
        margin: l of each state, (G,).
        following: V of the states that each action leads to, (n, G).
        gamma: Discount; 1 for none.

    Returns:
        New V, (G,).
    """
    # V(x) = (1 - g) l(x) + g min{l(x), max_a V(f(x, a))}
    return (1 - gamma) * margin + gamma * np.minimum(margin, following.max(axis=0))


def solve(system: SafeSystem, grid: Grid, gamma: float = 1.0, tolerance: float = 1e-5, most: int = 3000) -> Solution:
    """Value iteration from V = l, which only falls and ends at the largest fixed point.

    Args:
        system: Steps and margins; time stays discrete.
        grid: Where.
        gamma: Discount; 1 for none, whose level 0 bounds the maximal safe set.
        tolerance: Largest change of the last sweep.
        most: Sweeps after which it is given up.

    Raises:
        RuntimeError: It did not settle.
    """
    points = grid.points()
    margin = system.margin(points).astype(np.float32)
    following = [
        grid.corners(system.step(points, np.repeat(action[None], len(points), axis=0))) for action in system.actions
    ]
    values, change = margin, np.inf
    for rounds in range(1, most + 1):
        new = backup(margin, _followed(values, following), gamma)
        change = float(np.abs(new - values).max())
        values = new
        if change <= tolerance:
            return Solution(grid, values.reshape(grid.shape), rounds)
    raise RuntimeError(f"grid: values still change by {change:.2g} after {most} sweeps; raise `most` or `tolerance`")


def _followed(values: np.ndarray, following: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    return np.stack([np.einsum("gc,gc->g", values[numbers], weights) for numbers, weights in following])


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two sets of the same points, each a bool array; 1 if both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0
