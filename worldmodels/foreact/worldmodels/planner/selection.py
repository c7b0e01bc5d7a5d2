"""Which chunk when the model cannot be trusted, and the mean of the good ones when it can.

Shape letters: N = chunks, T = control steps, A = action elements.
"""

from __future__ import annotations

import numpy as np

from foreact.worldmodels.planner.proposals import coloured_noise

__all__ = ["medoid_of_largest", "refined"]

SEPARATED = 0.3
"""Mean silhouette from which two clusters count as two."""


def medoid_of_largest(chunks: np.ndarray) -> int:
    """The chunk in the middle of the largest of two clusters, or of all where there are no two.

    After "Geometry guided self-consistency for physical AI" (arXiv 2605.08638): samples of a policy agree more where
    it is right, and no model is asked.

    Args:
        chunks: Samples of a policy, (N, T, A).

    Returns:
        Its number.
    """
    flat = chunks.reshape(len(chunks), -1).astype(np.float64)
    apart = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    side = _two_clusters(apart)
    members = np.arange(len(chunks))
    if _silhouette(apart, side) > SEPARATED:
        members = np.flatnonzero(side == (side.mean() > 0.5))
    return int(members[apart[np.ix_(members, members)].sum(1).argmin()])


def refined(
    chunks: np.ndarray, scores: np.ndarray, count: int, temperature: float, spread: float, memory: float,
    random: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Chunks around the mean of the good ones: one update of model predictive path integral control.

    After Williams et al. 2018, "Information theoretic model predictive control", arXiv 1707.02342, with weights taken
    relative to how far scores are apart, so that the temperature has no unit, and noise that changes slowly.

    Args:
        chunks: Scored so far, (N, T, A).
        scores: More is better, (N,).
        count: How many to make; the first is the mean itself.
        temperature: In standard deviations of the scores.
        spread: Least standard deviation around the mean, as a part of that of the good chunks.
        memory: Correlation of the noise from one step to the next.
        random: The only source of chance.
    """
    scale = temperature * max(float(scores.std()), 1e-9)
    # w_n = exp((S_n - max S) / lambda) / eta,  mean = sum w_n a_n
    weights = np.exp((scores - scores.max()) / scale)
    weights /= weights.sum()
    mean = np.tensordot(weights, chunks, 1)
    deviation = np.sqrt(np.tensordot(weights, (chunks - mean) ** 2, 1))
    noise = coloured_noise((count, *chunks.shape[1:]), 1.0, memory, random)
    noise[:1] = 0
    return (mean + spread * deviation * noise).astype(np.float32)


def _two_clusters(apart: np.ndarray) -> np.ndarray:
    """Two medoids, started at the two chunks farthest apart; which side each chunk is on, 0 or 1."""
    medoids = list(np.unravel_index(apart.argmax(), apart.shape))
    side = np.zeros(len(apart), np.int64)
    for _ in range(10):
        side = apart[:, medoids].argmin(1)
        found = []
        for number in (0, 1):
            members = np.flatnonzero(side == number)
            if not len(members):  # all chunks are the same
                return side
            found.append(members[apart[np.ix_(members, members)].sum(1).argmin()])
        if found == medoids:
            break
        medoids = found
    return side


def _silhouette(apart: np.ndarray, side: np.ndarray) -> float:
    """Rousseeuw 1987: (b - a) / max(a, b), a the mean distance inside the own cluster, b to the other one."""
    sizes = np.bincount(side, minlength=2)
    if sizes.min() < 2:
        return -1.0  # a lone chunk is no cluster
    sums = np.stack([apart[:, side == number].sum(1) for number in (0, 1)], 1)
    rows = np.arange(len(side))
    inside = sums[rows, side] / (sizes[side] - 1)
    outside = sums[rows, 1 - side] / sizes[1 - side]
    return float(((outside - inside) / np.maximum(np.maximum(inside, outside), 1e-12)).mean())
