"""Joints of a human hand by name, whatever order a recording has them in.

Every finger has knuckle, middle, distal joint and tip, the thumb knuckle, distal joint and tip; what only some
recordings have (the thumb's base, the palm's centre) is left out. Shape letters: n = samples, J = 20 joints.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from foreact.episodes.sources import SourceError, Stream

__all__ = ["AT", "FINGERS", "JOINTS", "Order", "joints_of", "order_of", "require_hand"]

Order = Literal["auto", "wrist-first", "aria"]

FINGERS = ("thumb", "index", "middle", "ring", "little")
JOINTS = (
    "wrist",
    *(f"thumb {joint}" for joint in ("knuckle", "distal", "tip")),
    *(f"{finger} {joint}" for finger in FINGERS[1:] for joint in ("knuckle", "middle", "distal", "tip")),
)
AT = {name: place for place, name in enumerate(JOINTS)}
"""Where a joint stands in rows of J."""

# MediaPipe, MANO with tips, ARKit without metacarpals, gloves: the protocol's order; 1 is the thumb's base
WRIST_FIRST = (0, 2, 3, 4, *range(5, 21))
ARIA = (5, 6, 7, 0, 8, 9, 10, 1, 11, 12, 13, 2, 14, 15, 16, 3, 17, 18, 19, 4)  # 20 is the palm's centre
OF_ARIA = {"proximal": "knuckle", "intermediate": "middle", "distal": "distal", "tip": "tip"}
PLACES = {"wrist-first": WRIST_FIRST, "aria": ARIA}

BONE = (0.004, 0.080)  # shortest and longest bone of a finger [m], children and large hands included
PALM = (0.035, 0.140)  # from wrist to knuckle [m]


def order_of(stream: Stream, asked: Order = "auto") -> tuple[int, ...]:
    """Where the J joints stand among the 21 landmarks of a stream.

    Args:
        stream: Of kind `hand`, (21, 3).
        asked: `auto` for what the stream says of itself: the names of its elements, or Aria's order in its
            description; without either it is the protocol's, from the wrist over thumb to little finger.

    Raises:
        SourceError: The stream is no hand, or has names that are not known.
    """
    if stream.kind != "hand" or stream.shape != (21, 3):
        raise SourceError(f"stream {stream.name} is {stream.kind} {stream.shape}; retargeting takes hands (21, 3)")
    if asked != "auto":
        return PLACES[asked]
    if stream.elements:
        return _by_names(stream)
    return ARIA if "Aria's order" in stream.description else WRIST_FIRST


def _by_names(stream: Stream) -> tuple[int, ...]:
    """Places by the names of elements: ours, or Aria's."""
    places = {name.lower(): place for place, name in enumerate(stream.elements)}
    for theirs, ours in OF_ARIA.items():
        for finger, named in zip(FINGERS[1:], ("index", "middle", "ring", "pinky"), strict=True):
            if f"{named} {theirs}" in places:
                places.setdefault(f"{finger} {ours}", places[f"{named} {theirs}"])
    if "thumb intermediate" in places:
        places.setdefault("thumb knuckle", places["thumb intermediate"])
    if missing := [name for name in JOINTS if name not in places]:
        raise SourceError(
            f"stream {stream.name}: its landmarks are in an order that is not known: none is called"
            f" {', '.join(missing[:3])}. Type order=wrist-first or order=aria if you know it"
        )
    return tuple(places[name] for name in JOINTS)


def joints_of(landmarks: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """The J joints, float64 (..., J, 3) [m], of landmarks (..., 21, 3)."""
    return np.asarray(landmarks, np.float64)[..., order, :]


def require_hand(joints: np.ndarray, name: str) -> None:
    """Refuse what has not the proportions of a hand in this order: another order, another unit.

    Args:
        joints: Finite ones, (n, J, 3) [m]; n = 0 passes.
        name: Of the stream, for the message.

    Raises:
        SourceError: Names the bone that is too short or too long in the median over samples.
    """
    if not len(joints):
        return
    for finger in FINGERS:
        chain = [name for name in JOINTS if name.startswith(f"{finger} ")]
        for near, far in [("wrist", chain[0]), *zip(chain, chain[1:], strict=False)]:
            length = float(np.median(np.linalg.norm(joints[:, AT[far]] - joints[:, AT[near]], axis=1)))
            low, high = PALM if near == "wrist" else BONE
            if not low <= length <= high:
                raise SourceError(
                    f"stream {name} is no hand in this order and in metres: from {near} to {far} it has"
                    f" {1e3 * length:.1f} mm. Type order=wrist-first or order=aria if its order is another"
                )
