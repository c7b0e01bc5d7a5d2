"""A hand whose pose can be worked out by hand."""

import numpy as np
import pytest

from foreact.sim.retarget.joints import AT, FINGERS

KNUCKLES = {
    "thumb": (0.03, 0.03, -0.01), "index": (0.09, 0.03, 0.0), "middle": (0.09, 0.0, 0.0), "ring": (0.085, -0.02, 0.0),
    "little": (0.08, -0.04, 0.0),
}  # fmt: skip
TIPS = {
    "thumb": (0.10, 0.04, -0.03), "index": (0.14, 0.04, -0.03), "middle": (0.17, 0.0, 0.0), "ring": (0.16, -0.02, 0.0),
    "little": (0.14, -0.04, 0.0),
}  # fmt: skip


@pytest.fixture
def right_hand() -> np.ndarray:
    """A right hand, palm down, fingers along x, thumb and index finger 40 mm apart, (20, 3) [m]."""
    joints = np.zeros((20, 3))
    for finger in FINGERS:
        chain = [at for name, at in AT.items() if name.startswith(f"{finger} ")]
        near, far = np.array(KNUCKLES[finger]), np.array(TIPS[finger])
        for place, at in enumerate(chain):
            joints[at] = near + (far - near) * place / (len(chain) - 1)
    return joints
