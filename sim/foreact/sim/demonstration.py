"""One scripted demonstration: which layout and noise an attempt gets, and what happens in it, without pictures.

Execution noise with clean labels follows DART (Laskey et al. 2017, "DART: Noise Injection for Robust Imitation
Learning", section 4): the robot executes the expert's command plus Gaussian noise, the label stays the expert's command
for the state that the noise led to. Shape letters: T = control steps, F = frames, A = 4 action elements, S = 4 state
elements.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING

import numpy as np

from foreact.sim.instructions import TaskText
from foreact.sim.seeds import Split, layout_seed

if TYPE_CHECKING:
    from foreact.episodes.contract import CameraSpec
    from foreact.sim.metaworld import MetaWorldTask, Snapshot

__all__ = ["Attempt", "Demonstration", "DemonstrationRules", "demonstrate", "is_noisy"]


@dataclass(frozen=True)
class DemonstrationRules:
    """Everything that decides what a demonstration holds; two runs with equal rules give equal bytes.

    Attributes:
        seed: The user's seed.
        split: Which layouts to draw.
        noise_fraction: Share of attempts that execute noise, 0 to 1.
        noise_std: Standard deviation of the noise on the three motion elements [action units].
        noise_hold: Control steps that one draw of the noise lasts: longer pushes lead further off the expert's path.
        frame_every: A frame every so many control steps.
        hold_steps: Control steps recorded after success.
    """

    seed: int
    split: Split
    noise_fraction: float
    noise_std: float
    noise_hold: int
    frame_every: int
    hold_steps: int


@dataclass(frozen=True)
class Attempt:
    """The outcome of one attempt.

    Attributes:
        index: Number of the attempt, from 0, of its task.
        noisy: Whether it executed noise.
        success: Whether the task was solved in time.
        steps: Control steps taken, T.
    """

    index: int
    noisy: bool
    success: bool
    steps: int


@dataclass(frozen=True)
class Demonstration:
    """One attempt in full.

    Attributes:
        attempt: Its outcome.
        layout: Layout seed.
        instruction: The training sentence drawn for it.
        state: Before each step, (T, S) float32.
        label: The expert's clean command, (T, A) float32.
        executed: The command with noise, (T, A) float32.
        reward: After each step, (T,) float32.
        solved: Success after each step, (T,) bool.
        frame_steps: Control step before which each frame was taken, (F,) int64.
        snapshots: What to draw, F of them.
        landmarks: Named places in the world frame at each frame, (F, L, 4) float32, see `MetaWorldTask.landmarks`.
    """

    attempt: Attempt
    layout: int
    instruction: str
    state: np.ndarray
    label: np.ndarray
    executed: np.ndarray
    reward: np.ndarray
    solved: np.ndarray
    frame_steps: np.ndarray
    snapshots: tuple[Snapshot, ...]
    landmarks: np.ndarray


def is_noisy(index: int, noise_fraction: float) -> bool:
    """Whether an attempt executes noise: noisy attempts are spread evenly and their share is exact.

    Args:
        index: Number of the attempt.
        noise_fraction: Share of noisy attempts, 0 to 1.
    """
    return floor((index + 1) * noise_fraction) > floor(index * noise_fraction)


def demonstrate(
    task: MetaWorldTask, text: TaskText, index: int, rules: DemonstrationRules, cameras: Sequence[CameraSpec]
) -> Demonstration:
    """Let the scripted expert try the task once.

    The attempt ends `hold_steps` after the first success, or at the task's time limit.

    Args:
        task: The world to use; what it did before does not matter.
        text: The task's sentences.
        index: Number of the attempt.
        rules: How to record.
        cameras: Cameras to place in the snapshots.
    """
    layout = layout_seed(rules.split, rules.seed, index)
    rng = np.random.default_rng([layout, zlib.crc32(task.name.encode())])
    instruction = text.train[int(rng.integers(len(text.train)))]
    noise_std = rules.noise_std if is_noisy(index, rules.noise_fraction) else 0.0
    log, noise = _Log(), np.zeros(4)
    task.reset(layout)
    end = task.time_limit
    while len(log.state) < end:
        step = len(log.state)
        if step % rules.frame_every == 0:
            log.frame_steps.append(step)
            log.snapshots.append(task.snapshot(cameras))
            log.landmarks.append(task.landmarks())
        if noise_std and step % rules.noise_hold == 0:
            # the fingers stay with the expert: a dropped object is not a state it can recover from
            noise = np.append(rng.normal(0.0, noise_std, 3), 0.0)
        solved = log.advance(task, noise)
        if solved and end == task.time_limit:
            end = min(end, step + 1 + rules.hold_steps)
    attempt = Attempt(index, noise_std > 0, any(log.solved), len(log.state))
    return log.close(attempt, layout, instruction)


class _Log:
    def __init__(self) -> None:
        self.state: list[np.ndarray] = []
        self.label: list[np.ndarray] = []
        self.executed: list[np.ndarray] = []
        self.reward: list[float] = []
        self.solved: list[bool] = []
        self.landmarks: list[np.ndarray] = []
        self.frame_steps: list[int] = []
        self.snapshots: list[Snapshot] = []

    def advance(self, task: MetaWorldTask, noise: np.ndarray) -> bool:
        label = task.expert_action().astype(np.float32)
        # a_executed = clip(a_expert + e, -1, 1),  e ~ N(0, noise_std^2)
        executed = np.clip(label + noise, -1, 1).astype(np.float32)
        self.state.append(task.state())
        self.label.append(label)
        self.executed.append(executed)
        result = task.step(executed)
        self.reward.append(result.reward)
        self.solved.append(result.success)
        return result.success

    def close(self, attempt: Attempt, layout: int, instruction: str) -> Demonstration:
        return Demonstration(
            attempt=attempt,
            layout=layout,
            instruction=instruction,
            state=np.stack(self.state),
            label=np.stack(self.label),
            executed=np.stack(self.executed),
            reward=np.array(self.reward, np.float32),
            solved=np.array(self.solved, bool),
            landmarks=np.stack(self.landmarks),
            frame_steps=np.array(self.frame_steps, np.int64),
            snapshots=tuple(self.snapshots),
        )
