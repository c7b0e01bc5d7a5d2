"""Layout seeds: which random layout an episode gets, disjoint between training, evaluation and calibration."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["INDEX_LIMIT", "SEED_LIMIT", "Split", "layout_seed"]

Split = Literal["train", "eval", "calibration"]

INDEX_BITS = 20
SEED_BITS = 28
INDEX_LIMIT = 1 << INDEX_BITS
SEED_LIMIT = 1 << SEED_BITS


def layout_seed(split: Split, seed: int, index: int) -> int:
    """The layout seed of one episode.

    Split, seed and index each fill bits of their own, so two different triples never give the same layout seed and no
    evaluation layout is ever trained on, whatever seeds the user picks.

    Args:
        split: `train`, `eval` or `calibration`.
        seed: The user's seed, 0 <= seed < 2**28.
        index: Episode number, 0 <= index < 2**20.

    Returns:
        An integer below 2**50, exact in JSON.

    Raises:
        ValueError: An argument is out of range, or the split is unknown.
    """
    splits = get_args(Split)
    if split not in splits:
        raise ValueError(f"layout_seed: split {split!r} is not one of {', '.join(splits)}")
    if not 0 <= seed < SEED_LIMIT:
        raise ValueError(f"layout_seed: seed {seed} is outside 0..{SEED_LIMIT - 1}")
    if not 0 <= index < INDEX_LIMIT:
        raise ValueError(f"layout_seed: index {index} is outside 0..{INDEX_LIMIT - 1}")
    return ((splits.index(split) << SEED_BITS | seed) << INDEX_BITS) | index
