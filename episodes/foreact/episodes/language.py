"""Instruction text to token ids, without a vocabulary file."""

import re
import zlib

import numpy as np

from foreact.episodes.contract import LanguageSpec

_WORD = re.compile(r"[a-z0-9]+")


def tokenize(text: str, spec: LanguageSpec) -> np.ndarray:
    """Hash the words of an instruction to ids.

    Args:
        text: the instruction; lower-cased, split into runs of a-z and 0-9, cut after `spec.length` words.
        spec: vocabulary size and token count.

    Returns:
        int64 (spec.length,): 1 + crc32(word) % (vocabulary - 1), padded with 0.

    Raises:
        ValueError: the text holds no word.
    """
    words = _WORD.findall(text.lower())
    if not words:
        raise ValueError(f"the instruction {text!r} holds no word (a-z, 0-9); give one, e.g. 'open the drawer'")
    tokens = np.zeros(spec.length, np.int64)
    for index, word in enumerate(words[: spec.length]):
        # id = 1 + crc32(word) mod (vocabulary - 1); id 0 is padding
        tokens[index] = 1 + zlib.crc32(word.encode("ascii")) % (spec.vocabulary - 1)
    return tokens
