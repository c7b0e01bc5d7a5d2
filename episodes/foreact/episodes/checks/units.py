"""Numbers that do not fit their unit: degrees as rad, millimetres as m, g as m/s^2, quaternions in another order.

These are suspicions with the limits that stand here: a finding says what was seen, not what is true.
Shape letters: n = rows, E = elements of a sample.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from foreact.episodes.checks.finding import Finding
from foreact.episodes.checks.numbers import named
from foreact.episodes.sources import Stream

__all__ = ["check_units"]

TWO_TURNS = 4 * np.pi  # [rad] joints turn less, and 720 as degrees is more
FAST = 40.0  # [rad/s] gyroscopes measure to 2000 deg/s = 35 rad/s
FAR = 100.0  # [m] hands and rooms are smaller
NEAR = 5.0  # [mm] what moves at all moves more
GRAVITY = 9.81  # [m/s^2]
NORM_OFF = 1e-3  # of an orientation's length from 1
PALM = (0.04, 0.2)  # [m] from the wrist to the root of the middle finger
MIDDLE = 9  # landmark at the root of the middle finger
FLIPS_TOLD = 1


def check_units(stream: Stream, rows: np.ndarray) -> Iterator[Finding]:
    """Numbers that do not fit the unit of their stream.

    Args:
        stream: Which; its unit says what is expected.
        rows: (n, E); what is not finite is passed over.
    """
    rows = np.where(np.isfinite(rows), rows, np.nan)
    if not len(rows) or not np.isfinite(rows).any():
        return
    count = rows.shape[1]
    units = np.array([each.strip() for each in stream.unit.split(",")])
    if len(units) != count:
        units = np.array([stream.unit.strip() if len(units) == 1 else ""] * count)
    with np.errstate(all="ignore"):
        largest = np.where(np.isfinite(rows).any(0), np.nanmax(np.where(np.isnan(rows), 0.0, np.abs(rows)), axis=0), 0)
    for unit, limit, text in (
        ("rad", TWO_TURNS, "more than two turns in rad, perhaps degrees"),
        ("rad/s", FAST, "faster than 40 rad/s, perhaps deg/s"),
        ("m", FAR, "further than 100 m, perhaps millimetres"),
    ):
        which = np.flatnonzero((units == unit) & (largest > limit))
        if len(which) and not (unit == "m" and "deg" in units):  # an altitude beside latitude and longitude may be high
            told = f"{text}: {named(stream, which, count)} up to {largest[which].max():.4g}"
            yield Finding(stream.name, "remark", "unit", told)
    yield from _small(stream, units, largest)
    if stream.kind == "imu":
        yield from _gravity(stream, rows[:, units == "m/s^2"])
    if stream.kind == "pose" and count >= 7:
        yield from _orientation(stream, rows[:, 3:7])
    if stream.kind == "hand" and count == 63:
        yield from _palm(stream, rows)


def _small(stream: Stream, units: np.ndarray, largest: np.ndarray) -> Iterator[Finding]:
    """Elements that hardly reach beyond 0 in a small unit."""
    degrees = np.flatnonzero((units == "deg") & (largest > 0))
    if len(degrees) >= 2 and largest[degrees].max() <= np.pi:
        what = f"no more than {largest[degrees].max():.3g} in deg, perhaps rad: {named(stream, degrees, len(units))}"
        yield Finding(stream.name, "remark", "unit", what)
    millimetres = np.flatnonzero((units == "mm") & (largest > 0))
    if len(millimetres) >= 2 and largest[millimetres].max() <= NEAR:
        what = f"no more than {largest[millimetres].max():.3g} in mm, perhaps m"
        yield Finding(stream.name, "remark", "unit", f"{what}: {named(stream, millimetres, len(units))}")


def _gravity(stream: Stream, acceleration: np.ndarray) -> Iterator[Finding]:
    if acceleration.shape[1] != 3:
        return
    length = float(np.nanmedian(np.linalg.norm(acceleration, axis=1)))
    if not np.isfinite(length) or abs(length / GRAVITY - 1) < 0.2:
        return
    guess = "another unit?"
    for factor, unit in ((1 / GRAVITY, "g"), (1000 / GRAVITY, "mg"), (100.0, "cm/s^2"), (1000.0, "mm/s^2")):
        if abs(length / (GRAVITY * factor) - 1) < 0.15:
            guess = f"perhaps {unit}"
    if length < 0.4 * GRAVITY and guess == "another unit?":
        guess = "perhaps gravity is taken out"
    what = f"half of the accelerations are longer than {length:.4g} m/s^2 and half shorter, 9.81 is expected: {guess}"
    yield Finding(stream.name, "remark", "unit", what)


def _orientation(stream: Stream, turns: np.ndarray) -> Iterator[Finding]:
    turns = turns[np.isfinite(turns).all(1)]
    if not len(turns):
        return
    lengths = np.linalg.norm(turns, axis=1)
    if off := int((np.abs(lengths - 1) > NORM_OFF).sum()):
        what = f"{off} of {len(turns)} orientations are no unit quaternions; lengths {lengths.min():.4g} to "
        yield Finding(stream.name, "grave", "quaternion", f"{what}{lengths.max():.4g}")
        return
    w, z = np.abs(turns[:, 0]), np.abs(turns[:, 3])
    if np.median(z) > 0.9 and np.median(w) < 0.2:
        what = (
            f"the fourth number is the large one (half above {np.median(z):.2f}) and the first is near 0: perhaps the "
            "order is xyzw, not wxyz (or it is turned by half a circle about z)"
        )
        yield Finding(stream.name, "remark", "quaternion order", what)
    flips = int(((turns[1:] * turns[:-1]).sum(1) < 0).sum())
    if flips >= FLIPS_TOLD:
        what = f"the sign of the quaternion flips {flips} times from one sample to the next"
        yield Finding(stream.name, "remark", "quaternion sign", what)


def _palm(stream: Stream, rows: np.ndarray) -> Iterator[Finding]:
    marks = rows.reshape(len(rows), 21, 3)
    lengths = np.linalg.norm(marks[:, MIDDLE] - marks[:, 0], axis=1)
    if not np.isfinite(lengths).any():
        return
    length = float(np.nanmedian(lengths))
    if not PALM[0] < length < PALM[1]:
        what = f"from the wrist to the root of the middle finger are {length:.4g} {stream.unit or 'm'}: another unit?"
        yield Finding(stream.name, "remark", "unit", what)
