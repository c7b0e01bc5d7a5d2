"""Robot hands that human hands are retargeted to: which bodies of their models are palm, joints and tips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.sim.retarget.palm import Side, palm_axes

if TYPE_CHECKING:
    import mujoco

__all__ = ["HANDS", "Hand", "hand_of", "model_of", "palm_of"]


@dataclass(frozen=True)
class Hand:
    """One robot hand.

    Attributes:
        files: Model files in its folder, left and right.
        prefixes: Of names of bodies and joints in them.
        palm: Body at the wrist that carries the fingers.
        knuckles: Bodies at the knuckles of index, middle and little finger.
        middles: Fingers it has, and the bodies at their joints after the knuckle, thumb first.
        tips: The same fingers' last bodies, and how far along z their tips are [m].
        still: Joints that are not retargeted: those of the wrist, as palm and fingers do not tell of them.
    """

    files: tuple[str, str]
    prefixes: tuple[str, str]
    palm: str
    knuckles: tuple[str, str, str]
    middles: dict[str, str]
    tips: dict[str, tuple[str, float]]
    still: tuple[str, ...] = ()

    def file(self, side: Side) -> str:
        """The model file of a side."""
        return self.files[0 if side == "left" else 1]

    def prefix(self, side: Side) -> str:
        """What names of a side begin with."""
        return self.prefixes[0 if side == "left" else 1]


HANDS: dict[str, Hand] = {
    "shadow_hand": Hand(
        files=("left_hand.xml", "right_hand.xml"),
        prefixes=("lh_", "rh_"),
        palm="palm",
        knuckles=("ffknuckle", "mfknuckle", "lfknuckle"),
        middles={
            "thumb": "thmiddle",
            "index": "ffmiddle",
            "middle": "mfmiddle",
            "ring": "rfmiddle",
            "little": "lfmiddle",
        },
        # the tips of the maker's own description (sr_description): 26 mm after the last joint, 27.5 mm at the thumb
        tips={
            "thumb": ("thdistal", 0.0275),
            "index": ("ffdistal", 0.026),
            "middle": ("mfdistal", 0.026),
            "ring": ("rfdistal", 0.026),
            "little": ("lfdistal", 0.026),
        },
        still=("WRJ1", "WRJ2"),
    )
}
"""By the folder's name."""


def hand_of(folder: Path) -> Hand:
    """The hand in an unpacked robot's folder, by its model files.

    Raises:
        ValueError: It is none of those known.
    """
    for hand in HANDS.values():
        if all((folder / file).is_file() for file in hand.files):
            return hand
    raise ValueError(f"{folder} is no robot hand that is known; into=hand knows {', '.join(HANDS)}")


def model_of(hand: Hand, folder: Path, side: Side) -> Any:
    """The compiled model of a side, an `mujoco.MjModel`."""
    import mujoco

    return mujoco.MjModel.from_xml_path(str(folder / hand.file(side)))


def palm_of(hand: Hand, model: mujoco.MjModel, side: Side) -> tuple[np.ndarray, np.ndarray]:
    """Where a robot's palm is when all joints are at zero.

    Returns:
        Its origin (3,) [m] and its axes as columns (3, 3), in the world, as `palm_axes` makes them.
    """
    import mujoco

    data = mujoco.MjData(model)
    data.qpos[:] = 0.0
    mujoco.mj_kinematics(model, data)
    wrist, *knuckles = (data.body(hand.prefix(side) + name).xpos.copy() for name in (hand.palm, *hand.knuckles))
    return wrist, palm_axes(wrist, knuckles[0], knuckles[1], knuckles[2], side)
