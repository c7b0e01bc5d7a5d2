"""Policies and offsets of streams as they are typed: `imu.left:hold`, `camera.left:nearest:20ms`, `state:-12.5ms`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from foreact.episodes.sync import Hold, Interpolate, Nearest, Policy, Window

__all__ = ["duration_ns", "offsets", "policies"]

UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
DURATION = re.compile(r"([+-]?\d+(?:\.\d+)?)(ns|us|ms|s)")
POLICY = re.compile(r"(.+?):(hold|nearest|interpolate|window)(?::(.+))?")
FORMS = "hold, hold:MOST_AGE, nearest:TOLERANCE, interpolate, interpolate:MOST_GAP, window"


def policies(typed: Sequence[str]) -> dict[str, Policy]:
    """Policies by stream.

    Args:
        typed: `STREAM:POLICY` or `STREAM:POLICY:DURATION`.

    Raises:
        ValueError: A text that is neither.
    """
    found: dict[str, Policy] = {}
    for text in typed:
        parts = POLICY.fullmatch(text)
        if parts is None:
            raise ValueError(f"policies: {text!r} is none; type STREAM:POLICY, where POLICY is one of {FORMS}")
        name, policy, limit = parts.groups()
        found[name] = _policy(text, policy, None if limit is None else duration_ns(limit))
    return found


def offsets(typed: Sequence[str]) -> dict[str, int]:
    """Offsets [ns] by stream or recording.

    Args:
        typed: `NAME:DURATION`, such as `camera.left:-12.5ms`.

    Raises:
        ValueError: A text that is not of this form.
    """
    found = {}
    for text in typed:
        name, colon, length = text.rpartition(":")
        if not colon:
            raise ValueError(f"offsets: {text!r} is none; type STREAM:DURATION, such as camera.left:-12.5ms")
        found[name] = duration_ns(length)
    return found


def duration_ns(text: str) -> int:
    """A duration [ns], such as 20ms.

    Raises:
        ValueError: No number, or no unit.
    """
    parts = DURATION.fullmatch(text)
    if parts is None:
        raise ValueError(f"{text!r} is no duration; type a number with ns, us, ms or s, such as 20ms")
    return round(float(parts[1]) * UNITS[parts[2]])


def _policy(text: str, policy: str, limit: int | None) -> Policy:
    if limit is not None and limit < 0:
        raise ValueError(f"policies: {text!r}: a limit cannot be below 0")
    if policy == "hold":
        return Hold(limit)
    if policy == "interpolate":
        return Interpolate(limit)
    if policy == "nearest":
        if limit is None:
            raise ValueError(f"policies: {text!r}: nearest needs a tolerance, such as {text}:20ms")
        return Nearest(limit)
    if limit is not None:
        raise ValueError(f"policies: {text!r}: window takes no duration")
    return Window()
