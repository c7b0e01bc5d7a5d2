"""Whether an arm can follow grasps: inverse kinematics within joint limits, with what is left over in mm and degrees.

Differential inverse kinematics by quadratic programmes (mink, daqp), repeated until nothing moves. An arm starts each
frame where it was, and where that does not get there, again from home and from random places.
Shape letters: n = frames, Q = joints of the arm's model.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.sim.retarget.arms import GRASP, Arm, grasp_at, home_of
from foreact.sim.retarget.poses import angle_between, composed, finite_rows, inverse, mean_turn

if TYPE_CHECKING:
    import mujoco

__all__ = ["Placement", "Reach", "Reached", "Reacher", "place_before"]

ROUNDS = 80  # the most steps from one start
STOPPED = 1e-5  # [rad], [m] of the largest joint in a step
AT_LIMIT = 1e-3  # [rad], [m] from the end of a range
DAMPING = 1e-8
FAR_DAMPING = 1.0  # of steps, by the square of what is left over: without it an arm flails at what it cannot reach


@dataclass(frozen=True)
class Reach:
    """What counts as reached.

    Attributes:
        position_mm: The most that the grasp point may be off.
        orientation_deg: The most that it may be turned away.
        tries: Random starts for a pose that neither the last frame nor home leads to.
        seed: Of the random starts.
    """

    position_mm: float = 5.0
    orientation_deg: float = 5.0
    tries: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.position_mm > 0 or not self.orientation_deg > 0 or self.tries < 0:
            raise ValueError(f"expected thresholds above 0 and tries of 0 or more, got {self}")


@dataclass(frozen=True)
class Reached:
    """How an arm follows n grasps.

    Attributes:
        qpos: (n, Q); NaN where there is no grasp.
        position_mm: Of the grasp point from its target (n,).
        orientation_deg: Of the grasp frame from its target (n,).
        reached: Both within the thresholds, bool (n,).
        near: The position is, bool (n,).
        at_limit: Joints at an end of their range, bool (n, Q).
        restarts: Frames that did not follow from the frame before.
        cpu_s: CPU time [s].
    """

    qpos: np.ndarray
    position_mm: np.ndarray
    orientation_deg: np.ndarray
    reached: np.ndarray
    near: np.ndarray
    at_limit: np.ndarray
    restarts: int
    cpu_s: float


@dataclass(frozen=True)
class Placement:
    """Where the recording lies in the robot's world: pose (7,) of its frame, and how that was chosen, in words."""

    pose: np.ndarray
    how: str


def place_before(arm: Arm, model: mujoco.MjModel, poses: np.ndarray) -> Placement:
    """Put the middle of what a hand did where the arm's grasp is at home.

    Args:
        arm: Which.
        model: Compiled.
        poses: Finite, (n, 7), n at least 1.
    """
    middle = np.concatenate([np.median(poses[:, :3], axis=0), mean_turn(poses[:, 3:])])
    home = home_of(arm, model)[1]
    where = ", ".join(f"{each:.3f}" for each in home[:3])
    how = f"median position and mean orientation to the grasp at home, {where} m from the base"
    return Placement(composed(home, inverse(middle)), how)


class Reacher:
    """Follows grasps with an arm.

    Args:
        arm: Which.
        model: As `arms.model_of` gives it.
        reach: What counts as reached.

    Raises:
        ModuleNotFoundError: mink is not installed.
    """

    def __init__(self, arm: Arm, model: mujoco.MjModel, reach: Reach | None = None) -> None:
        try:
            import daqp  # noqa: F401 - the solver that mink is told to use
            import mink
        except ModuleNotFoundError as error:
            told = f"{error.name} is not installed; type: pip install 'foreact[retarget]'"
            raise ModuleNotFoundError(told) from None
        self.arm, self.model, self.reach = arm, model, reach or Reach()
        self._mink: Any = mink
        self._home, _ = home_of(arm, model)
        self._random = np.random.default_rng(self.reach.seed)
        self._task: Any = mink.FrameTask(
            GRASP, "site", position_cost=1.0, orientation_cost=arm.turn_weight, lm_damping=FAR_DAMPING
        )
        self._limits: list[Any] = [mink.ConfigurationLimit(model)]
        fingers = [model.joint(name).id for name in arm.fingers]
        self._moves = np.setdiff1d(np.arange(model.njnt), fingers)
        self._configuration: Any = mink.Configuration(model, q=self._home)
        self._restarts = 0

    def run(self, poses: np.ndarray, openings: np.ndarray) -> Reached:
        """Follow n grasps.

        Args:
            poses: Of the grasp frame in the world of the arm, (n, 7); not finite where there is none.
            openings: [m], (n,).
        """
        count, start = len(poses), time.process_time()
        qpos, off = np.full((count, self.model.nq), np.nan), np.full((count, 2), np.nan)
        last, self._restarts = self._home, 0
        for index in np.flatnonzero(finite_rows(poses)):
            last, off[index] = self._best(poses[index], last)
            qpos[index] = last
            for name, position in self.arm.finger_positions(float(openings[index])).items():
                qpos[index, self.model.joint(name).qposadr[0]] = position
        with np.errstate(invalid="ignore"):
            near = off[:, 0] <= self.reach.position_mm
            reached = near & (off[:, 1] <= self.reach.orientation_deg)
            low, high = self.model.jnt_range.T
            limit = ((qpos <= low + AT_LIMIT) | (qpos >= high - AT_LIMIT)) & self.model.jnt_limited.astype(bool)
        limit[:, np.setdiff1d(np.arange(self.model.njnt), self._moves)] = False
        spent = time.process_time() - start
        return Reached(qpos, off[:, 0], off[:, 1], reached, near, limit, self._restarts, spent)

    def _best(self, pose: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The best of some starts: positions of the joints, and how far off they are [mm, deg]."""
        found, off = self._from(last, pose)
        if self._good(off):
            return found, off
        starts = [self._home, *(self._anywhere() for _ in range(self.reach.tries))]
        for start in starts:
            other, other_off = self._from(start, pose)
            if self._cost(other_off) < 0.9 * self._cost(off):  # a little better is no reason to jump
                found, off = other, other_off
                self._restarts += 1
            if self._good(off):
                break
        return found, off

    def _from(self, start: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mink, configuration = self._mink, self._configuration
        configuration.update(start)
        self._task.set_target(mink.SE3(np.concatenate([pose[3:], pose[:3]])))  # mink has the quaternion first
        for _ in range(ROUNDS):
            velocity = mink.solve_ik(
                configuration, [self._task], 1.0, "daqp", damping=DAMPING, limits=self._limits
            )  # fmt: skip
            configuration.integrate_inplace(velocity, 1.0)
            if np.abs(velocity).max() < STOPPED:
                break
        low, high = self.model.jnt_range.T
        found = np.where(self.model.jnt_limited, np.clip(configuration.q, low, high), configuration.q)
        # what is left over is told by MuJoCo's kinematics of the joints as they are given out
        there = grasp_at(self.arm, self.model, found)
        far = 1e3 * float(np.linalg.norm(there[:3] - pose[:3]))
        return found, np.array([far, np.degrees(float(angle_between(there[3:], pose[3:])))])

    def _good(self, off: np.ndarray) -> bool:
        return bool(off[0] <= self.reach.position_mm and off[1] <= self.reach.orientation_deg)

    def _cost(self, off: np.ndarray) -> float:
        return float(off[0] / 1e3 + self.arm.turn_weight * np.radians(off[1]))

    def _anywhere(self) -> np.ndarray:
        low, high = self.model.jnt_range.T
        found = self._home.copy()
        found[self._moves] = self._random.uniform(low, high)[self._moves]
        return found
