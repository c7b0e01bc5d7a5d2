"""Voices to train with and voices held out: families of voices that sound alike stay together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

__all__ = ["VoiceSplit", "families", "split_voices"]

VoiceSplit = Literal["train", "eval"]
EVERY = 4  # one family in so many is held out
STEM = 4  # letters of a name that mark relatives, such as andy and anxiousandy


def families(names: Sequence[str]) -> list[list[str]]:
    """Voices by family: names that differ by digits and capitals, or contain a relative's name.

    Args:
        names: Of all voices.
    """
    found: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda each: (len(_stem(each)), each)):
        stem = _stem(name)
        kin = [known for known in found if known == stem or (len(known) >= STEM and known in stem)]
        found.setdefault(kin[0] if kin else stem, []).append(name)
    return [sorted(found[stem]) for stem in sorted(found)]


def split_voices(names: Sequence[str], split: VoiceSplit) -> tuple[str, ...]:
    """The voices of a split, sorted; no family is in both.

    Args:
        names: Of all voices.
        split: `train` or `eval`.
    """
    held = [(index % EVERY == EVERY - 1) for index in range(len(names))]
    chosen = [family for family, out in zip(families(names), held, strict=False) if out == (split == "eval")]
    return tuple(sorted(name for family in chosen for name in family))


def _stem(name: str) -> str:
    return re.sub(r"\d+", "", name).lower()
