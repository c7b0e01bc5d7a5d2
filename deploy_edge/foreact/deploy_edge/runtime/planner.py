"""The slow half of the control process: looks at the newest frame and computes a chunk, in a thread of its own.

onnxruntime lets go of the interpreter while it computes, so the control loop keeps its deadlines meanwhile.
Shape letters: H chunk length, A action elements.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from foreact.deploy_edge.runtime.bridge import Block
from foreact.episodes.contract import PolicyContract

__all__ = ["Engine", "Plan", "Planner"]

POLL_S = 0.0005


class Engine(Protocol):
    """What the planner needs of an inference engine, see `OnnxEngine`."""

    contract: PolicyContract

    def infer(self, observation: Mapping[str, np.ndarray], noise: np.ndarray | None = None) -> np.ndarray:
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
    """

    episode: int
    observed_step: int
    chunk: np.ndarray
    seconds: float


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
        self.failure: BaseException | None = None

    def begin(self, episode: int) -> None:
        """Plan for this episode from now on; plans of the last one are dropped."""
        self._episode, self._due = episode, 0
        self._done.clear()

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
        chunk = self._engine.infer(self._observation(frame), self._noise(episode, step))
        seconds = time.perf_counter() - started
        self._version = version
        if episode == self._episode:
            self._due = step + self._execute
            self._done.append(Plan(episode, step, chunk, seconds))
        return True

    def _observation(self, frame: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {**frame, **({} if self._tokens is None else {"tokens": self._tokens})}
        return {name: given[name] for name in self._engine.contract.input_names}

    def _noise(self, episode: int, step: int) -> np.ndarray:
        contract = self._engine.contract
        generator = np.random.default_rng([self._seed, episode, step])
        return generator.standard_normal((contract.chunk_length, *contract.action.shape)).astype(np.float32)
