"""The last check before a command leaves for the robot."""

import numpy as np

from foreact.episodes.contract import FeatureSpec

__all__ = ["ActionGate"]

ROUNDING = 1e-5  # of an element's range: what float32 arithmetic may add to a clipped value


class ActionGate:
    """Lets finite actions inside the contract's range through; for any other, holds the last that passed.

    Args:
        action: The contract's action feature.
    """

    def __init__(self, action: FeatureSpec) -> None:
        low, high = np.array(action.low, np.float32), np.array(action.high, np.float32)
        slack = (high - low) * ROUNDING
        self._low, self._high = low - slack, high + slack
        self._elements = action.elements
        self._last: np.ndarray | None = None
        self.refused = 0
        self.reason = ""

    def passed(self, action: np.ndarray) -> np.ndarray | None:
        """What may be sent, (A,): the action, or the last good one; None if there has been none.

        Args:
            action: Command in action units, (A,) float32.
        """
        fault = self._fault(action)
        if fault is None:
            self._last = action
            return action
        self.refused += 1
        self.reason = fault
        return self._last

    def _fault(self, action: np.ndarray) -> str | None:
        if action.shape != self._low.shape:
            return f"shape {action.shape}, expected {self._low.shape}"
        # a comparison with NaN is false, so NaN fails here too
        inside = (action >= self._low) & (action <= self._high)
        if inside.all():
            return None
        index = int(np.flatnonzero(~inside)[0])
        low, high = float(self._low[index]), float(self._high[index])
        return f"{self._elements[index]} = {float(action[index])}, expected {low:g} to {high:g}"
