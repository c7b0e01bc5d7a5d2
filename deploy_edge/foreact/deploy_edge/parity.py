"""How far a converted policy's chunks are from the original's.

Shape letters: N observations, H chunk length, A action elements.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreact.episodes.outcome import JSON

__all__ = ["Parity", "ParityError", "compare", "require_parity"]


class ParityError(ValueError):
    """A converted policy does not do what the original does."""


@dataclass(frozen=True)
class Parity:
    """Chunks compared one observation at a time.

    Attributes:
        cosine: Between the flattened chunks, (N,).
        max_abs: Largest difference in any element [action units], (N,).
    """

    cosine: np.ndarray
    max_abs: np.ndarray

    @property
    def min_cosine(self) -> float:
        """Of the worst observation."""
        return float(self.cosine.min())

    def figures(self, *, rows: bool = True) -> dict[str, JSON]:
        """As JSON, with every observation if `rows`."""
        figures: dict[str, JSON] = {
            "observations": len(self.cosine),
            "min_cosine": round(self.min_cosine, 8),
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
    pairs = [(a.ravel().astype(np.float64), b.ravel().astype(np.float64)) for a, b in zip(reference, chunks, strict=True)]
    cosine = np.array([_cosine(a, b) for a, b in pairs])
    return Parity(cosine, np.array([np.abs(a - b).max() for a, b in pairs]))


def require_parity(parity: Parity, min_cosine: float, where: str) -> None:
    """Refuse a conversion below the gate.

    Raises:
        ParityError: The worst observation is below `min_cosine`, or not a number.
    """
    # written so that NaN fails
    if not parity.min_cosine >= min_cosine:
        worst = int(np.argmin(np.nan_to_num(parity.cosine, nan=-2.0)))
        raise ParityError(
            f"{where}: cosine {parity.cosine[worst]:.6f} with the original at observation {worst} of {len(parity.cosine)} "
            f"(largest difference {parity.max_abs[worst]:.4f} action units), the gate is {min_cosine}; nothing was written"
        )


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    if norms == 0:
        return 1.0 if np.array_equal(a, b) else 0.0
    # cos = a.b / (|a| |b|)
    return float(a @ b / norms)
