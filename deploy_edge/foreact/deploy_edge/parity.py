"""How far a converted policy's chunks are from the original's.

Shape letters: N observations, H chunk length, A action elements.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreact.deploy_edge.runtime.chunk_distance import STILL_LIMIT, cosine, stands_still
from foreact.episodes.contract import PolicyContract
from foreact.episodes.outcome import JSON

__all__ = ["Gate", "Parity", "ParityError", "compare", "require_parity", "span_of"]


class ParityError(ValueError):
    """A converted policy does not do what the original does."""


@dataclass(frozen=True)
class Gate:
    """What a converted policy must keep to on every observation.

    Attributes:
        min_cosine: Smallest cosine with the original's chunk, where that asks for motion.
        max_range_fraction: Largest difference as a part of the range of the action element; None asks for nothing.
    """

    min_cosine: float = 0.999
    max_range_fraction: float | None = 0.02


@dataclass(frozen=True)
class Parity:
    """Chunks compared one observation at a time.

    The direction of a command that is practically zero means nothing, so observations that the original answers with
    standing still (RMS below `STILL`) are judged by the difference alone.

    Attributes:
        cosine: Between the flattened chunks, (N,).
        max_abs: Largest difference in any element [action units], (N,).
        still: Where the original's chunk is practically zero, bool (N,).
        range_fraction: Largest difference as a part of its element's range, (N,); NaN if no range was given.
    """

    cosine: np.ndarray
    max_abs: np.ndarray
    still: np.ndarray
    range_fraction: np.ndarray

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

    @property
    def max_range_fraction(self) -> float:
        """Largest difference of all as a part of its element's range; NaN if no range was given."""
        return float(self.range_fraction.max())

    def score(self, min_cosine: float) -> float:
        """How good a conversion is: 1 for none at all, `min_cosine` where one of the two gates is just met."""
        return min(self.min_cosine, 1 - (1 - min_cosine) * self.max_abs_still / STILL_LIMIT)

    def use_of(self, gate: Gate) -> float:
        """Part of the allowed error that is used: 0 for no difference at all, 1 where one of the gates is just met."""
        parts = [(1 - self.min_cosine) / (1 - gate.min_cosine), self.max_abs_still / STILL_LIMIT]
        if gate.max_range_fraction is not None:
            parts.append(self.max_range_fraction / gate.max_range_fraction)
        return float(np.max(parts))

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
            "max_range_fraction": None if np.isnan(self.range_fraction).all() else round(self.max_range_fraction, 8),
            "mean_abs_max": round(float(self.max_abs.mean()), 8),
        }
        if rows:
            figures["cosine"] = [round(float(value), 8) for value in self.cosine]
            figures["abs"] = [round(float(value), 8) for value in self.max_abs]
        return figures


def span_of(contract: PolicyContract) -> np.ndarray:
    """Width of the range of each action element [action units], (A,)."""
    return np.array(contract.action.high, np.float64) - np.array(contract.action.low, np.float64)


def compare(reference: Sequence[np.ndarray], chunks: Sequence[np.ndarray], span: np.ndarray | None = None) -> Parity:
    """Compare chunks with the reference's.

    Args:
        reference: N chunks (H, A) in action units.
        chunks: N chunks for the same observations.
        span: Width of the range of each action element (A,), see `span_of`.

    Raises:
        ValueError: No chunk, or numbers or shapes differ, or a range is empty.
    """
    if not reference or len(reference) != len(chunks):
        raise ValueError(f"compare: {len(reference)} reference chunks and {len(chunks)} others")
    if any(a.shape != b.shape for a, b in zip(reference, chunks, strict=True)):
        raise ValueError(f"compare: chunk shapes {reference[0].shape} and {chunks[0].shape}")
    if span is not None and not (span > 0).all():
        raise ValueError(f"compare: span {span.tolist()}: every action element needs a range")
    pairs = [(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(reference, chunks, strict=True)]
    differences = [np.abs(a - b) for a, b in pairs]
    parts = [np.nan if span is None else (each / span).max() for each in differences]
    return Parity(
        np.array([cosine(a, b) for a, b in pairs]),
        np.array([each.max() for each in differences]),
        np.array([stands_still(a) for a, _ in pairs]),
        np.array(parts, np.float64),
    )


def require_parity(parity: Parity, gate: Gate | float, where: str) -> None:
    """Refuse a conversion that misses a gate.

    Args:
        parity: What was compared.
        gate: What to keep to; a number is a smallest cosine and asks for nothing else.
        where: For the message.

    Raises:
        ParityError: An observation misses the gate, or its answer is not a number.
    """
    wanted = gate if isinstance(gate, Gate) else Gate(gate, None)
    # written so that NaN fails
    if not parity.min_cosine >= wanted.min_cosine:
        worst = int(np.argmin(np.where(parity.still, 2.0, np.nan_to_num(parity.cosine, nan=-2.0))))
        raise ParityError(
            f"{where}: cosine {parity.cosine[worst]:.6f} with the original at observation {worst} of "
            f"{len(parity.cosine)} (largest difference {parity.max_abs[worst]:.4f} action units), the gate is "
            f"{wanted.min_cosine}; nothing was written"
        )
    if not parity.max_abs_still <= STILL_LIMIT:
        raise ParityError(
            f"{where}: differs by {parity.max_abs_still:.4f} action units where the original stands still, the gate is "
            f"{STILL_LIMIT}; nothing was written"
        )
    if wanted.max_range_fraction is not None and not parity.max_range_fraction <= wanted.max_range_fraction:
        worst = int(np.argmax(np.nan_to_num(parity.range_fraction, nan=np.inf)))
        raise ParityError(
            f"{where}: differs by {100 * parity.range_fraction[worst]:.2f} % of an action element's range at "
            f"observation {worst} of {len(parity.cosine)}, the gate is {100 * wanted.max_range_fraction:g} %; "
            "nothing was written"
        )
