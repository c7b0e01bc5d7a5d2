"""The slow half of the control process: looks at the newest frame and computes a chunk, in a thread of its own.

Engines let go of the interpreter while they compute, so the control loop keeps its deadlines meanwhile. A policy that
was trained for it is told which actions will be sent before its chunk can arrive, and continues them.
Source: Black et al. 2025, "Training-time action conditioning for efficient real-time chunking", arXiv 2512.05964.
Shape letters: H chunk length, A action elements.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from foreact.deploy_edge.runtime.bridge import Block
from foreact.episodes.contract import PolicyContract

__all__ = ["Committed", "Engine", "Plan", "Planner"]

POLL_S = 0.0005
REMEMBERED = 8  # delays that the next one is expected from

type Committed = Callable[[int, int], np.ndarray | None]


class Engine(Protocol):
    """What the planner needs of an inference engine, see `PolicyEngine`."""

    contract: PolicyContract
    prefix: int

    def infer(
        self,
        observation: Mapping[str, np.ndarray],
        noise: np.ndarray | None = None,
        prefix: np.ndarray | None = None,
        delay: int = 0,
    ) -> np.ndarray:
        """A chunk (H, A) for one observation."""
        ...


@dataclass(frozen=True)
class Plan:
    """A chunk and what it was made from.

    Attributes:
        episode: Episode of the observation.
        observed_step: Control step at which it was taken.
        chunk: Actions, (H, A).
        seconds: Time that the inference took [s].
        told: How many committed actions the policy was told; 0 for a policy that cannot be told.
    """

    episode: int
    observed_step: int
    chunk: np.ndarray
    seconds: float
    told: int = 0


class Planner(threading.Thread):
    """Computes a chunk from the first frame of an episode, then from one every `execute` control steps.

    Args:
        engine: The policy.
        frames: Where the robot's frames appear.
        tokens: The instruction, int64 (T,); None for a policy without language.
        execute: Control steps from one observation to the next that is used.
        seed: Of the noise of policies that sample.
    """

    def __init__(self, engine: Engine, frames: Block, tokens: np.ndarray | None, execute: int, seed: int) -> None:
        super().__init__(name="planner", daemon=True)
        self._engine, self._frames, self._tokens = engine, frames, tokens
        self._execute, self._seed = execute, seed
        self._done: deque[Plan] = deque(maxlen=1)  # append and popleft are atomic
        self._episode, self._due, self._version = -1, 0, 0
        self._closing = threading.Event()
        self._committed: Committed | None = None
        self._delays: deque[int] = deque(maxlen=REMEMBERED)
        self._seconds = 0.0
        self.failure: BaseException | None = None

    def begin(self, episode: int, committed: Committed | None = None) -> None:
        """Plan for this episode from now on; plans of the last one are dropped.

        Args:
            episode: Its number.
            committed: Actions that will be sent whatever is planned, see `ChunkBuffer.committed`.
        """
        self._episode, self._due = episode, 0
        self._committed = committed
        self._done.clear()

    def arrived(self, delay: int) -> None:
        """Learn how many control steps lay between an observation and the use of its chunk."""
        self._delays.append(delay)

    def take(self) -> Plan | None:
        """The newest plan that was not taken yet.

        Raises:
            BaseException: Whatever ended the thread.
        """
        if self.failure is not None:
            raise self.failure
        try:
            return self._done.popleft()
        except IndexError:
            return None

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self._closing.set()
        self.join(timeout=10)

    def run(self) -> None:
        """Body of the thread."""
        try:
            while not self._closing.is_set():
                if not self._look():
                    time.sleep(POLL_S)
        except BaseException as error:
            self.failure = error

    def _look(self) -> bool:
        """Plan from the newest frame if it is wanted; say whether it was."""
        version = self._frames.version
        if self._episode < 0 or version == self._version:
            return False
        frame = self._frames.read()
        if frame is None or int(frame["episode"][0]) != self._episode or int(frame["step"][0]) < self._due:
            self._version = version
            return False
        episode, step = int(frame["episode"][0]), int(frame["step"][0])
        started = time.perf_counter()
        prefix, told = self._prefix(step)
        given = {} if prefix is None else {"prefix": prefix, "delay": told}
        chunk = self._engine.infer(self._observation(frame), self._noise(episode, step), **given)
        self._seconds = seconds = time.perf_counter() - started
        self._version = version
        if episode == self._episode:
            self._due = step + self._execute
            self._done.append(Plan(episode, step, chunk, seconds, told))
        return True

    def _observation(self, frame: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {**frame, **({} if self._tokens is None else {"tokens": self._tokens})}
        return {name: given[name] for name in self._engine.contract.input_names}

    def _prefix(self, step: int) -> tuple[np.ndarray | None, int]:
        """What is committed from `step` on, (H, A), and how many of its rows will be over when the chunk arrives."""
        if not self._engine.prefix or self._committed is None:
            return None, 0
        rows = self._committed(step, self._engine.contract.chunk_length)
        # the longest of late; before there is one: the last inference and the period in which it ends
        expected = max(self._delays, default=math.ceil(self._seconds * self._engine.contract.control_rate_hz) + 1)
        return (None, 0) if rows is None else (rows, min(expected, self._engine.prefix))

    def _noise(self, episode: int, step: int) -> np.ndarray:
        contract = self._engine.contract
        generator = np.random.default_rng([self._seed, episode, step])
        return generator.standard_normal((contract.chunk_length, *contract.action.shape)).astype(np.float32)
