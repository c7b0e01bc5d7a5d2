"""What a recording is re-enacted on: a model, how actions command it, and how recorded states pose it.

Shape letters: E = elements of an action, S = of a state, J = joints that are driven, nq, nv, nu = of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from foreact.episodes.sources import Source

if TYPE_CHECKING:
    import mujoco

__all__ = ["Driven", "Opening", "Stage", "Tip"]


@dataclass(frozen=True)
class Tip:
    """A place that is told how far off it was.

    Attributes:
        name: Of the body or site.
        kind: `body` for its centre of mass, `site` for its origin.
    """

    name: str
    kind: str


@dataclass(frozen=True)
class Driven:
    """The J joints that a recording drives.

    Attributes:
        names: Of the joints.
        qpos: Their places in qpos, int (J,).
        dof: Their places in qvel, int (J,).
        ranges: Lower and upper end [m or rad], (J, 2); infinite where there is none.
        forces: The most that actuators give [N or Nm], (J,); infinite where there is no limit.
        slides: Which are measured in metres, bool (J,).
        servos: Where the command is the position that is wanted, bool (J,).
    """

    names: tuple[str, ...]
    qpos: np.ndarray
    dof: np.ndarray
    ranges: np.ndarray
    forces: np.ndarray
    slides: np.ndarray
    servos: np.ndarray

    @property
    def scale(self) -> np.ndarray:
        """From rad to degrees, from metres to millimetres, (J,)."""
        return np.where(self.slides, 1000.0, 180 / np.pi)

    @property
    def units(self) -> list[str]:
        """`deg` or `mm`, J of them."""
        return ["mm" if slide else "deg" for slide in self.slides]


@dataclass(frozen=True)
class Opening:
    """How a recording begins.

    Attributes:
        model: Compiled, as it is for this recording.
        qpos: (nq,).
        qvel: (nv,).
    """

    model: mujoco.MjModel
    qpos: np.ndarray
    qvel: np.ndarray


class Stage(Protocol):
    """What recordings are re-enacted on.

    Attributes:
        name: Of the robot.
        driven: Joints that actions drive.
        tips: Places that are told how far off they were.
        notes: What a reader of the report must know.
        period_s: Time between actions where the recording tells none [s]; None if that is not known.
        azimuth: From where it is drawn, see `outside_view` [deg].
        elevation: The same [deg].
        watched: Numbers of the bodies that pictures have in sight, int (b,).
    """

    name: str
    driven: Driven
    tips: tuple[Tip, ...]
    notes: tuple[str, ...]
    period_s: float | None
    azimuth: float
    elevation: float
    watched: np.ndarray

    def opening(self, source: Source, state: np.ndarray | None, action: np.ndarray) -> Opening:
        """How a recording begins.

        Args:
            source: The recording.
            state: Its first, (S,); None if it has none.
            action: Its first, (E,).

        Raises:
            SourceError: It does not say what is needed.
        """
        ...

    def control(self, action: np.ndarray) -> np.ndarray:
        """What actuators are told, (nu,), by an action, (E,)."""
        ...

    def target(self, action: np.ndarray) -> np.ndarray:
        """Where an action, (E,), wants the J joints [m or rad]; NaN where the command is no position."""
        ...

    def posed(self, opening: Opening, state: np.ndarray) -> np.ndarray:
        """Positions of the model, (nq,), at a recorded state, (S,)."""
        ...
