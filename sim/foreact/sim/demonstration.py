"""Scripted demonstrations: which layout and noise an attempt gets, and what happens in it, without pictures.

Execution noise with clean labels follows DART (Laskey et al. 2017, "DART: Noise Injection for Robust Imitation
Learning", section 4): the robot executes the expert's command plus Gaussian noise, the label stays the expert's command
for the state that the noise led to. Shape letters: T = control steps, F = frames, A = 4 action elements, S = 4 state
elements, L = landmarks, C = cameras.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING

import numpy as np

from foreact.sim.cameras import WorldStates, joined
from foreact.sim.instructions import TaskText
from foreact.sim.seeds import Split, layout_seed

if TYPE_CHECKING:
    from foreact.episodes.contract import CameraSpec
    from foreact.sim.definitions import ShownWorlds

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
        poses: What to draw at each frame, F of them.
        landmarks: Named places at each frame: position in the world frame [m] and presence, (F, L, 4) float32.
        camera_position: Of the cameras in the world frame at each frame [m], (F, C, 3).
        camera_rotation: Their axes as columns, (F, C, 3, 3).
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
    poses: WorldStates
    landmarks: np.ndarray
    camera_position: np.ndarray
    camera_rotation: np.ndarray


def is_noisy(index: int, noise_fraction: float) -> bool:
    """Whether an attempt executes noise: noisy attempts are spread evenly and their share is exact.

    Args:
        index: Number of the attempt.
        noise_fraction: Share of noisy attempts, 0 to 1.
    """
    return floor((index + 1) * noise_fraction) > floor(index * noise_fraction)


def demonstrate(
    worlds: ShownWorlds,
    text: TaskText,
    indices: Sequence[int],
    rules: DemonstrationRules,
    cameras: Sequence[CameraSpec],
) -> list[Demonstration]:
    """Let the scripted expert try the task some times, side by side.

    An attempt ends `hold_steps` after its first success, or at the task's time limit. What it holds depends on its
    index and the rules alone.

    Args:
        worlds: The worlds to use, at least one per attempt; what they did before does not matter.
        text: The task's sentences.
        indices: Numbers of the attempts.
        rules: How to record.
        cameras: Cameras whose places are recorded.
    """
    trials = [_Trial(worlds, index, rules) for index in indices]
    log = _Log(worlds, [trial.layout for trial in trials])
    instructions = [trial.instruction(text) for trial in trials]
    while True:
        active = np.array([row for row, trial in enumerate(trials) if log.length < trial.end])
        if not len(active):
            break
        if log.length % rules.frame_every == 0:
            log.look(active, cameras)
        noise = np.zeros((worlds.nworld, 4))
        for row in active:
            noise[row] = trials[row].noise_at(log.length)
        success = log.advance(active, noise)
        for row in np.flatnonzero(success):
            trials[row].solved_at(log.length)
    return [log.demonstration(row, *each) for row, each in enumerate(zip(trials, instructions, strict=True))]


class _Trial:
    """One attempt: its layout, its noise, and when it ends."""

    def __init__(self, worlds: ShownWorlds, index: int, rules: DemonstrationRules) -> None:
        self.index, self.layout = index, layout_seed(rules.split, rules.seed, index)
        self._rng = np.random.default_rng([self.layout, zlib.crc32(worlds.name.encode())])
        self.noise_std = rules.noise_std if is_noisy(index, rules.noise_fraction) else 0.0
        self.end, self.success = worlds.time_limit, False
        self._rules, self._noise = rules, np.zeros(4)

    def instruction(self, text: TaskText) -> str:
        return text.train[int(self._rng.integers(len(text.train)))]

    def noise_at(self, step: int) -> np.ndarray:
        if self.noise_std and step % self._rules.noise_hold == 0:
            # the fingers stay with the expert: a dropped object is not a state it can recover from
            self._noise = np.append(self._rng.normal(0.0, self.noise_std, 3), 0.0)
        return self._noise

    def solved_at(self, steps: int) -> None:
        if not self.success:
            self.success, self.end = True, min(self.end, steps + self._rules.hold_steps)


class _Log:
    """What all worlds did, step by step; the worlds of ended attempts stand still."""

    def __init__(self, worlds: ShownWorlds, layouts: Sequence[int]) -> None:
        self._worlds, self.length = worlds, 0
        self._steps: list[tuple[np.ndarray, ...]] = []
        self._frames: list[_Frame] = []
        worlds.reset(layouts, np.arange(len(layouts)))

    def look(self, active: np.ndarray, cameras: Sequence[CameraSpec]) -> None:
        worlds = self._worlds
        position, rotation = worlds.camera_poses(cameras) if cameras else (np.zeros((worlds.nworld, 0)),) * 2
        seen = (values[active] for values in (worlds.landmarks(), position, rotation))
        self._frames.append(_Frame(self.length, active, worlds.poses(active), *seen))

    def advance(self, active: np.ndarray, noise: np.ndarray) -> np.ndarray:
        worlds = self._worlds
        state, label = worlds.states(), worlds.expert_actions(active)
        # a_executed = clip(a_expert + e, -1, 1),  e ~ N(0, noise_std^2)
        executed = np.clip(label + noise, -1, 1).astype(np.float32)
        stepped = worlds.step(executed, active)
        self._steps.append((state, label, executed, stepped.reward.astype(np.float32), stepped.success.copy()))
        self.length += 1
        return self._steps[-1][-1]

    def demonstration(self, row: int, trial: _Trial, instruction: str) -> Demonstration:
        steps = min(trial.end, self.length)
        state, label, executed, reward, solved = (
            np.stack([each[row] for each in column]) for column in zip(*self._steps[:steps], strict=True)
        )
        frames = [frame.of(row) for frame in self._frames if row in frame.active]
        return Demonstration(
            attempt=Attempt(trial.index, trial.noise_std > 0, trial.success, steps),
            layout=trial.layout,
            instruction=instruction,
            state=state,
            label=label,
            executed=executed,
            reward=reward,
            solved=solved,
            frame_steps=np.array([frame.step for frame in frames], np.int64),
            poses=joined([frame.poses for frame in frames]),
            landmarks=np.concatenate([frame.landmarks for frame in frames]),
            camera_position=np.concatenate([frame.camera_position for frame in frames]),
            camera_rotation=np.concatenate([frame.camera_rotation for frame in frames]),
        )


@dataclass(frozen=True)
class _Frame:
    """What pictures of some worlds at one step need, in rows."""

    step: int
    active: np.ndarray
    poses: WorldStates
    landmarks: np.ndarray
    camera_position: np.ndarray
    camera_rotation: np.ndarray

    def of(self, world: int) -> _Frame:
        place = int(np.flatnonzero(self.active == world)[0])
        row = slice(place, place + 1)
        rows = (self.landmarks[row], self.camera_position[row], self.camera_rotation[row])
        return _Frame(self.step, self.active[row], self.poses.part(row), *rows)
