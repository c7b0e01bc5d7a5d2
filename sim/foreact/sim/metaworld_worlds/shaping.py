"""Shaped rewards over many worlds: dm_control's tolerance and the Hamacher product, as Meta-World v3 uses them.

Source: Tassa et al. 2018, "DeepMind Control Suite", section 3, for the tolerance function; Meta-World takes the value
0.1 at the margin. Shape letters: N = worlds, k = elements of a vector.
"""

from __future__ import annotations

import numpy as np

__all__ = ["gaussian", "hamacher", "inside_box", "length", "long_tail"]

Values = float | np.ndarray
AT_MARGIN = 0.1  # value of a tolerance at its margin
LONG_TAIL_SCALE = np.sqrt(1 / AT_MARGIN - 1)
GAUSSIAN_SCALE = np.sqrt(-2 * np.log(AT_MARGIN))


def length(vectors: np.ndarray) -> np.ndarray:
    """Euclidean length of each row: (N, k) gives (N,), the bits of `np.linalg.norm` of one row."""
    return np.sqrt(np.vecdot(vectors, vectors))


def long_tail(x: np.ndarray, upper: float, margin: Values, lower: float = 0.0) -> np.ndarray:
    """1 in [lower, upper], outside 1 / (1 + 9 d^2) at d margins from the nearest bound.

    Args:
        x: Any shape.
        upper: Upper bound.
        margin: Distance at which the value is 0.1, broadcast; where it is not positive, outside is 0 (Meta-World
            raises an error if it is negative).
        lower: Lower bound.
    """
    distance = _in_margins(x, lower, upper, margin)
    # 1 / ((3 d)^2 + 1), 3 = sqrt(1/0.1 - 1)
    return _outside(x, lower, upper, margin, 1 / ((distance * LONG_TAIL_SCALE) ** 2 + 1))


def gaussian(x: np.ndarray, upper: float, margin: Values) -> np.ndarray:
    """1 in [0, upper], outside exp(-(s d)^2 / 2) at d margins from the nearest bound, 0.1 at one; see `long_tail`."""
    distance = _in_margins(x, 0.0, upper, margin)
    # exp(-1/2 (s d)^2), s = sqrt(-2 ln 0.1)
    return _outside(x, 0.0, upper, margin, np.exp(-0.5 * (distance * GAUSSIAN_SCALE) ** 2))


def hamacher(a: Values, b: Values) -> np.ndarray:
    """Hamacher's product of two values in [0, 1], a b / (a + b - a b), and 0 where both are 0."""
    product = np.multiply(a, b)
    total = np.add(a, b) - product
    return np.where(total > 0, product / np.where(total > 0, total, 1.0), 0.0)


def inside_box(points: np.ndarray, zero: np.ndarray, one: np.ndarray) -> np.ndarray:
    """Progress from one corner of a box to the opposite one, the product over the axes; 1 outside the box.

    Args:
        points: (N, 3).
        zero: Corner of value 0, (N, 3).
        one: Corner of value 1, (N, 3).

    Returns:
        (N,).
    """
    inside = ((points >= np.minimum(zero, one)) & (points <= np.maximum(zero, one))).all(-1)
    share = (points - zero) / (one - zero)
    return np.where(inside, share[:, 0] * share[:, 1] * share[:, 2], 1.0)


def _in_margins(x: np.ndarray, lower: float, upper: float, margin: Values) -> np.ndarray:
    distance = np.where(x < lower, lower - x, x - upper)
    return distance / np.where(np.greater(margin, 0), margin, 1.0)


def _outside(x: np.ndarray, lower: float, upper: float, margin: Values, value: np.ndarray) -> np.ndarray:
    return np.where((lower <= x) & (x <= upper), 1.0, np.where(np.greater(margin, 0), value, 0.0))
