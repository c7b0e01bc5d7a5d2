"""Where episodes start: Meta-World's own seeded reset in one hidden world, read out whole.

Meta-World's reset settles the hand over 500 sub-steps and draws its layout in between, so the exact start of a seed is
what its own code makes of it. It costs 10 ms, against 500 control steps of an episode. Shape letters: O = 39
observation elements.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.sim.metaworld_worlds.bare import bare_model
from foreact.sim.metaworld_worlds.own import begin, marker_positions, seeded_environment

if TYPE_CHECKING:
    import mujoco

__all__ = ["MODEL_FIELDS", "Origin", "Start"]

MODEL_FIELDS = ("body_pos", "site_pos")
"""What Meta-World's resets change in the model; a test looks for more."""

KEPT = {"target": "_target_pos", "obj_init": "obj_init_pos", "tcp_init": "init_tcp", "hand_init": "hand_init_pos"}


@dataclass(frozen=True)
class Start:
    """The start of one seed's episode.

    Attributes:
        state: The engine's state, one row of `mujoco.mjtState.mjSTATE_INTEGRATION`.
        fields: Model fields of this layout, by name.
        observation: Meta-World's first observation, (O,).
        tips: Middle of the finger tips [m], (3,).
        kept: What rewards, success and pictures remember of the reset, by name.
    """

    state: np.ndarray
    fields: dict[str, np.ndarray]
    observation: np.ndarray
    tips: np.ndarray
    kept: dict[str, np.ndarray]


class Origin:
    """One hidden Meta-World environment of a task.

    Args:
        name: A Meta-World v3 task, for example `reach-v3`.
        keep: Further attributes of the environment to remember, by the name that rules use.

    Attributes:
        model: The task's model as compiled, with Meta-World's welds.
        bare: The same without what is only looked at, for physics.
        pose_model: The same without forces, contacts and constraints, for positions alone.
        low: Lowest observations after a step, (O,).
        high: Highest observations after a step, (O,).
        mocap_low: Lowest place of the hand's guide [m], (3,).
        mocap_high: Highest place of the hand's guide [m], (3,).
        action_scale: Travel of the guide per unit of command [m].
        substeps: Engine steps per control step.
        example: The start of seed 0.
        path: The scene's MJCF file.
        marked: Whether the scene shows its goal with a marker.
    """

    def __init__(self, name: str, keep: Mapping[str, str]) -> None:
        import mujoco

        self._env: Any = seeded_environment(name)
        self.path: str = self._env.fullpath
        self._keep = {**KEPT, **keep}
        self.model: mujoco.MjModel = copy.copy(self._env.model)
        self.bare = bare_model(self.path, self.model)
        self.pose_model = bare_model(self.path, self.model, keep_named=True)
        off = mujoco.mjtDisableBit
        for bit in (
            off.mjDSBL_CONSTRAINT,
            off.mjDSBL_CONTACT,
            off.mjDSBL_SPRING,
            off.mjDSBL_DAMPER,
            off.mjDSBL_GRAVITY,
        ):
            self.pose_model.opt.disableflags |= int(bit)
        space = self._env.sawyer_observation_space
        self.low, self.high = space.low, space.high
        self.mocap_low, self.mocap_high = self._env.mocap_low, self._env.mocap_high
        self.action_scale, self.substeps = self._env.action_scale, self._env.frame_skip
        self.example = self.start(0)
        self.marked = len(self.example.kept["markers"]) > 0

    def start(self, seed: int) -> Start:
        """The start of a seed's episode, the same whatever was started before.

        Args:
            seed: Layout seed, a non-negative integer.
        """
        import mujoco

        env = self._env
        # Meta-World begins its reset in the layout of the last episode; a new world's is the compiled one
        for name in MODEL_FIELDS:
            getattr(env.model, name)[:] = getattr(self.model, name)
        observation, tips = begin(env, seed), np.array(env.tcp_center)
        state = np.zeros(mujoco.mj_stateSize(env.model, mujoco.mjtState.mjSTATE_INTEGRATION))
        mujoco.mj_getState(env.model, env.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        fields = {name: np.array(getattr(env.model, name)) for name in MODEL_FIELDS}
        # some attributes are views of positions, which follow the last change of the model at the first step
        mujoco.mj_forward(env.model, env.data)
        kept = {name: _values(getattr(env, attribute)) for name, attribute in self._keep.items()}
        kept["markers"] = marker_positions(env)
        return Start(state, fields, observation, tips, kept)

    def touching(self, state: np.ndarray, fields: Mapping[str, np.ndarray]) -> bool:
        """Whether both finger pads press on the object in this state.

        Args:
            state: One row of `mujoco.mjtState.mjSTATE_INTEGRATION`.
            fields: The world's `MODEL_FIELDS`.
        """
        import mujoco

        env = self._env
        for name, values in fields.items():
            getattr(env.model, name)[:] = values
        mujoco.mj_setState(env.model, env.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_forward(env.model, env.data)
        return bool(env.touching_main_object)


def _values(attribute: Any) -> np.ndarray:
    """Numbers as float64; None, which Meta-World fills in later, as NaN."""
    return np.array(np.nan if attribute is None else attribute, np.float64)
