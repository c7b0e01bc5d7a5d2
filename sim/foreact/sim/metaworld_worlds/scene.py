"""What the rules of a task are, and what they read of all worlds at one time.

Shape letters: N = worlds, O = 39 observation elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from foreact.sim.views import Views

__all__ = ["Measure", "Rules", "Scene"]

Measure = Callable[["Scene"], np.ndarray]
"""Something about all worlds, (N,)."""


@dataclass(frozen=True)
class Rules:
    """When a task is solved, and its dense reward.

    Attributes:
        success: bool (N,).
        reward: Meta-World's reward of version 2, 0 to 10, (N,).
        keep: What else to remember of a reset: the rules' name and the attribute of Meta-World's environment.
        touch: Whether success also needs both finger pads to press on the object.
    """

    success: Measure
    reward: Measure
    keep: Mapping[str, str] = field(default_factory=dict)
    touch: bool = False


class Scene:
    """Live arrays of N worlds, looked up by name once.

    Args:
        views: The worlds after their last step, positions computed.
        kept: What each world remembers of its reset, by name, (N,) or (N, 3): `target` [m], `obj_init`, `tcp_init`,
            `hand_init` [m] and what else the task's rules keep.
        observation: Meta-World's observations, (N, O).
        action: The last commands, clipped to [-1, 1], (N, 4).

    Attributes:
        stepped: Worlds that took the last step, bool (N,); the others stand still.
    """

    def __init__(
        self, views: Views, kept: Mapping[str, np.ndarray], observation: np.ndarray, action: np.ndarray
    ) -> None:
        self._views, self.kept, self.action = views, kept, action
        self.hand, self.opening = observation[:, :3], observation[:, 3]
        self.obj, self.quat, self.second = observation[:, 4:7], observation[:, 7:11], observation[:, 11:14]
        self.target = kept["target"]
        self.stepped = np.ones(len(observation), bool)
        self._found: dict[tuple[str, str, str], np.ndarray] = {}

    def body(self, name: str) -> np.ndarray:
        """Position of a body in the world frame [m], (N, 3)."""
        return self.part("body", name, "xpos")

    def site(self, name: str) -> np.ndarray:
        """Position of a site in the world frame [m], (N, 3)."""
        return self.part("site", name, "xpos")

    def joint(self, name: str) -> np.ndarray:
        """Position of a joint with one degree of freedom [m] or [rad], (N,)."""
        return self.part("joint", name, "qpos")[:, 0]

    def part(self, kind: str, name: str, attribute: str) -> np.ndarray:
        """The live part of an array that belongs to a named body, geom, site or joint, (N, ...)."""
        key = (kind, name, attribute)
        if key not in self._found:
            self._found[key] = getattr(getattr(self._views, kind)(name), attribute)
            # an array that is looked at for the first time is empty until positions are computed again
            self._views.backend.forward(None, "position")
        return self._found[key]

    @property
    def tips(self) -> np.ndarray:
        """Middle of the two finger tips in the world frame [m], (N, 3)."""
        return (self.site("rightEndEffector") + self.site("leftEndEffector")) / 2.0
