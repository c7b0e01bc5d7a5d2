"""How far two chunks are apart, in direction and in size.

Shape letters: H chunk length, A action elements.
"""

import numpy as np

__all__ = ["STILL", "STILL_LIMIT", "cosine", "stands_still"]

STILL = 0.05  # [action units] RMS of a chunk that is called standing still
STILL_LIMIT = 0.02  # [action units] largest difference allowed there


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine between two chunks taken as vectors; of a zero chunk 1 with itself and 0 with any other.

    Args:
        a: (H, A), or flattened.
        b: As many values.
    """
    left, right = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    norms = np.linalg.norm(left) * np.linalg.norm(right)
    if norms == 0:
        return 1.0 if np.array_equal(left, right) else 0.0
    # cos = a.b / (|a| |b|)
    return float(left @ right / norms)


def stands_still(chunk: np.ndarray) -> bool:
    """Whether a chunk is practically zero: the direction of such a command means nothing.

    Args:
        chunk: (H, A) [action units], or flattened.
    """
    exact = chunk.astype(np.float64)
    return bool(np.sqrt(np.mean(exact * exact)) < STILL)
