"""Actions as seen from the camera: where the hand will be, in the frame of the camera as it is now.

Such actions survive the motion of the head: what the camera sees at time t and the action agree, wherever the wearer
looks afterwards (Kareer et al. 2024, "EgoMimic: scaling imitation learning via egocentric video").
Shape letters: n = frames, K = steps ahead.
"""

from __future__ import annotations

import numpy as np

from foreact.sim.retarget.poses import composed, inverse

__all__ = ["absolute", "relative"]


def relative(hands: np.ndarray, cameras: np.ndarray, ahead: int) -> np.ndarray:
    """Poses of the hand at t, t + 1, ... t + K - 1 in the frame of the camera at t.

    Args:
        hands: In the world, (n, 7): [m], wxyz.
        cameras: In the world, (n, 7).
        ahead: K, at least 1.

    Returns:
        (n, K, 7); NaN past the last frame.

    Raises:
        ValueError: Hands and cameras differ in number, or nothing is ahead.
    """
    if hands.shape != cameras.shape or hands.shape[1:] != (7,) or ahead < 1:
        raise ValueError(f"expected poses (n, 7) of both and ahead >= 1, got {hands.shape}, {cameras.shape}, {ahead}")
    padded = np.concatenate([hands, np.full((ahead - 1, 7), np.nan)])
    later = np.lib.stride_tricks.sliding_window_view(padded, ahead, axis=0).swapaxes(1, 2)
    # A_k = C(t)^-1 H(t + k)
    return composed(inverse(cameras)[:, None], later)


def absolute(actions: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    """The inverse of `relative`: poses in the world.

    Args:
        actions: (n, K, 7).
        cameras: In the world, (n, 7).

    Returns:
        (n, K, 7); row k of frame t is the hand at t + k.
    """
    # H(t + k) = C(t) A_k
    return composed(cameras[:, None], actions)
