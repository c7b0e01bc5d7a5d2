"""A hand's grasp as commands for a gripper: pose and opening, held where the hand is lost, kept within limits.

Shape letters: n = frames, J = 20 joints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from foreact.episodes.sync import slerp
from foreact.sim.retarget.palm import Side, grasp_poses, one_grasp, pinch
from foreact.sim.retarget.poses import angle_between, composed, finite_rows, mean_turn, turned

__all__ = ["Command", "Commands", "Gripper", "GripperLimits", "wrist_mount"]

LIMITS = ("speed", "turn", "workspace", "opening")
FAR = 1e9  # [m] no workspace


@dataclass(frozen=True)
class GripperLimits:
    """What a gripper may be told.

    Attributes:
        opening: Distance of its fingers, closed and open [m].
        pinched: Distance between the tips of thumb and index finger at which it is closed, and open [m]. Landmarks lie
            inside the finger tips: tips that touch are about 20 mm apart.
        speed: Of the grasp point [m/s].
        turn: Turning rate [rad/s].
        low: Workspace, in the frame of the commands [m].
        high: The other end.
        confidence: Frames that the tracker trusts less are not followed.
    """

    opening: tuple[float, float] = (0.0, 0.08)
    pinched: tuple[float, float] = (0.02, 0.10)
    speed: float = 2.0
    turn: float = 6.0
    low: tuple[float, float, float] = (-FAR, -FAR, -FAR)
    high: tuple[float, float, float] = (FAR, FAR, FAR)
    confidence: float = 0.5

    def __post_init__(self) -> None:
        (narrow, wide), (closed, opened) = self.opening, self.pinched
        if not 0 <= narrow < wide or not 0 <= closed < opened:
            raise ValueError(f"opening={self.opening} and pinched={self.pinched} must ascend from 0 or more [m]")
        if not self.speed > 0 or not self.turn > 0:
            raise ValueError(f"speed={self.speed} m/s and turn={self.turn} rad/s must be above 0")
        if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(f"workspace: low={self.low} must be below high={self.high}")

    def width(self, distance: float) -> float:
        """The opening [m] for a distance of the tips [m], not clamped."""
        # linear from (closed, narrow) to (opened, wide)
        closed, opened = self.pinched
        narrow, wide = self.opening
        return narrow + (distance - closed) / (opened - closed) * (wide - narrow)


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        pose: Of the grasp, (7,): [m], wxyz.
        opening: [m].
        held: The hand was not known; it is the command before.
        clamped: Which of `LIMITS` changed it.
    """

    pose: np.ndarray
    opening: float
    held: bool = False
    clamped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Commands:
    """Commands of n frames.

    Attributes:
        poses: (n, 7), NaN before the hand is known for the first time.
        openings: [m], (n,).
        held: bool (n,).
        clamped: How often each limit changed one.
        pinches: Distances of the tips [m], (n,).
    """

    poses: np.ndarray
    openings: np.ndarray
    held: np.ndarray
    clamped: dict[str, int]
    pinches: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Where there is a command, bool (n,)."""
        return np.isfinite(self.openings)


@dataclass
class Gripper:
    """Follows a hand frame by frame.

    Attributes:
        side: Of the body.
        limits: What it may be told.
        mount: Palm axes in the tracker's wrist frame, wxyz; with it orientations are those of the wrist. See
            `wrist_mount`.
    """

    side: Side
    limits: GripperLimits = field(default_factory=GripperLimits)
    mount: np.ndarray | None = None

    def __post_init__(self) -> None:
        self._last: Command | None = None
        self._time = 0

    def reset(self) -> None:
        """Forget the last command."""
        self._last = None

    def step(
        self,
        joints: np.ndarray,
        time_ns: int,
        confidence: float = 1.0,
        wrist: np.ndarray | None = None,
        base: np.ndarray | None = None,
    ) -> Command | None:
        """The command for one frame.

        Args:
            joints: (J, 3) [m], in any frame.
            time_ns: When [ns], after the frame before; limits of speed go by it.
            confidence: Of the tracker.
            wrist: Orientation of the wrist in the same frame, wxyz (4,), if `mount` is given.
            base: Pose of that frame in the frame of the commands, (7,); the same frame if None.

        Returns:
            None as long as the hand has never been known.
        """
        pose, distance = one_grasp(joints, self.side)
        if self.mount is not None or base is not None:
            pose = self._moved(np.array(pose), wrist, base).tolist()
        return self._next(pose, distance, time_ns, confidence)

    def run(
        self,
        joints: np.ndarray,
        stamps: np.ndarray,
        confidence: np.ndarray | None = None,
        wrists: np.ndarray | None = None,
        bases: np.ndarray | None = None,
    ) -> Commands:
        """The commands for n frames, as `step` one after the other gives them.

        Args:
            joints: (n, J, 3) [m].
            stamps: int64 (n,) [ns], ascending.
            confidence: (n,); all trusted if None.
            wrists: Orientations of the wrist, (n, 4).
            bases: (n, 7).
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            poses, pinches = self._moved(grasp_poses(joints, self.side), wrists, bases), pinch(joints)
        sure = np.ones(len(joints)) if confidence is None else confidence
        found, openings = np.full((len(joints), 7), np.nan), np.full(len(joints), np.nan)
        held = np.zeros(len(joints), bool)
        clamped: dict[str, int] = dict.fromkeys(LIMITS, 0)
        for index, (pose, distance, stamp, trust) in enumerate(
            zip(poses.tolist(), pinches.tolist(), stamps.tolist(), sure.tolist(), strict=True)
        ):
            command = self._next(pose, distance, stamp, trust)
            if command is None:
                continue
            found[index], openings[index], held[index] = command.pose, command.opening, command.held
            for name in command.clamped:
                clamped[name] += 1
        return Commands(found, openings, held, clamped, pinches)

    def _moved(self, pose: np.ndarray, wrist: np.ndarray | None, base: np.ndarray | None) -> np.ndarray:
        """Poses (..., 7) of the palm, turned like the wrist if that is asked for, in the frame of the commands."""
        if self.mount is not None:
            if wrist is None:
                raise ValueError("orientations of the wrist are asked for (mount), but none are given")
            pose[..., 3:] = turned(wrist, self.mount)
        return pose if base is None else composed(base, pose)

    def _next(self, pose: list[float], distance: float, time_ns: int, confidence: float) -> Command | None:
        """By single numbers: arrays of seven cost ten times as much."""
        last = self._last
        if not confidence >= self.limits.confidence or not math.isfinite(distance + sum(pose)):
            if last is not None:
                self._time, self._last = time_ns, Command(last.pose, last.opening, held=True)
            return self._last
        clamped: list[str] = []
        bounds = zip(pose[:3], self.limits.low, self.limits.high, strict=True)
        place = [min(max(each, low), high) for each, low, high in bounds]
        if place != pose[:3]:
            clamped.append("workspace")
        turn = pose[3:]
        if last is not None:
            place, turn = self._slowed(last.pose.tolist(), place, turn, (time_ns - self._time) / 1e9, clamped)
        narrow, wide = self.limits.opening
        wished = self.limits.width(distance)
        opening = min(max(wished, narrow), wide)
        if opening != wished:
            clamped.append("opening")
        self._time, self._last = time_ns, Command(np.array(place + turn), opening, clamped=tuple(clamped))
        return self._last

    def _slowed(
        self, last: list[float], place: list[float], turn: list[float], seconds: float, clamped: list[str]
    ) -> tuple[list[float], list[float]]:
        """What can be reached from the last command in this time."""
        far, most = math.dist(last[:3], place), self.limits.speed * seconds
        if far > most:
            place = [old + (new - old) * most / far for old, new in zip(last[:3], place, strict=True)]
            clamped.append("speed")
        # |q - p| = 2 sin(angle / 4), of q and -q the nearer
        chord = min(math.dist(last[3:], turn), math.dist(last[3:], [-each for each in turn]))
        angle, most = 4.0 * math.asin(min(chord / 2.0, 1.0)), self.limits.turn * seconds
        if angle > most:
            turn = slerp(np.array(last[3:]), np.array(turn), most / angle).tolist()
            clamped.append("turn")
        return place, turn


def wrist_mount(wrists: np.ndarray, joints: np.ndarray, side: Side) -> tuple[np.ndarray, np.ndarray]:
    """How palm axes lie in a tracker's wrist frame, whatever its convention: the mean over frames where both are known.

    Args:
        wrists: Orientations, wxyz (n, 4).
        joints: (n, J, 3) [m] in the same frame.
        side: Of the body.

    Returns:
        The mean, wxyz (4,), and how far each frame is from it [rad], (n,), NaN where one of both is not known.

    Raises:
        ValueError: They are never known together.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        left = turned(wrists * [1.0, -1.0, -1.0, -1.0], grasp_poses(joints, side)[:, 3:])
    known = finite_rows(left)
    if not known.any():
        raise ValueError("wrist and landmarks are never known together")
    mean = mean_turn(left[known])
    return mean, angle_between(mean, left)
