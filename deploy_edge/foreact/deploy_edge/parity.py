"""How far a converted policy's chunks are from the original's.

Shape letters: N observations, H chunk length, A action elements.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreact.deploy_edge.runtime.chunk_distance import STILL_LIMIT, cosine, stands_still
from foreact.episodes.outcome import JSON

__all__ = ["Parity", "ParityError", "compare", "require_parity"]


class ParityError(ValueError):
    """A converted policy does not do what the original does."""


@dataclass(frozen=True)
class Parity:
    """Chunks compared one observation at a time.

    The direction of a command that is practically zero means nothing, so observations that the original answers with
    standing still (RMS below `STILL`) are judged by the difference alone.

    Attributes:
        cosine: Between the flattened chunks, (N,).
        max_abs: Largest difference in any element [action units], (N,).
        still: Where the original's chunk is practically zero, bool (N,).
    """

    cosine: np.ndarray
    max_abs: np.ndarray
    still: np.ndarray

    @property
    def min_cosine(self) -> float:
        """Of the worst observation that asks for motion; 1 if none does."""
        moving = self.cosine[~self.still]
        return float(moving.min()) if len(moving) else 1.0

    @property
    def mean_error(self) -> float:
        """1 - cosine, mean over the observations that ask for motion; 0 if none does."""
        moving = self.cosine[~self.still]
        return float(1 - moving.mean()) if len(moving) else 0.0

    @property
    def max_abs_still(self) -> float:
        """Largest difference [action units] where the original stands still; 0 if it never does."""
        return float(self.max_abs[self.still].max()) if self.still.any() else 0.0

    def score(self, min_cosine: float) -> float:
        """How good a conversion is: 1 for none at all, `min_cosine` where one of the two gates is just met."""
        return min(self.min_cosine, 1 - (1 - min_cosine) * self.max_abs_still / STILL_LIMIT)

    def figures(self, *, rows: bool = True) -> dict[str, JSON]:
        """As JSON, with every observation if `rows`."""
        figures: dict[str, JSON] = {
            "observations": len(self.cosine),
            "min_cosine": round(self.min_cosine, 8),
            "still_observations": int(self.still.sum()),
            "min_cosine_with_still": round(float(self.cosine.min()), 8),
            "max_abs_still": round(self.max_abs_still, 8),
            "mean_cosine": round(float(self.cosine.mean()), 8),
            "max_abs": round(float(self.max_abs.max()), 8),
            "mean_abs_max": round(float(self.max_abs.mean()), 8),
        }
        if rows:
            figures["cosine"] = [round(float(value), 8) for value in self.cosine]
            figures["abs"] = [round(float(value), 8) for value in self.max_abs]
        return figures


def compare(reference: Sequence[np.ndarray], chunks: Sequence[np.ndarray]) -> Parity:
    """Compare chunks with the reference's.

    Args:
        reference: N chunks (H, A) in action units.
        chunks: N chunks for the same observations.

    Raises:
        ValueError: No chunk, or numbers or shapes differ.
    """
    if not reference or len(reference) != len(chunks):
        raise ValueError(f"compare: {len(reference)} reference chunks and {len(chunks)} others")
    if any(a.shape != b.shape for a, b in zip(reference, chunks, strict=True)):
        raise ValueError(f"compare: chunk shapes {reference[0].shape} and {chunks[0].shape}")
    pairs = [
        (a.ravel().astype(np.float64), b.ravel().astype(np.float64)) for a, b in zip(reference, chunks, strict=True)
    ]
    still = np.array([stands_still(a) for a, _ in pairs])
    return Parity(np.array([cosine(a, b) for a, b in pairs]), np.array([np.abs(a - b).max() for a, b in pairs]), still)


def require_parity(parity: Parity, min_cosine: float, where: str) -> None:
    """Refuse a conversion below the gate.

    Raises:
        ParityError: The worst observation is below `min_cosine`, or not a number.
    """
    # written so that NaN fails
    if not parity.min_cosine >= min_cosine:
        worst = int(np.argmin(np.where(parity.still, 2.0, np.nan_to_num(parity.cosine, nan=-2.0))))
        raise ParityError(
            f"{where}: cosine {parity.cosine[worst]:.6f} with the original at observation {worst} of "
            f"{len(parity.cosine)} (largest difference {parity.max_abs[worst]:.4f} action units), the gate is "
            f"{min_cosine}; nothing was written"
        )
    if not parity.max_abs_still <= STILL_LIMIT:
        raise ParityError(
            f"{where}: differs by {parity.max_abs_still:.4f} action units where the original stands still, the gate is "
            f"{STILL_LIMIT}; nothing was written"
        )
