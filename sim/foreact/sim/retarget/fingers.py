"""Joint angles that give a hand's finger vectors: dex-retargeting's objective, minimised by Gauss-Newton in MuJoCo.

Shape letters: V = vectors, Q = joints of the model, M = joints that move.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import mujoco

__all__ = ["FingerSolver"]

BEND = 0.02  # [m] distances beyond this count linearly, as in the package
ROUNDS = 12  # the most steps of a frame
ENOUGH = 1e-8  # change of the objective that ends a frame: 0.02 mm of each vector
DAMPED = (1e-6, 10.0)  # of the first step, and by how much it grows after a step that was no good


class FingerSolver:
    """Minimises f(q) = mean_i huber(|v_i(q) - t_i|) + w |q - q_last|^2 within the joints' ranges.

    v_i is the vector from the origin body to a point on a body, huber(d) = d^2 / 2b below b, d - b/2 above.

    Args:
        model: Compiled, hinges only.
        origin: Body at which vectors start.
        ends: Bodies on which they end, and where along z of each [m].
        moving: Joints that move; the others stay at zero.
        smooth: w.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        origin: str,
        ends: Sequence[tuple[str, float]],
        moving: Sequence[str],
        smooth: float,
    ) -> None:
        import mujoco

        self._mujoco, self.model, self._data = mujoco, model, mujoco.MjData(model)
        self._data.qpos[:] = 0.0
        self._origin = model.body(origin).id
        self._bodies = np.array([model.body(body).id for body, _ in ends])
        self._along = np.array([far for _, far in ends])
        numbers = [model.joint(name).id for name in moving]
        self._moving = model.jnt_qposadr[numbers]
        self._dofs = model.jnt_dofadr[numbers]
        self.low, self.high = model.jnt_range[numbers].T
        self._smooth = smooth
        self._rows = np.zeros((len(self._bodies), 3, len(numbers)))
        self._one, self._base = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        self.steps = 0

    def solve(self, goal: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Positions of the joints that move, (M,) [rad].

        Args:
            goal: t, in the world, (V, 3) [m].
            last: Of the frame before, (M,) [rad].
        """
        q, damped = np.clip(last, self.low, self.high), DAMPED[0]
        off, value = self._value(q, goal, last)
        for _ in range(ROUNDS):
            self.steps += 1
            hessian, gradient = self._slopes(off, q, last)
            # joints at an end of their range that would leave it stay there
            free = ~(((q <= self.low) & (gradient > 0)) | ((q >= self.high) & (gradient < 0)))
            gained = 0.0
            while damped < 1e6:
                trial = q.copy()
                square = hessian[np.ix_(free, free)] + damped * np.eye(int(free.sum()))
                trial[free] -= np.linalg.solve(square, gradient[free])
                trial = np.clip(trial, self.low, self.high)
                new_off, new = self._value(trial, goal, last)
                if new <= value:
                    gained, q, off, value = value - new, trial, new_off, new
                    damped = max(damped / DAMPED[1], DAMPED[0])
                    break
                damped *= DAMPED[1]
            if gained < ENOUGH:
                break
        return q

    def _value(self, q: np.ndarray, goal: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, float]:
        """How far vectors are off (V, 3) [m], and f."""
        data = self._data
        data.qpos[self._moving] = q
        self._mujoco.mj_kinematics(self.model, data)
        ends = data.xpos[self._bodies] + self._along[:, None] * data.xmat[self._bodies][:, 2::3]
        off = ends - data.xpos[self._origin] - goal
        far, step = np.sqrt((off * off).sum(1)), q - last
        huber = np.where(far < BEND, far * far / (2 * BEND), far - BEND / 2)
        return off, float(huber.mean() + self._smooth * (step @ step))

    def _slopes(self, off: np.ndarray, q: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gauss-Newton's matrix (M, M) and the gradient (M,), where kinematics were computed last for q."""
        model, data = self.model, self._data
        data.qpos[self._moving] = q
        self._mujoco.mj_kinematics(model, data)
        self._mujoco.mj_comPos(model, data)
        self._mujoco.mj_jac(model, data, self._base, None, data.xpos[self._origin], self._origin)
        ends = data.xpos[self._bodies] + self._along[:, None] * data.xmat[self._bodies][:, 2::3]
        for row, (body, end) in enumerate(zip(self._bodies, ends, strict=True)):
            self._mujoco.mj_jac(model, data, self._one, None, end, body)
            self._rows[row] = (self._one - self._base)[:, self._dofs]
        # d huber / d v = w v, w = 1 / max(b, |v|);  H = sum w J^T J / V + 2 smooth I
        weight = 1.0 / np.maximum(np.sqrt((off * off).sum(1)), BEND) / len(off)
        flat = self._rows.reshape(-1, len(self._dofs))
        weighted = (weight[:, None, None] * self._rows).reshape(flat.shape)
        gradient = weighted.T @ off.reshape(-1) + 2 * self._smooth * (q - last)
        return weighted.T @ flat + 2 * self._smooth * np.eye(len(self._dofs)), gradient
