"""A human hand's fingers as joint angles of a robot hand.

The objective is dex-retargeting's for vectors (Qin et al. 2023, "AnyTeleop"; Handa et al. 2020, "DexPilot"): vectors
from the palm to finger tips and to the joints after the knuckles shall be those of the person, scaled, and joints shall
not jump. `solver="gauss-newton"` minimises it in MuJoCo (`fingers`), `solver="package"` is dex-retargeting itself:
SLSQP over pinocchio and torch. Shape letters: n = frames, J = 20 human joints, F = fingers, Q = joints of the robot.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foreact.sim.retarget.fingers import FingerSolver
from foreact.sim.retarget.hands import Hand, palm_of
from foreact.sim.retarget.joints import AT, FINGERS
from foreact.sim.retarget.palm import Side, palm_axes
from foreact.sim.retarget.poses import finite_rows
from foreact.sim.retarget.urdf import kinematic_urdf

if TYPE_CHECKING:
    import mujoco

__all__ = ["Dexterous", "FingerErrors", "HandPath", "Solver", "finger_errors", "human_length", "robot_length"]

TIPS = [AT[f"{finger} tip"] for finger in FINGERS]
MIDDLES = [AT["thumb knuckle"], *(AT[f"{finger} middle"] for finger in FINGERS[1:])]
CORNERS = [AT[name] for name in ("wrist", "index knuckle", "middle knuckle", "little knuckle")]
CHAIN = [AT["wrist"], *(AT[f"middle {joint}"] for joint in ("knuckle", "middle", "distal", "tip"))]
AT_LIMIT = 1e-3  # [rad] from the end of a range
FIRST = 5  # times the first frame is solved

Solver = Literal["gauss-newton", "package"]


@dataclass(frozen=True)
class HandPath:
    """What a robot hand does in n frames.

    Attributes:
        qpos: In the model's order, (n, Q) [rad]; NaN before the hand is known for the first time.
        held: The hand was not known; the joints stay, bool (n,).
        targets: Vectors from the palm's origin to the F tips and to the F joints after the knuckles, in the world of
            the robot with its joints at zero, scaled, (n, 2 F, 3) [m]; NaN where the hand is not known.
        cpu_s: CPU time of the optimiser [s].
    """

    qpos: np.ndarray
    held: np.ndarray
    targets: np.ndarray
    cpu_s: float


@dataclass(frozen=True)
class FingerErrors:
    """How far a robot hand is from what it should do, NaN where the hand is not known.

    Attributes:
        tips: Distance of each tip from its target [m], (n, F).
        directions: Angle between the directions from the joint after the knuckle to the tip [rad], (n, F).
        pinch: Distance of the tips of thumb and index finger, less that of the targets [m], (n,).
        at_limit: Whether each joint is at the end of its range, bool (n, Q).
    """

    tips: np.ndarray
    directions: np.ndarray
    pinch: np.ndarray
    at_limit: np.ndarray


class Dexterous:
    """Follows a hand frame by frame.

    Args:
        hand: Which robot hand.
        model: Compiled.
        side: Of the body.
        scale: Of the person's vectors; `robot_length / human_length` for a hand of the person's size.
        smooth: Weight of joints that stay, against distances [m]: `normal_delta` of the package. 4e-3 is the package's
            own, which lags behind fast fingers.
        solver: `gauss-newton`, or `package` for dex-retargeting.

    Raises:
        ValueError: A scale or weight out of range.
        ModuleNotFoundError: dex-retargeting is asked for and not installed.
    """

    def __init__(
        self,
        hand: Hand,
        model: mujoco.MjModel,
        side: Side,
        scale: float,
        *,
        smooth: float = 1e-3,
        solver: Solver = "gauss-newton",
    ) -> None:
        if not scale > 0 or not smooth >= 0:
            raise ValueError(f"scale={scale} must be above 0 and smooth={smooth} at least 0")
        self.hand, self.model, self.scale = hand, model, scale
        self.side: Side = side
        self._axes = palm_of(hand, model, side)[1]
        make = {"gauss-newton": _Own, "package": _Package}[solver]
        self._solver: _Own | _Package = make(hand, model, side, smooth)
        self._last: np.ndarray | None = None

    def reset(self) -> None:
        """Forget the last frame."""
        self._last = None

    def vectors(self, joints: np.ndarray) -> np.ndarray:
        """From the wrist to tips and to joints after the knuckles, turned as the robot's palm is, (..., 2 F, 3) [m].

        Args:
            joints: (..., J, 3) [m].
        """
        wrist, index, middle, little = (joints[..., at, :] for at in CORNERS)
        palm = palm_axes(wrist, index, middle, little, self.side)
        seen = joints[..., [*TIPS, *MIDDLES], :] - wrist[..., None, :]
        return seen @ palm @ self._axes.T  # rows: R_robot R_palm^T v

    def step(self, joints: np.ndarray) -> np.ndarray | None:
        """Joint angles for one frame, (Q,) [rad], within their ranges; None as long as the hand was never known.

        Args:
            joints: (J, 3) [m], in any frame; the last angles stay where it is not finite.
        """
        return self._follow(self.vectors(joints))

    def run(self, joints: np.ndarray, known: np.ndarray) -> HandPath:
        """Joint angles for n frames.

        Args:
            joints: (n, J, 3) [m].
            known: Frames to follow, bool (n,).
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            vectors = self.vectors(joints)
        held = ~(known & finite_rows(vectors))
        vectors[held] = np.nan
        qpos = np.full((len(joints), self.model.nq), np.nan)
        start = time.process_time()
        for index, each in enumerate(vectors):
            if (found := self._follow(each)) is not None:
                qpos[index] = found
        return HandPath(qpos, held, self.scale * vectors, time.process_time() - start)

    def _follow(self, vectors: np.ndarray) -> np.ndarray | None:
        if np.isfinite(vectors).all():
            # the first frame has nothing to stay near: it is brought where it would come to rest
            for _ in range(FIRST if self._last is None else 1):
                self._last = self._solver.solve(self.scale * vectors, self._last)
        return self._last

    def errors(self, path: HandPath) -> FingerErrors:
        """How well frames were followed, by MuJoCo's kinematics, which the optimiser does not use."""
        return finger_errors(self.hand, self.model, self.side, path.qpos, path.targets)


def finger_errors(hand: Hand, model: mujoco.MjModel, side: Side, qpos: np.ndarray, targets: np.ndarray) -> FingerErrors:
    """Compare a robot hand with its targets.

    Args:
        hand: Which.
        model: Compiled.
        side: Of the body.
        qpos: (n, Q) [rad].
        targets: As in `HandPath`, (n, 2 F, 3) [m].
    """
    found = np.full((len(qpos), 2 * len(FINGERS), 3), np.nan)
    for index in np.flatnonzero(finite_rows(qpos)):
        found[index] = reached(hand, model, side, qpos[index])
    count = len(FINGERS)
    tips = np.linalg.norm(found[:, :count] - targets[:, :count], axis=-1)
    along, wished = (each[:, :count] - each[:, count:] for each in (found, targets))
    with np.errstate(invalid="ignore", divide="ignore"):
        sine = np.linalg.norm(np.cross(along, wished), axis=-1)
        directions = np.arctan2(sine, (along * wished).sum(-1))
        apart = np.linalg.norm(found[:, 0] - found[:, 1], axis=-1) - np.linalg.norm(
            targets[:, 0] - targets[:, 1], axis=-1
        )
        low, high = model.jnt_range.T
        limit = (qpos <= low + AT_LIMIT) | (qpos >= high - AT_LIMIT)
    return FingerErrors(tips, directions, apart, limit & finite_rows(tips)[:, None])


def reached(hand: Hand, model: mujoco.MjModel, side: Side, qpos: np.ndarray) -> np.ndarray:
    """Vectors from the palm's origin to tips and joints after the knuckles in the world, (2 F, 3) [m]."""
    import mujoco

    data, prefix = mujoco.MjData(model), hand.prefix(side)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    origin = data.body(prefix + hand.palm).xpos
    ends = [data.body(prefix + body) for body, _ in (hand.tips[finger] for finger in FINGERS)]
    lengths = [hand.tips[finger][1] for finger in FINGERS]
    tips = [body.xpos + far * body.xmat.reshape(3, 3)[:, 2] for body, far in zip(ends, lengths, strict=True)]
    middles = [data.body(prefix + hand.middles[finger]).xpos for finger in FINGERS]
    return np.array([*tips, *middles]) - origin


def human_length(joints: np.ndarray) -> float:
    """From the wrist along the middle finger to its tip, median over frames [m].

    Args:
        joints: Finite, (n, J, 3) [m], n at least 1.
    """
    bones = np.linalg.norm(np.diff(joints[:, CHAIN], axis=1), axis=-1)
    return float(np.median(bones, axis=0).sum())


def robot_length(hand: Hand, model: mujoco.MjModel, side: Side) -> float:
    """The same of a robot hand that is stretched out [m]."""
    return float(np.linalg.norm(reached(hand, model, side, np.zeros(model.nq))[FINGERS.index("middle")]))


def _tasks(hand: Hand, prefix: str) -> list[tuple[str, float]]:
    """Bodies on which the vectors end, and how far along z [m]."""
    tips = [hand.tips[finger] for finger in FINGERS]
    return [*((prefix + body, far) for body, far in tips), *((prefix + hand.middles[each], 0.0) for each in FINGERS)]


def _moving(hand: Hand, model: mujoco.MjModel, prefix: str) -> list[str]:
    names = [model.joint(each).name for each in range(model.njnt)]
    return [name for name in names if name.removeprefix(prefix) not in hand.still]


class _Own:
    """`FingerSolver`, from the middle of the ranges at first."""

    def __init__(self, hand: Hand, model: mujoco.MjModel, side: Side, smooth: float) -> None:
        prefix = hand.prefix(side)
        names = _moving(hand, model, prefix)
        self._solver = FingerSolver(model, prefix + hand.palm, _tasks(hand, prefix), names, smooth)
        self._at, self._size = model.jnt_qposadr[[model.joint(name).id for name in names]], model.nq

    def solve(self, goal: np.ndarray, last: np.ndarray | None) -> np.ndarray:
        start = (self._solver.low + self._solver.high) / 2 if last is None else last[self._at]
        qpos = np.zeros(self._size)
        qpos[self._at] = self._solver.solve(goal, start)
        return qpos


class _Package:
    """dex-retargeting; it reads URDF files only and computes with torch, fastest on one thread for things so small."""

    def __init__(self, hand: Hand, model: mujoco.MjModel, side: Side, smooth: float) -> None:
        try:
            from dex_retargeting import optimizer as package
            from dex_retargeting.robot_wrapper import RobotWrapper
            from dex_retargeting.seq_retarget import SeqRetargeting
        except ModuleNotFoundError as error:
            told = f"{error.name} is not installed; type: pip install 'foreact[retarget,train]'"
            raise ModuleNotFoundError(told) from None

        package.torch.set_num_threads(1)
        prefix, ends = hand.prefix(side), [f"end.{index}" for index in range(2 * len(FINGERS))]
        links = {name: (body, (0.0, 0.0, far)) for name, (body, far) in zip(ends, _tasks(hand, prefix), strict=True)}
        with tempfile.TemporaryDirectory(prefix="foreact-urdf-") as folder:
            file = Path(folder) / "hand.urdf"
            file.write_text(kinematic_urdf(model, links), encoding="utf-8")
            robot = RobotWrapper(str(file))
        optimizer: Any = package.VectorOptimizer(
            robot, _moving(hand, model, prefix), [prefix + hand.palm] * len(ends), ends,
            np.zeros((2, len(ends)), int), norm_delta=smooth,
        )  # fmt: skip
        self._sequence: Any = SeqRetargeting(optimizer, True, None)
        self._still = np.zeros(len(optimizer.idx_pin2fixed))
        self._order = np.array([robot.get_joint_index(model.joint(each).name) for each in range(model.njnt)])
        self._low, self._high = model.jnt_range.T

    def solve(self, goal: np.ndarray, last: np.ndarray | None) -> np.ndarray:
        if last is None:
            self._sequence.reset()
        found = self._sequence.retarget(goal, self._still)[self._order]
        return np.clip(found, self._low, self._high)  # the package may leave ranges by 1e-3 rad
