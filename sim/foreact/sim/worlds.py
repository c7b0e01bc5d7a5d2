"""Several worlds stepped and drawn together, of one task or of many.

Each world owns its whole state, so an episode is the same whether its world is alone or one of many, and reordering
worlds reorders results and changes nothing else. Shape letters: N = worlds, A = 4 action elements, S = 4 state
elements, L = landmarks, H and W = image height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from foreact.episodes.contract import CameraSpec
from foreact.sim.definitions import ShownWorlds
from foreact.sim.registry import definition

if TYPE_CHECKING:
    from foreact.sim.pictures import WorldPictures

__all__ = ["WorldSteps", "Worlds"]

CPU_LAUNCH = 4  # worlds per launch: on CPU as fast per world as 64 (8.6 ms, 8.9 ms), and a partial mask wastes less


@dataclass(frozen=True)
class WorldSteps:
    """What one control step of all worlds gave.

    Attributes:
        reward: Shape (N,), float32; 0 for a world that was not stepped.
        success: Shape (N,), bool; False for a world that was not stepped.
    """

    reward: np.ndarray
    success: np.ndarray


class Worlds:
    """N worlds with their pictures.

    Args:
        tasks: One task name or alias per world; a name may repeat.
        cameras: What `render` draws.
        segmentation: Also draw geom ids.
        device: Where to draw: `cpu` or `cuda:0`. The simulation runs on the CPU.

    Raises:
        UnknownTask: A name is unknown; near matches are listed.
        ValueError: No world was asked for.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        cameras: Sequence[CameraSpec] = (),
        *,
        segmentation: bool = False,
        device: str = "cpu",
    ) -> None:
        if not tasks:
            raise ValueError("Worlds: no task given, name one per world")
        self.cameras = tuple(cameras)
        definitions = [definition(task) for task in tasks]
        self.names = tuple(each.name for each in definitions)
        makers = {each.name: each.make for each in definitions}
        self._groups = [_Group(self, name, make, segmentation, device) for name, make in makers.items()]

    def __len__(self) -> int:
        return len(self.names)

    def reset(self, seeds: Sequence[int], mask: np.ndarray | None = None) -> None:
        """Draw the layouts of these seeds.

        Args:
            seeds: One layout seed per world, length N; those of worlds outside the mask are ignored.
            mask: Worlds to reset, bool (N,); all if None.

        Raises:
            ValueError: The number of seeds is not N.
        """
        if len(seeds) != len(self):
            raise ValueError(f"Worlds.reset: {len(seeds)} seeds for {len(self)} worlds")
        for group, ids, rows in self._selected(mask):
            group.worlds.reset([int(seeds[row]) for row in rows], ids)

    def step(self, actions: np.ndarray, mask: np.ndarray | None = None) -> WorldSteps:
        """Advance one control step.

        Args:
            actions: Commands in [-1, 1], shape (N, A).
            mask: Worlds to step, bool (N,); all if None. The others stand still.

        Raises:
            ValueError: The shape is not (N, A), or a command of a selected world is not finite.
        """
        if actions.shape != (len(self), 4):
            raise ValueError(f"Worlds.step: expected actions of shape {(len(self), 4)}, got {actions.shape}")
        chosen = list(self._selected(mask))
        if bad := [int(row) for _, _, rows in chosen for row in rows if not np.isfinite(actions[row]).all()]:
            raise ValueError(f"Worlds.step: action of world {min(bad)} ({self.names[min(bad)]}) is not finite")
        reward, success = np.zeros(len(self), np.float32), np.zeros(len(self), bool)
        for group, ids, rows in chosen:
            stepped = group.worlds.step(actions[group.rows], ids)
            reward[rows], success[rows] = stepped.reward[ids], stepped.success[ids]
        return WorldSteps(reward, success)

    def states(self) -> np.ndarray:
        """Proprioception of all worlds, shape (N, S), float32."""
        return self._gathered(lambda worlds: worlds.states())

    def fingertips(self) -> np.ndarray:
        """Middle of the finger tips of all worlds [m], shape (N, 3)."""
        return self._gathered(lambda worlds: worlds.fingertips())

    def landmarks(self) -> np.ndarray:
        """Named places of all worlds: position in the world frame [m] and presence, shape (N, L, 4), float32."""
        return self._gathered(lambda worlds: worlds.landmarks())

    def expert_actions(self, mask: np.ndarray | None = None) -> np.ndarray:
        """The scripted experts' commands, shape (N, A), float32; 0 outside the mask.

        Args:
            mask: Worlds to ask for, bool (N,); all if None.
        """
        actions = np.zeros((len(self), 4), np.float32)
        for group, ids, rows in self._selected(mask):
            actions[rows] = group.worlds.expert_actions(ids)[ids]
        return actions

    def render(self, mask: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Draw the worlds of the mask.

        Args:
            mask: Worlds to draw, bool (N,); all if None.

        Returns:
            `camera.NAME.rgb` uint8 (N, H, W, 3), `camera.NAME.depth` uint16 (N, H, W) [mm] and, if asked for,
            `camera.NAME.segmentation` uint8 (N, H, W); 0 for worlds outside the mask.
        """
        images: dict[str, np.ndarray] = {}
        for group, ids, rows in self._selected(mask):
            for key, values in group.pictures.draw_states(group.worlds.poses(ids)).items():
                if key not in images:
                    images[key] = np.zeros((len(self), *values.shape[1:]), values.dtype)
                images[key][rows] = values
        return images

    def _gathered(self, read: Callable[[ShownWorlds], np.ndarray]) -> np.ndarray:
        parts = [(group.rows, read(group.worlds)) for group in self._groups]
        gathered = np.empty((len(self), *parts[0][1].shape[1:]), parts[0][1].dtype)
        for rows, values in parts:
            gathered[rows] = values
        return gathered

    def _selected(self, mask: np.ndarray | None) -> Iterator[tuple[_Group, np.ndarray, np.ndarray]]:
        """Groups with selected worlds: the group, their numbers in it, their numbers here."""
        chosen = np.ones(len(self), bool) if mask is None else mask
        if chosen.shape != (len(self),) or chosen.dtype != bool:
            raise ValueError(f"Worlds: expected a bool mask of shape ({len(self)},), got {chosen.dtype} {chosen.shape}")
        for group in self._groups:
            ids = np.flatnonzero(chosen[group.rows])
            if len(ids):
                yield group, ids, group.rows[ids]


class _Group:
    """The worlds of one task: they are stepped as one batch."""

    def __init__(
        self, owner: Worlds, name: str, make: Callable[[int], ShownWorlds], segmentation: bool, device: str
    ) -> None:
        self.rows = np.flatnonzero([each == name for each in owner.names])
        self.worlds = make(len(self.rows))
        self._cameras, self._segmentation, self._device = owner.cameras, segmentation, device

    @cached_property
    def pictures(self) -> WorldPictures:
        from foreact.sim.pictures import WorldPictures

        count = len(self.rows)
        return WorldPictures(
            self.worlds.shown_model,
            self._cameras,
            count,
            segmentation=self._segmentation,
            device=self._device,
            launch=CPU_LAUNCH if self._device == "cpu" else count,
        )
