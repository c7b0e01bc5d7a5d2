"""Several worlds stepped and drawn together, of one task or of many.

Each world owns its whole state, so an episode is the same whether its world is alone or one of many, and reordering
worlds reorders results and changes nothing else. Shape letters: N = worlds, A = 4 action elements, S = 4 state
elements, H and W = image height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foreact.episodes.contract import CameraSpec
from foreact.sim.registry import definition

if TYPE_CHECKING:
    from foreact.sim.metaworld import MetaWorldTask
    from foreact.sim.render import WorldRenderer

__all__ = ["StepBatch", "Worlds"]

CPU_LAUNCH = 4  # worlds per launch: on CPU as fast per world as 64 (8.6 ms, 8.9 ms), and a partial mask wastes less


@dataclass(frozen=True)
class StepBatch:
    """What one control step of all worlds gave.

    Attributes:
        reward: Shape (N,), float32; 0 for a world that was not stepped.
        success: Shape (N,), bool; False for a world that was not stepped.
    """

    reward: np.ndarray
    success: np.ndarray


class Worlds:
    """N worlds with their renderers.

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
        self._worlds = [definition(task).make() for task in tasks]
        self.names = tuple(world.name for world in self._worlds)
        self._segmentation, self._device = segmentation, device
        self._renderers: dict[str, WorldRenderer] = {}

    def __len__(self) -> int:
        return len(self._worlds)

    @property
    def members(self) -> Sequence[MetaWorldTask]:
        """The worlds themselves, in order."""
        return tuple(self._worlds)

    @property
    def time_limits(self) -> np.ndarray:
        """Most control steps of an episode, shape (N,), int64."""
        return np.array([world.time_limit for world in self._worlds], np.int64)

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
        for index in self._selected(mask):
            self._worlds[index].reset(int(seeds[index]))

    def step(self, actions: np.ndarray, mask: np.ndarray | None = None) -> StepBatch:
        """Advance one control step.

        Args:
            actions: Commands in [-1, 1], shape (N, A).
            mask: Worlds to step, bool (N,); all if None. The others stand still.

        Raises:
            ValueError: The shape is not (N, A), or a command of a selected world is not finite.
        """
        selected = self._selected(mask)
        if actions.shape != (len(self), 4):
            raise ValueError(f"Worlds.step: expected actions of shape {(len(self), 4)}, got {actions.shape}")
        if not np.isfinite(actions[selected]).all():
            bad = [int(index) for index in selected if not np.isfinite(actions[index]).all()]
            raise ValueError(f"Worlds.step: action of world {bad[0]} ({self.names[bad[0]]}) is not finite")
        reward, success = np.zeros(len(self), np.float32), np.zeros(len(self), bool)
        for index in selected:
            result = self._worlds[index].step(actions[index])
            reward[index], success[index] = result.reward, result.success
        return StepBatch(reward, success)

    def states(self) -> np.ndarray:
        """Proprioception of all worlds, shape (N, S), float32."""
        return np.stack([world.state() for world in self._worlds])

    def expert_actions(self, mask: np.ndarray | None = None) -> np.ndarray:
        """The scripted experts' commands, shape (N, A), float32; 0 outside the mask.

        Args:
            mask: Worlds to ask for, bool (N,); all if None.
        """
        actions = np.zeros((len(self), 4), np.float32)
        for index in self._selected(mask):
            actions[index] = self._worlds[index].expert_action()
        return actions

    def render(self, mask: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Draw the worlds of the mask.

        Args:
            mask: Worlds to draw, bool (N,); all if None.

        Returns:
            `camera.NAME.rgb` uint8 (N, H, W, 3), `camera.NAME.depth` uint16 (N, H, W) [mm] and, if asked for,
            `camera.NAME.segmentation` uint8 (N, H, W); 0 for worlds outside the mask.
        """
        selected = self._selected(mask)
        images: dict[str, np.ndarray] = {}
        for name in dict.fromkeys(self.names[index] for index in selected):
            group = [int(index) for index in selected if self.names[index] == name]
            self._render_group(group, images)
        return images

    def _render_group(self, group: list[int], images: dict[str, np.ndarray]) -> None:
        renderer = self._renderer(self._worlds[group[0]])
        for start in range(0, len(group), renderer.nworld):
            part = group[start : start + renderer.nworld]
            drawn = renderer.render([self._worlds[index].snapshot(self.cameras) for index in part])
            for key, values in drawn.items():
                if key not in images:
                    images[key] = np.zeros((len(self), *values.shape[1:]), values.dtype)
                images[key][part] = values

    def _renderer(self, world: MetaWorldTask) -> WorldRenderer:
        if world.name not in self._renderers:
            from foreact.sim.render import WorldRenderer

            same = self.names.count(world.name)
            nworld = min(same, CPU_LAUNCH) if self._device == "cpu" else same
            self._renderers[world.name] = WorldRenderer(
                world, self.cameras, nworld, segmentation=self._segmentation, device=self._device
            )
        return self._renderers[world.name]

    def _selected(self, mask: np.ndarray | None) -> np.ndarray:
        if mask is None:
            return np.arange(len(self))
        if mask.shape != (len(self),) or mask.dtype != bool:
            raise ValueError(f"Worlds: expected a bool mask of shape ({len(self)},), got {mask.dtype} {mask.shape}")
        return np.flatnonzero(mask)
