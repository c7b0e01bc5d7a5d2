"""From chunks that arrive late to one action per control step, without jumps.

Shape letters: H chunk length, A action elements.
"""

import numpy as np

__all__ = ["ChunkBuffer", "StaleChunk"]


class StaleChunk(ValueError):
    """All actions of a chunk lie in the past."""


class ChunkBuffer:
    """The actions planned for the coming control steps.

    Action j of a chunk belongs to control step (step of its observation + j). A chunk that took d steps to compute
    therefore enters with its action d: the delay is counted in actions consumed meanwhile, not in seconds.

    Args:
        fade: Steps over which the plan moves from the old chunk to the new one; 0 switches at once.

    Raises:
        ValueError: `fade` is negative.
    """

    def __init__(self, fade: int = 4) -> None:
        if fade < 0:
            raise ValueError(f"fade={fade}: give 0 (switch at once) or a number of control steps")
        self.fade = fade
        self.starved = 0
        # step of the first row, and rows: what was sent before `_origin`, what is planned from there on. One tuple,
        # so that a thread that plans ahead sees both of one moment.
        self._rows: tuple[int, np.ndarray] | None = None
        self._origin = 0

    @property
    def origin(self) -> int:
        """Control step that the first planned action belongs to."""
        return self._origin

    def install(self, chunk: np.ndarray, observed_step: int, next_step: int) -> float:
        """Move over to a new chunk, from `next_step` on.

        Args:
            chunk: float32 (H, A) in action units; row j belongs to step `observed_step` + j.
            observed_step: Control step at which the policy's observation was taken.
            next_step: The first step not sent yet.

        Returns:
            The gap between the new chunk and the old plan at `next_step`, the largest over elements [action units];
            0 for the first chunk. The plan's step there is larger than its neighbours by at most gap / (fade + 1).

        Raises:
            StaleChunk: The chunk ends before `next_step`; the plan stays as it was.
            ValueError: The observation lies in the future, or the shape is not (H, A).
        """
        delay = next_step - observed_step
        if chunk.ndim != 2 or len(chunk) == 0:
            raise ValueError(f"a chunk has shape (H, A), got {chunk.shape}")
        if delay < 0:
            raise ValueError(f"chunk observed at step {observed_step}, which is after the next step {next_step}")
        if delay >= len(chunk):
            raise StaleChunk(f"chunk of {len(chunk)} actions observed at step {observed_step} came at step {next_step}")
        plan = np.array(chunk[delay:], np.float32)
        gap = 0.0
        first = next_step
        if self._rows is not None:
            old = self._planned(self._rows, next_step, len(plan))
            gap = float(np.abs(plan[0] - old[0]).max())
            plan = _cross_fade(old, plan, self.fade)
            first = max(self._rows[0], next_step - len(chunk))
            plan = np.concatenate([self._planned(self._rows, first, next_step - first), plan])
        self._rows, self._origin = (first, plan), next_step
        return gap

    def action(self, step: int) -> np.ndarray | None:
        """The action of a control step, (A,); None before the first chunk.

        Past the end of the plan the last action is held and counted in `starved`: zeros would be another command.
        """
        if self._rows is None:
            return None
        first, rows = self._rows
        index = max(step, self._origin) - first
        if index >= len(rows):
            self.starved += 1
        return rows[min(index, len(rows) - 1)]

    def remaining(self, step: int) -> int:
        """Planned actions from `step` on."""
        return 0 if self._rows is None else max(0, self._rows[0] + len(self._rows[1]) - step)

    def committed(self, step: int, count: int) -> np.ndarray | None:
        """Actions that were or will be sent at `count` steps from `step` on, if no new chunk comes, (count, A).

        Safe to call from another thread. None before the first chunk, or if `step` is longer ago than a chunk.
        """
        rows = self._rows
        if rows is None or step < rows[0]:
            return None
        return self._planned(rows, step, count)

    @staticmethod
    def _planned(rows: tuple[int, np.ndarray], step: int, count: int) -> np.ndarray:
        first, plan = rows
        return plan[np.clip(step - first + np.arange(count), 0, len(plan) - 1)]


def _cross_fade(old: np.ndarray, new: np.ndarray, fade: int) -> np.ndarray:
    """Weights 1/(fade+1), 2/(fade+1), ... on the new plan, then the new plan alone; both (count, A)."""
    # a_i = (1 - w_i) old_i + w_i new_i,  w_i = min(1, (i + 1) / (fade + 1)); hence
    # |a_{i+1} - a_i| <= max(|old_{i+1} - old_i|, |new_{i+1} - new_i|) + |new_i - old_i| / (fade + 1)
    weight = np.minimum(1.0, (np.arange(len(new), dtype=np.float32) + 1) / (fade + 1))[:, None]
    return ((1 - weight) * old + weight * new).astype(np.float32)
