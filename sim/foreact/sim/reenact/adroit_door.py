"""The door of the Adroit hand: what DAPG's demonstrations were recorded with.

Scene from the installed gymnasium-robotics wheel, whose code is not imported. Scaling of actions, sub-steps, gains and
the rule of success are those of its `adroit_door.py` (AdroitHandDoorEnv, version 1.4.2); the reward is that of the
recordings, which has the distance of palm and handle with the other sign: see `reward`.
Source: Rajeswaran et al. 2018, "Learning Complex Dexterous Manipulation with Deep Reinforcement Learning and
Demonstrations". Shape letters: T = steps, nq, nv, nu = of the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, override

import numpy as np

from foreact.episodes.sources import Source, SourceError
from foreact.sim.reenact.robot import driven_joints
from foreact.sim.reenact.scenery import furnish
from foreact.sim.reenact.stage import Driven, Opening, Stage, Tip

if TYPE_CHECKING:
    import mujoco

__all__ = ["DOOR_OPEN", "AdroitDoor", "door_model", "reward"]

NAME = "adroit_door"
FRAME_SKIP = 5
DOOR_OPEN = 1.35  # [rad] of the hinge: success
ACTIONS, OBSERVATIONS = 28, 39
HAND = slice(0, 27)  # of an observation: qpos[1:28]
LATCH, HINGE = 27, 28
PALM, HANDLE = slice(29, 32), slice(32, 35)  # [m], in the world frame
PLACE = "init_state_dict/door_body_pos"
# softer servos than in the model's file: wrist, fingers
GAINS = (("A_WRJ1", "A_WRJ0", 10.0), ("A_FFJ3", "A_THJ0", 1.0))


def door_model() -> mujoco.MjModel:
    """Compile the scene, with the gains that the environment sets.

    Raises:
        ModuleNotFoundError: gymnasium-robotics is not installed; the message says what to type.
    """
    import mujoco

    found = find_spec("gymnasium_robotics")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(
            "the Adroit door needs the model of gymnasium-robotics; type: pip install --no-deps"
            " gymnasium-robotics==1.4.2",
            name="gymnasium_robotics",
        )
    file = Path(found.submodule_search_locations[0]) / "envs/assets/adroit_hand/adroit_door.xml"
    spec = mujoco.MjSpec.from_file(str(file))
    furnish(spec)
    model = spec.compile()
    for first, last, gain in GAINS:
        rows = slice(model.actuator(first).id, model.actuator(last).id + 1)
        model.actuator_gainprm[rows, :3] = (gain, 0, 0)
        model.actuator_biasprm[rows, :3] = (0, -gain, 0)
    return model


def reward(palm: np.ndarray, handle: np.ndarray, hinge: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    """The dense reward of T states as the recordings have it.

    -0.1 |palm - handle| - 0.1 (hinge - 1.57)^2 - 1e-5 |qvel|^2 + 2 [hinge > 0.2] + 8 [hinge > 1] + 10 [hinge > 1.35].
    gymnasium-robotics 1.4.2 adds 0.1 |palm - handle| instead, which the recorded rewards contradict.

    Args:
        palm: [m], (T, 3).
        handle: [m], (T, 3).
        hinge: Angle of the door [rad], (T,).
        qvel: (T, nv).
    """
    near = -0.1 * np.linalg.norm(palm - handle, axis=1) - 0.1 * (hinge - 1.57) ** 2 - 1e-5 * (qvel**2).sum(1)
    return near + 2 * (hinge > 0.2) + 8 * (hinge > 1.0) + 10 * (hinge > DOOR_OPEN)


@dataclass
class AdroitDoor(Stage):
    """See `Stage`.

    Attributes:
        model: As `door_model` gives it.
        start: Where a demonstration begins: `recorded`, at its first observation with the arm's slide where the palm is
            seen, or `stated`, at its `init_state_dict`, which is all zeros and not what was observed.
    """

    model: mujoco.MjModel
    start: Literal["recorded", "stated"] = "recorded"
    name: str = NAME
    azimuth: float = 60.0
    elevation: float = -25.0
    tips: tuple[Tip, ...] = (Tip("S_grasp", "site"), Tip("S_handle", "site"))
    period_s: float | None = field(init=False)
    notes: tuple[str, ...] = field(init=False)
    driven: Driven = field(init=False)
    watched: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        model = self.model
        self.period_s = FRAME_SKIP * float(model.opt.timestep)
        joints = [model.joint(int(model.actuator_trnid[number, 0])).name for number in range(model.nu)]
        self.driven = driven_joints(model, joints, np.arange(model.nu))
        ends = model.actuator_ctrlrange
        self._middle, self._half = ends.mean(1), 0.5 * (ends[:, 1] - ends[:, 0])
        self.hinge = int(model.joint("door_hinge").qposadr[0])
        self.latch = int(model.joint("latch").qposadr[0])
        # both hands' parts and the door: bodies that can move
        self.watched = np.flatnonzero(model.body_weldid > 0)
        self.notes = (
            f"actions from -1 to 1 are scaled to the actuators' ranges, for {FRAME_SKIP} sub-steps each",
            "the arm's four servos settle at 2.5 times their command, so that their command is no position",
            "demonstrations begin at " + self._beginning(),
        )

    def _beginning(self) -> str:
        if self.start == "stated":
            return "their init_state_dict, which is not what they first observed"
        return "their first observation, the arm's slide where the palm was seen; the door where init_state_dict says"

    @override
    def opening(self, source: Source, state: np.ndarray | None, action: np.ndarray) -> Opening:
        import copy

        if action.shape != (ACTIONS,) or (state is not None and state.shape != (OBSERVATIONS,)):
            raise SourceError(
                f"{source.key}: the door takes {ACTIONS} numbers an action and {OBSERVATIONS} an observation, not"
                f" {len(action)} and {0 if state is None else len(state)}; is it one of DAPG's door demonstrations?"
            )
        model = copy.copy(self.model)
        model.body_pos[model.body("frame").id] = _stated(source, PLACE, 3)
        opening = Opening(model, model.qpos0.copy(), np.zeros(model.nv))
        if self.start == "stated":
            prefix = PLACE.rpartition("/")[0]
            qpos, qvel = (_stated(source, f"{prefix}/{each}", model.nq) for each in ("qpos", "qvel"))
            return Opening(model, qpos, qvel)
        if state is None:
            raise SourceError(f"{source.key} has no first observation to begin at; type start=stated")
        return Opening(model, self.posed(opening, state), opening.qvel)

    @override
    def control(self, action: np.ndarray) -> np.ndarray:
        return self._middle + np.clip(action.astype(np.float64), -1, 1) * self._half

    @override
    def target(self, action: np.ndarray) -> np.ndarray:
        return np.where(self.driven.servos, self.control(action), np.nan)

    @override
    def posed(self, opening: Opening, state: np.ndarray) -> np.ndarray:
        import mujoco

        model, data = opening.model, mujoco.MjData(opening.model)
        data.qpos[1:28], data.qpos[self.latch], data.qpos[self.hinge] = state[HAND], state[LATCH], state[HINGE]
        mujoco.mj_kinematics(model, data)
        # the slide carries the rest without turning it: the palm moves along its axis by as much as it slides
        axis = data.xaxis[model.joint("ARTz").id]
        data.qpos[0] = axis @ (state[PALM] - data.site("S_grasp").xpos)
        return data.qpos.copy()


def _stated(source: Source, name: str, count: int) -> np.ndarray:
    try:
        values = np.asarray(source.metadata[name], np.float64)
    except (KeyError, ValueError, TypeError):
        raise SourceError(
            f"{source.key} does not say {name}, so the door cannot be set; is it one of DAPG's door demonstrations?"
        ) from None
    if values.shape != (count,) or not np.isfinite(values).all():
        raise SourceError(f"{source.key}: {name} is not {count} finite numbers")
    return values
