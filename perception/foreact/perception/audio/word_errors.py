"""How many words were heard wrong, and how many sentences were heard right to the last word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreact.episodes.outcome import JSON

__all__ = ["edits", "word_figures"]

DRAWS = 1000


def edits(heard: Sequence[str], said: Sequence[str]) -> int:
    """Fewest insertions, deletions and substitutions of words that make one sentence the other (Levenshtein 1966)."""
    row = list(range(len(said) + 1))
    for i, word in enumerate(heard, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(said, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def word_figures(heard: Sequence[Sequence[str]], said: Sequence[Sequence[str]], seed: int = 0) -> dict[str, JSON]:
    """Word error rate and share of exact sentences, with 95 % intervals over resampled clips.

    Args:
        heard: Words of each clip as the model has them.
        said: Words that were spoken.
        seed: Of the resampling.

    Raises:
        ValueError: There are no clips, or not as many of both, or a sentence without words.
    """
    if not said or len(heard) != len(said) or not all(said):
        raise ValueError(f"{len(heard)} heard and {len(said)} spoken sentences: give the same number, each with words")
    errors = np.array([edits(mine, true) for mine, true in zip(heard, said, strict=True)], float)
    lengths = np.array([len(each) for each in said], float)
    rows = np.random.default_rng(seed).integers(0, len(said), (DRAWS, len(said)))
    # WER = sum of edits / sum of spoken words
    rates = errors[rows].sum(1) / lengths[rows].sum(1)
    exact = (errors == 0).astype(float)
    return {
        "wer": float(errors.sum() / lengths.sum()),
        "wer_low": float(np.quantile(rates, 0.025)),
        "wer_high": float(np.quantile(rates, 0.975)),
        "exact": float(exact.mean()),
        "exact_low": float(np.quantile(exact[rows].mean(1), 0.025)),
        "exact_high": float(np.quantile(exact[rows].mean(1), 0.975)),
        "clips": len(said),
    }
