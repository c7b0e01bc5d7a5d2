"""Words on the clock of sound: what a model is to say at each token, and what was said (delayed streams).

Every token says one of: nothing, "a word begins", or a word. A word that is begun in token t is announced at t + delay
and said right after; where words come faster, announcements give way to words, which wait their turn. Source: the
delayed streams of Zeghidour et al. 2025 and the [P] and [W] of Voxtral Realtime (arXiv 2602.11298).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["BEGIN", "PAD", "Reader", "Vocabulary", "normal_words", "target_tokens"]

PAD, BEGIN = 0, 1
SPECIAL = ("[pad]", "[word]")


def normal_words(text: str) -> tuple[str, ...]:
    """Words of a sentence: lower case, letters, digits and apostrophes alone."""
    return tuple(re.findall(r"[a-z0-9']+", text.lower()))


@dataclass(frozen=True)
class Vocabulary:
    """The words that can be said.

    Attributes:
        words: Sorted, each once.

    Raises:
        ValueError: They are not, or there are none.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.words or tuple(sorted(set(self.words))) != self.words:
            raise ValueError("a vocabulary needs words, sorted, each once")

    @classmethod
    def of(cls, texts: Iterable[str]) -> Vocabulary:
        """All words of some sentences."""
        return cls(tuple(sorted({word for text in texts for word in normal_words(text)})))

    def __len__(self) -> int:
        return len(SPECIAL) + len(self.words)

    def numbers(self, words: Sequence[str]) -> list[int]:
        """Their tokens.

        Raises:
            ValueError: A word is not known.
        """
        known = {word: number for number, word in enumerate(self.words, len(SPECIAL))}
        if unknown := sorted(set(words) - known.keys()):
            raise ValueError(
                f"words that the model cannot say: {', '.join(unknown[:5])}; train with sentences that have them"
            )
        return [known[word] for word in words]

    def word(self, token: int) -> str | None:
        """What a token says; None for the two that are no words."""
        return self.words[token - len(SPECIAL)] if token >= len(SPECIAL) else None


def target_tokens(starts: Sequence[int], words: Sequence[int], length: int, delay: int) -> np.ndarray:
    """What to say at each token, int64 (length,).

    Args:
        starts: Token in which each word begins, ascending.
        words: Tokens of the words.
        length: Tokens in all; what would be said later is cut off.
        delay: [tokens].
    """
    targets = np.full(length, PAD, np.int64)
    free = 0
    for index, (start, word) in enumerate(zip(starts, words, strict=True)):
        at = max(start + delay, free)
        late = at > start + delay or (index + 1 < len(starts) and starts[index + 1] + delay <= at)
        if not late and at < length:
            targets[at] = BEGIN
            at += 1
        if at < length:
            targets[at] = word
        free = at + 1
    return targets


class Reader:
    """Words of a stream of tokens; one said in two tokens on end is one word.

    Args:
        vocabulary: Of the model.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary, self._last = vocabulary, PAD

    def read(self, tokens: Iterable[int]) -> list[tuple[int, str]]:
        """Words among the next tokens, with their place among these."""
        found = []
        for place, token in enumerate(tokens):
            word = self._vocabulary.word(int(token))
            if word is not None and token != self._last:
                found.append((place, word))
            self._last = int(token)
        return found
