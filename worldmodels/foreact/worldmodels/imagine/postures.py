"""From what is seen back to where everything is: joints and bodies of a scene by the names of observed elements.

Nothing is looked up in a simulator, so that a future which was only imagined can be drawn like a true one. Imagined
quaternions are scaled to length 1, since a model does not keep them there. Shape letters: N = observations,
O = observed elements, M = mocap bodies.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from foreact.sim.cameras import WorldStates

if TYPE_CHECKING:
    import mujoco

__all__ = ["Postures", "UnmappedColumn"]

AXES = {"x": 0, "y": 1, "z": 2}
TURNS = {"qw": 3, "qx": 4, "qy": 5, "qz": 6}
SPEEDS = ("vx", "vy", "vz", "wx", "wy", "wz")
FOLLOWS = ("hand", "aim")
"""What follows from the joints, and from the commands: seen, but not needed to draw."""

SHORTEST = 1e-3  # of a quaternion that still says something


class UnmappedColumn(ValueError):
    """An observed element says nothing about a scene's model, or something in the model is not observed."""


class Postures:
    """Places of all bodies of a model, by observation.

    Args:
        model: Of the scene.
        columns: Name of each observed element, length O.

    Raises:
        UnmappedColumn: An element fits nothing in the model, or nothing tells where a part of the model is.
    """

    def __init__(self, model: mujoco.MjModel, columns: Sequence[str]) -> None:
        self.model, self.columns = model, tuple(columns)
        self._qpos: dict[int, int] = {}  # place in qpos -> column
        self._mocap: dict[tuple[int, int], int] = {}  # mocap body, axis -> column
        self._sites: dict[tuple[int, int], tuple[int, int]] = {}  # mocap body, axis -> site on it, column
        self._turns: list[int] = []  # where quaternions begin in qpos
        for number, name in enumerate(self.columns):
            if not self._place(number, name):
                raise UnmappedColumn(
                    f"observed element {name!r} is neither a joint, a speed, nor a place of a free or mocap body or of"
                    " a site on one; this scene cannot be drawn from observations"
                )
        self._complete()

    def states(self, observations: np.ndarray) -> WorldStates:
        """What decides the pictures of observations.

        Args:
            observations: (N, O), true or imagined.

        Raises:
            ValueError: The shape is wrong, a number is not finite, or a quaternion is almost zero.
        """
        seen = np.asarray(observations, np.float64)
        if seen.ndim != 2 or seen.shape[1] != len(self.columns):
            raise ValueError(f"expected observations of shape (N, {len(self.columns)}), got {seen.shape}")
        if not np.isfinite(seen).all():
            raise ValueError("cannot draw observations that are not finite")
        qpos = np.tile(np.array(self.model.qpos0), (len(seen), 1))
        qpos[:, list(self._qpos)] = seen[:, list(self._qpos.values())]
        for start in self._turns:
            length = np.linalg.norm(qpos[:, start : start + 4], axis=1, keepdims=True)
            if (length < SHORTEST).any():
                raise ValueError(f"{self.columns[self._qpos[start]]}: a quaternion of length 0 is no orientation")
            qpos[:, start : start + 4] /= length
        place, turn = self._mocap_poses(seen, qpos)
        return WorldStates(qpos, place, turn, {})

    def _mocap_poses(self, seen: np.ndarray, qpos: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        if not self.model.nmocap:
            return None, None
        moved = self.model.body_mocapid >= 0
        order = np.argsort(self.model.body_mocapid[moved])
        place = np.tile(self.model.body_pos[moved][order], (len(seen), 1, 1))
        turn = np.tile(self.model.body_quat[moved][order], (len(seen), 1, 1))
        for (body, axis), column in self._mocap.items():
            place[:, body, axis] = seen[:, column]
        if self._sites:
            offsets = self._site_offsets(qpos, place)
            for (body, axis), (site, column) in self._sites.items():
                place[:, body, axis] = seen[:, column] - offsets[:, site, axis]
        return place, turn

    def _site_offsets(self, qpos: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Where sites are from the mocap body that carries them [m], (N, sites, 3)."""
        import mujoco

        data = mujoco.MjData(self.model)
        carriers = self.model.body_mocapid[self.model.body_rootid[self.model.site_bodyid]]
        found = np.zeros((len(qpos), self.model.nsite, 3))
        for row, own in enumerate(qpos):
            data.qpos[:], data.mocap_pos[:] = own, place[row]
            mujoco.mj_kinematics(self.model, data)
            found[row] = data.site_xpos - place[row][carriers]
        return found

    def _place(self, column: int, name: str) -> bool:
        """Note what an element says; whether it says anything."""
        import mujoco

        def number(kind: mujoco.mjtObj, part: str) -> int:
            return mujoco.mj_name2id(self.model, kind, part)

        simple = (int(mujoco.mjtJoint.mjJNT_SLIDE), int(mujoco.mjtJoint.mjJNT_HINGE))
        joint = number(mujoco.mjtObj.mjOBJ_JOINT, name.removesuffix("_speed"))
        if joint >= 0 and int(self.model.jnt_type[joint]) in simple:
            if not name.endswith("_speed"):
                self._qpos[int(self.model.jnt_qposadr[joint])] = column
            return True
        found = re.fullmatch(r"(.+)_([xyz]|q[wxyz]|[vw][xyz])", name)
        if found is None:
            return False
        part, element = found[1], found[2]
        free = number(mujoco.mjtObj.mjOBJ_JOINT, part)
        if free >= 0 and int(self.model.jnt_type[free]) == int(mujoco.mjtJoint.mjJNT_FREE):
            self._place_free(int(self.model.jnt_qposadr[free]), element, column)
            return True
        if element not in AXES:
            return False
        body, site = number(mujoco.mjtObj.mjOBJ_BODY, part), number(mujoco.mjtObj.mjOBJ_SITE, part)
        if body >= 0 and self.model.body_mocapid[body] >= 0:
            self._mocap[int(self.model.body_mocapid[body]), AXES[element]] = column
        elif site >= 0 and self._carrier(site) >= 0:
            self._sites[self._carrier(site), AXES[element]] = site, column
        else:
            return part in FOLLOWS
        return True

    def _place_free(self, start: int, element: str, column: int) -> None:
        if element in SPEEDS:
            return
        self._qpos[start + (AXES | TURNS)[element]] = column
        if element == "qw":
            self._turns.append(start + TURNS["qw"])

    def _carrier(self, site: int) -> int:
        """The mocap body that a site moves with, -1 if none."""
        return int(self.model.body_mocapid[self.model.body_rootid[self.model.site_bodyid[site]]])

    def _complete(self) -> None:
        missing = sorted(set(range(self.model.nq)) - set(self._qpos))
        if missing:
            joint = int(np.searchsorted(self.model.jnt_qposadr, missing[0], side="right")) - 1
            raise UnmappedColumn(f"no observed element tells where joint {self.model.joint(joint).name!r} is")
        placed = {body for body, _ in (*self._mocap, *self._sites)}
        for body in range(self.model.nbody):
            if self.model.body_mocapid[body] >= 0 and int(self.model.body_mocapid[body]) not in placed:
                raise UnmappedColumn(f"no observed element tells where {self.model.body(body).name!r} is")
