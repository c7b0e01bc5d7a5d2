"""What `foreact replay into=gripper` and `into=hand` are told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from foreact.sim.retarget.dexterous import Solver
from foreact.sim.retarget.gripper import FAR, GripperLimits
from foreact.sim.retarget.joints import Order

__all__ = ["GripperConfig", "HandConfig", "RetargetConfig"]


@dataclass(frozen=True)
class RetargetConfig:
    """What both are told.

    Attributes:
        path: A recording, or a folder of some.
        into: `gripper` or `hand`.
        robot: Archive or folder of the robot's MJCF model.
        out: Folder for the streams, the report and the pictures; nothing is written without it.
        recordings: Which, by key; the first if none is named.
        stream: Of kind hand; `hand.SIDE.landmarks` by default.
        side: `left` or `right`; by default what the stream's name says, the right one where there are both.
        order: Of the landmarks: `wrist-first`, `aria`, or `auto` for what the recording says.
        mirrored: The recording's frame is left-handed, as gloves' often are: x is turned round.
        confidence: Frames that the tracker trusts less are not followed; the command before is held.
        frames: Pictures of the robot that are drawn at most; 0 for none.
        video: Recording whose pictures are shown beside the robot's, first frame with first frame; by default the
            first camera of the same recording.
    """

    path: Path
    into: str = ""
    robot: Path | None = None
    out: Path | None = None
    recordings: tuple[str, ...] = ()
    stream: str = ""
    side: Literal["", "left", "right"] = ""
    order: Order = "auto"
    mirrored: bool = False
    confidence: float = 0.5
    frames: int = 90
    video: Path | None = None

    def __post_init__(self) -> None:
        if self.frames < 0:
            raise ValueError(f"frames={self.frames} must be 0 or more")


@dataclass(frozen=True)
class GripperConfig(RetargetConfig):
    """A hand becomes a gripper's pose and opening, and with a robot the path of its joints.

    Attributes:
        pinched_m: Distances of the tips of thumb and index finger at which the gripper is closed, and open [m].
        opening_m: Distances of its fingers, closed and open [m]; by default the robot's, 0 and 0.08 without one.
        speed: The most [m/s].
        turn: The most [rad/s].
        low_m: Workspace in the frame of the commands, x, y, z [m]; everywhere if not given.
        high_m: Its other end.
        orientation: `palm` by the landmarks, or `wrist` by the recording's pose of the wrist.
        ahead: Steps of actions as seen from the camera, where the recording says where the camera was.
        placement: Where the recording's frame lies in the robot's world, x, y, z, qw, qx, qy, qz; by default the middle
            of the grasps is put where the robot's is at home.
        position_mm: A grasp counts as reached within this.
        orientation_deg: And within this.
        tries: Random starts of the inverse kinematics where nothing else leads there.
        seed: Of these starts.
    """

    into: str = "gripper"
    pinched_m: tuple[float, float] = (0.02, 0.10)
    opening_m: tuple[float, ...] = ()
    speed: float = 2.0
    turn: float = 6.0
    low_m: tuple[float, ...] = ()
    high_m: tuple[float, ...] = ()
    orientation: Literal["palm", "wrist"] = "palm"
    ahead: int = 16
    placement: tuple[float, ...] = ()
    position_mm: float = 5.0
    orientation_deg: float = 5.0
    tries: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, size in (("opening_m", 2), ("low_m", 3), ("high_m", 3), ("placement", 7)):
            if len(getattr(self, name)) not in (0, size):
                raise ValueError(f"{name} must have {size} numbers, got {len(getattr(self, name))}")
        if self.placement and abs(float(np.linalg.norm(self.placement[3:])) - 1) > 1e-3:
            raise ValueError(f"placement: qw, qx, qy, qz must be a unit quaternion, got {self.placement[3:]}")
        if self.ahead < 1:
            raise ValueError(f"ahead={self.ahead} must be 1 or more")
        self.limits((0.0, 0.08))

    def limits(self, opening: tuple[float, float]) -> GripperLimits:
        """What the gripper may be told; `opening` is the robot's [m]."""
        low = self.low_m or (-FAR,) * 3
        high = self.high_m or (FAR,) * 3
        narrow, wide = self.opening_m or opening
        return GripperLimits(
            opening=(narrow, wide),
            pinched=self.pinched_m,
            speed=self.speed,
            turn=self.turn,
            low=(low[0], low[1], low[2]),
            high=(high[0], high[1], high[2]),
            confidence=self.confidence,
        )


@dataclass(frozen=True)
class HandConfig(RetargetConfig):
    """A hand becomes the joint angles of a robot hand.

    Attributes:
        scale: Of the person's hand; 0 makes wrist to middle finger tip as long as the robot's.
        smooth: Weight of joints that stay.
        solver: `gauss-newton`, or `package` for dex-retargeting.
    """

    into: str = "hand"
    scale: float = 0.0
    smooth: float = 1e-3
    solver: Solver = "gauss-newton"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.robot is None:
            raise ValueError("into=hand needs a robot hand: robot=shadow_hand.tar.xz, say")
        if self.scale < 0 or self.smooth < 0:
            raise ValueError(f"scale={self.scale} and smooth={self.smooth} must be 0 or more")
