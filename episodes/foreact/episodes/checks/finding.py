"""What a check says: how bad it is, where, what, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ADVICE", "Finding", "Severity"]

Severity = Literal["grave", "remark", "note"]
"""grave: training on it would go wrong. remark: odd, and may be meant. note: what the reader says of the file."""

ADVICE = {
    "absent": "mask these samples; they are no measurements",
    "action jump": "look at the moment in foreact replay; drop the episode or smooth it",
    "audio": "check the microphone and its level; drop it with convert drop=",
    "black": "look at the pictures; cut the dark part, or drop the stream",
    "clock drift": "map one clock onto the other by the line given, or resample",
    "clock step": "cut the recording there: times before and after do not fit together",
    "constant": "leave the element out of training, or check the sensor",
    "contract names": "rename or reorder to the contract, or give the contract that belongs to the data",
    "contract range": "clip, drop the episodes, or widen the contract's range",
    "copies": "keep one of them: in both halves of a split it would be trained and tested on",
    "differs": "record again, or take these recordings apart with recordings=",
    "empty": "drop the stream with convert drop=, or check the recorder",
    "ends": "cut all streams to the time that they share",
    "float32 stamps": "take times from frame numbers and the rate, or store them in int64 nanoseconds",
    "frozen": "drop these frames: the camera or its driver stood still",
    "gaps": "do not interpolate across; cut there, or set a largest age in replay",
    "not finite": "drop the samples, or find out where they come from",
    "note": "",
    "order": "sort by stamp before training, as foreact replay does",
    "outcome": "leave the failures out of imitation learning",
    "quaternion": "normalise, or check which numbers are the orientation",
    "quaternion order": "check against the recorder whether w stands first or last",
    "quaternion sign": "flip signs so that neighbours lie close before learning from the numbers",
    "rate": "trust the stamps, not the stated rate; check for lost samples",
    "saturated": "check whether the command or the sensor runs into its limit",
    "short": "look at the end: it may have been cut off",
    "stamps equal": "check which of them is right; foreact replay takes the last",
    "unit": "check the unit with the recorder; training on mixed units fails silently",
    "unreadable": "copy the file again, or drop the recording",
    "looked at": "pictures=0 looks at all of them",
}
"""What to do, by rule."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong or odd.

    Attributes:
        stream: Where; empty for the recording as a whole.
        severity: How bad.
        rule: Which check, a key of `ADVICE`.
        what: In words, with numbers.
    """

    stream: str
    severity: Severity
    rule: str
    what: str

    def __post_init__(self) -> None:
        if self.rule not in ADVICE:
            raise ValueError(f"{self.rule!r} is no rule; there are {', '.join(ADVICE)}")

    @property
    def grave(self) -> bool:
        """Whether training on it would go wrong."""
        return self.severity == "grave"

    @property
    def advice(self) -> str:
        """What to do."""
        return ADVICE[self.rule]
