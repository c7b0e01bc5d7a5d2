"""A robot with position servos, fixed by its base: recorded joint positions drive the joints that they fit.

Shape letters: E = elements of an action, J = joints that are driven, nq, nu = of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, override

import numpy as np

from foreact.episodes.sources import Source
from foreact.sim.reenact.joints import Fit, fitted
from foreact.sim.reenact.scenery import furnish
from foreact.sim.reenact.stage import Driven, Opening, Stage, Tip
from foreact.sim.robot_archive import model_file, unpacked

if TYPE_CHECKING:
    import mujoco

__all__ = ["RobotModel", "RobotStage", "driven_joints", "load_robot"]


@dataclass(frozen=True)
class RobotModel:
    """A compiled robot whose base stands still.

    Attributes:
        name: Of the robot.
        spec: From which it was compiled.
        model: Compiled.
        home: Positions that it has at rest, (nq,).
        control: What its actuators are told at rest, (nu,).
        notes: What was changed.
    """

    name: str
    spec: mujoco.MjSpec
    model: mujoco.MjModel
    home: np.ndarray
    control: np.ndarray
    notes: tuple[str, ...]


def load_robot(robot: Path, name: str = "") -> RobotModel:
    """Load a robot and fix its base where its first keyframe has it.

    Args:
        robot: An MJCF file, a folder of some, or an archive of such a folder.
        name: Which model of the folder; see `model_file`.

    Raises:
        FileNotFoundError: Nothing is there.
        ValueError: It is no robot that MuJoCo can load.
    """
    import mujoco

    file = robot if robot.suffix == ".xml" else model_file(unpacked(robot), name)
    try:
        whole = mujoco.MjModel.from_xml_path(str(file))
        spec = mujoco.MjSpec.from_file(str(file))
        notes = _fix_base(spec, whole)
        furnish(spec)
        model = spec.compile()
    except ValueError as error:
        raise ValueError(f"{file} cannot be loaded: {error}") from error
    home, control = _at_rest(whole, model)
    return RobotModel(file.stem, spec, model, home, control, tuple(notes))


def locked(robot: RobotModel, joints: Sequence[str]) -> RobotModel:
    """The robot with joints that cannot leave where they are at rest, by stiff equality constraints."""
    import mujoco

    spec = robot.spec.copy()
    for name in joints:
        joint = robot.model.joint(name)
        place = joint.qposadr[0]
        lock = spec.add_equality(type=mujoco.mjtEq.mjEQ_JOINT, name1=name, objtype=mujoco.mjtObj.mjOBJ_JOINT)
        lock.data[0] = robot.home[place] - robot.model.qpos0[place]
        lock.solref[:] = (2 * robot.model.opt.timestep, 1)  # the stiffest that is stable
    return replace(robot, spec=spec, model=spec.compile())


def _fix_base(spec: mujoco.MjSpec, whole: mujoco.MjModel) -> list[str]:
    import mujoco

    key = whole.key(0).name or "0" if whole.nkey else ""
    where = f"where keyframe {key} has it" if key else "where the model has it"
    notes = []
    free = mujoco.mjtJoint.mjJNT_FREE
    starts = whole.jnt_qposadr[whole.jnt_type == free].tolist()
    for joint, start in zip([each for each in spec.joints if each.type == free], starts, strict=True):
        body = joint.parent
        pose = (whole.key_qpos[0] if whole.nkey else whole.qpos0)[start : start + 7]
        body.pos, body.quat = pose[:3], pose[3:]
        notes.append(f"the base is fixed, {body.name} stays {where}: free joint {joint.name} is taken out")
        spec.delete(joint)
    for each in list(spec.keys):  # they are of the robot that can fall
        spec.delete(each)
    return notes


def _at_rest(whole: mujoco.MjModel, model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
    """Positions and controls of the first keyframe, or of the model itself without one."""
    source = whole.key_qpos[0] if whole.nkey else whole.qpos0
    home = model.qpos0.copy()
    for number in range(model.njnt):
        joint = model.joint(number)
        start = whole.joint(joint.name).qposadr[0] if joint.name else -1
        if start >= 0:
            home[joint.qposadr[0] : joint.qposadr[0] + len(joint.qpos0)] = source[start : start + len(joint.qpos0)]
    control = whole.key_ctrl[0].copy() if whole.nkey else np.zeros(model.nu)
    for number in range(model.nu):
        if is_servo(model, number):
            control[number] = home[model.jnt_qposadr[model.actuator_trnid[number, 0]]]
    return home, control


def is_servo(model: mujoco.MjModel, actuator: int) -> bool:
    """Whether an actuator drives one joint to the position that it is told."""
    import mujoco

    joint = model.actuator_trntype[actuator] == mujoco.mjtTrn.mjTRN_JOINT
    fixed = model.actuator_gaintype[actuator] == mujoco.mjtGain.mjGAIN_FIXED
    affine = model.actuator_biastype[actuator] == mujoco.mjtBias.mjBIAS_AFFINE
    gain, bias = model.actuator_gainprm[actuator, 0], model.actuator_biasprm[actuator]
    # force = gain u + bias[0] + bias[1] q + bias[2] q'
    return bool(joint and fixed and affine and gain > 0 and bias[1] == -gain and bias[0] == 0)


def driven_joints(model: mujoco.MjModel, names: Sequence[str], actuators: np.ndarray) -> Driven:
    """What is known of the joints that are driven.

    Args:
        model: Compiled.
        names: Of the J joints.
        actuators: That drive them, int (J,).
    """
    import mujoco

    numbers = np.array([model.joint(name).id for name in names], np.int64)
    limited = model.jnt_limited[numbers].astype(bool)
    ranges = np.where(limited[:, None], model.jnt_range[numbers], [-np.inf, np.inf])
    forces = np.where(model.jnt_actfrclimited[numbers], np.abs(model.jnt_actfrcrange[numbers]).min(1), np.inf)
    given = np.where(
        model.actuator_forcelimited[actuators], np.abs(model.actuator_forcerange[actuators]).min(1), np.inf
    )
    return Driven(
        names=tuple(names),
        qpos=model.jnt_qposadr[numbers].astype(np.int64),
        dof=model.jnt_dofadr[numbers].astype(np.int64),
        ranges=ranges,
        forces=np.minimum(forces, given * np.abs(model.actuator_gear[actuators, 0])),
        slides=model.jnt_type[numbers] == mujoco.mjtJoint.mjJNT_SLIDE,
        servos=np.array([is_servo(model, actuator) for actuator in actuators]),
    )


@dataclass
class RobotStage(Stage):
    """See `Stage`.

    Attributes:
        robot: What is driven.
        fit: Which element drives which joint.
        held: How joints are held at rest that are not driven.
        scale: From the recording's unit to rad.
    """

    robot: RobotModel
    fit: Fit
    held: str = "locked"
    scale: float = 1.0
    period_s: float | None = None
    azimuth: float = 160.0
    elevation: float = -20.0
    name: str = field(init=False)
    notes: tuple[str, ...] = field(init=False)
    driven: Driven = field(init=False)
    tips: tuple[Tip, ...] = field(init=False)
    watched: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        model, servos = self.robot.model, servo_of(self.robot.model)
        names = [pair.joint for pair in self.fit.pairs]
        self.actuators = np.array([servos[name] for name in names], np.int64)
        self.elements = np.array([pair.index for pair in self.fit.pairs], np.int64)
        self.driven = driven_joints(model, names, self.actuators)
        self.name = self.robot.name
        self.notes = (
            *self.robot.notes,
            *_left_out(self.fit, model, self.held),
            "only the robot is there, what it touched is not",
        )
        bodies = [int(model.jnt_bodyid[model.joint(name).id]) for name in names]
        self.tips = tuple(
            Tip(model.body(body).name, "body") for body in bodies if not _drives_below(model, body, bodies)
        )
        self.watched = np.array([body for body in range(model.nbody) if set(_chain(model, body)) & set(bodies)])

    @override
    def opening(self, source: Source, state: np.ndarray | None, action: np.ndarray) -> Opening:
        first = action if state is None else state
        qpos = self.robot.home.copy()
        qpos[self.driven.qpos] = self.target(first)
        return Opening(self.robot.model, qpos, np.zeros(self.robot.model.nv))

    @override
    def control(self, action: np.ndarray) -> np.ndarray:
        control = self.robot.control.copy()
        control[self.actuators] = self.target(action)
        return control

    @override
    def target(self, action: np.ndarray) -> np.ndarray:
        values = action[self.elements].astype(np.float64)
        return np.where(self.driven.slides, values, values * self.scale)

    @override
    def posed(self, opening: Opening, state: np.ndarray) -> np.ndarray:
        qpos = self.robot.home.copy()
        qpos[self.driven.qpos] = self.target(state)
        return qpos


def servo_of(model: mujoco.MjModel) -> dict[str, int]:
    """Numbers of the actuators that drive one joint each to the position that they are told, by joint."""
    return {
        model.joint(int(model.actuator_trnid[number, 0])).name: number
        for number in range(model.nu)
        if is_servo(model, number)
    }


def robot_stage(
    robot: RobotModel, elements: Sequence[str], given: Sequence[str], unit: str, held: Literal["locked", "servo"]
) -> RobotStage:
    """A stage for recordings whose actions have these elements.

    Args:
        robot: What is driven.
        elements: Names, E of them.
        given: `element:joint` each, as the user says.
        unit: Of the recording's angles, `rad` or `deg`.
        held: Joints that are not driven are `locked`, or held by their `servo`, which sags.

    Raises:
        ValueError: The recording does not fit, or the robot takes no positions.
    """
    servos = servo_of(robot.model)
    if not servos:
        kinds = f"its {robot.model.nu} actuators take forces" if robot.model.nu else "it has no actuator"
        raise ValueError(
            f"{robot.name} cannot be driven by joint positions: {kinds}; choose a model with position servos"
        )
    fit = fitted(elements, list(servos), given, robot.name)
    robot = locked(robot, fit.held) if held == "locked" else robot
    return RobotStage(robot, fit, held, np.pi / 180 if unit == "deg" else 1.0)


def _left_out(fit: Fit, model: mujoco.MjModel, held: str) -> list[str]:
    notes = []
    if fit.spare:
        notes.append(
            f"{len(fit.spare)} elements have no counterpart in the model and are left out: {', '.join(fit.spare)}"
        )
    if fit.held:
        how = "locked" if held == "locked" else "held by their servos"
        notes.append(f"{len(fit.held)} joints are not driven and {how} at rest: {', '.join(fit.held)}")
    free = [model.joint(number).name for number in range(model.njnt)]
    loose = [name for name in free if name and name not in servo_of(model)]
    if loose:
        notes.append(f"{len(loose)} joints have no position servo of their own: {', '.join(loose)}")
    return notes


def _chain(model: mujoco.MjModel, body: int) -> list[int]:
    """A body and those it hangs on, without the world."""
    chain = []
    while body:
        chain.append(body)
        body = int(model.body_parentid[body])
    return chain


def _drives_below(model: mujoco.MjModel, body: int, bodies: Sequence[int]) -> bool:
    return any(body in _chain(model, other)[1:] for other in bodies)
