"""The ALOHA scenes of the installed gym-aloha wheel, with sensors that see who touches whom.

Only the wheel's models are used: it is found without being imported, as its code wants old versions of other packages.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mujoco

__all__ = ["LEFT_FINGER", "RIGHT_FINGER", "asset", "scene"]

# gym-aloha asks for one finger of each gripper: the left one on the left arm, the right one on the right arm
LEFT_FINGER = "vx300s_left/10_left_gripper_finger"
RIGHT_FINGER = "vx300s_right/10_right_gripper_finger"


def asset(name: str) -> Path:
    """A file of the wheel's assets.

    Raises:
        ModuleNotFoundError: The wheel is not installed; the message says what to type.
    """
    found = find_spec("gym_aloha")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(
            "the ALOHA tasks need the models of gym-aloha; type: pip install --no-deps gym-aloha==0.1.5",
            name="gym_aloha",
        )
    return Path(found.submodule_search_locations[0]) / "assets" / name


def scene(name: str, pairs: Sequence[tuple[str, str]]) -> mujoco.MjModel:
    """Compile a scene.

    Args:
        name: File among the assets.
        pairs: Names of geoms; each pair gets a sensor that counts its contacts, in this order in `sensordata`.
    """
    import mujoco

    spec = mujoco.MjSpec.from_file(str(asset(name)))
    for first, second in pairs:
        spec.add_sensor(
            name=f"{first}:{second}",
            type=mujoco.mjtSensor.mjSENS_CONTACT,
            objtype=mujoco.mjtObj.mjOBJ_GEOM,
            objname=first,
            reftype=mujoco.mjtObj.mjOBJ_GEOM,
            refname=second,
            # what is told: only the number of contacts; no reduction; one slot
            intprm=[1 << int(mujoco.mjtConDataField.mjCONDATA_FOUND), 0, 1],
        )
    return spec.compile()
