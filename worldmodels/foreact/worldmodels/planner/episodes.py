"""Episodes of a scene in lockstep: each world runs its plan, and those that need a new one get it.

Shape letters: E = episodes, each in a world of its own, S = worlds that need a plan, n = samples of the policy,
T = control steps of a chunk, A = action elements, O = observed elements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foreact.sim.seeds import layout_seed
from foreact.sim.taskworlds import TaskWorlds
from foreact.worldmodels.futures import Futures
from foreact.worldmodels.planner.execution import Envelope, ExecutionConfig
from foreact.worldmodels.planner.proposals import shifted
from foreact.worldmodels.scenes import Scene

__all__ = ["Choice", "Choose", "Episodes", "Request", "Sample", "live_worlds", "run_episodes"]


@dataclass(frozen=True)
class Request:
    """A world that needs a plan.

    Attributes:
        worlds: All live worlds.
        world: Its number.
        observed: What is seen, (O,).
        samples: Chunks of the policy, (n, T, A).
        last: What is left of its last plan, (T, A), or None.
        number: Of the plan, unlike that of any other plan of these episodes.
    """

    worlds: TaskWorlds
    world: int
    observed: np.ndarray
    samples: np.ndarray
    last: np.ndarray | None
    number: int


@dataclass(frozen=True)
class Choice:
    """What was chosen: a chunk (T, A), and its futures if they are known."""

    chunk: np.ndarray
    futures: Futures | None = None


Choose = Callable[[Request], Choice]
Sample = Callable[[TaskWorlds, np.ndarray, np.ndarray, int], np.ndarray]
"""Called as sample(worlds, ids, observed, step): chunks of the policy for S of the worlds, (S, n, T, A)."""


@dataclass(frozen=True)
class Episodes:
    """How episodes went.

    Attributes:
        success: Solved without having touched what must not be touched, bool (E,).
        collided: Touched it, bool (E,).
        steps: Control steps until solved, collided or out of time, int (E,).
        plans: Plans made, int (E,).
    """

    success: np.ndarray
    collided: np.ndarray
    steps: np.ndarray
    plans: np.ndarray


def live_worlds(scene: Scene, episodes: int, seed: int) -> TaskWorlds:
    """Worlds at the start of the first evaluation episodes of a seed, what is hidden drawn for each.

    Args:
        scene: The task and what is hidden in it.
        episodes: E.
        seed: Of layouts and of what is hidden.
    """
    fresh = TaskWorlds(scene.task, episodes, autoreset=False, threads=1)
    fresh.reset(seeds=[layout_seed("eval", seed, index) for index in range(episodes)])
    return fresh.fork(np.arange(episodes), 1, scene.hidden, seed=layout_seed("eval", seed, 0))


def run_episodes(
    scene: Scene,
    worlds: TaskWorlds,
    sample: Sample,
    choose: Choose,
    execution: ExecutionConfig,
    radii: np.ndarray | None = None,
) -> Episodes:
    """Run one episode in each world.

    Args:
        scene: The task and what is hidden in it.
        worlds: Live, at the start of their episodes; they are used up.
        sample: The policy.
        choose: Who chooses among its samples.
        execution: When to plan anew.
        radii: Calibrated radii of the futures (T,), if there are any.
    """
    run = _Run(scene, worlds, sample, choose, execution, radii)
    for step in range(scene.task.limit):
        if not run.active.any():
            break
        run.plan(step)
        run.advance()
    return Episodes(run.success, run.collided, run.steps, run.plans)


class _Run:
    """The state of a batch of episodes."""

    def __init__(
        self,
        scene: Scene,
        worlds: TaskWorlds,
        sample: Sample,
        choose: Choose,
        execution: ExecutionConfig,
        radii: np.ndarray | None,
    ) -> None:
        count = len(worlds)
        self._scene, self._worlds, self._sample, self._choose = scene, worlds, sample, choose
        self._execution, self._radii = execution, radii
        self.success, self.collided = np.zeros(count, bool), np.zeros(count, bool)
        self.steps, self.plans = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.active = np.ones(count, bool)
        self._due = np.ones(count, bool)
        self._executed = np.zeros(count, np.int64)
        self._choices: list[Choice | None] = [None] * count
        self._envelopes: list[Envelope | None] = [None] * count
        self._observed = np.asarray(worlds.restore(worlds.snapshot()))  # nothing changes; this observes

    def plan(self, step: int) -> None:
        """New plans where they are due."""
        ids = np.flatnonzero(self._due & self.active)
        if not len(ids):
            return
        samples = self._sample(self._worlds, ids, self._observed[ids], step)
        for world, own in zip(ids, samples, strict=True):
            before = self._choices[world]
            last = None if before is None else shifted(before.chunk, int(self._executed[world]))
            number = step * len(self.active) + int(world)
            request = Request(self._worlds, int(world), self._observed[world].copy(), own, last, number)
            choice = self._choose(request)
            self._choices[world], self._executed[world] = choice, 0
            self._envelopes[world] = self._envelope(choice)
        self.plans[ids] += 1

    def advance(self) -> None:
        """One control step of all worlds."""
        actions = np.zeros((len(self.active), len(self._worlds.low)), np.float32)
        for world in np.flatnonzero(self.active):
            choice = self._choices[world]
            assert choice is not None
            actions[world] = choice.chunk[self._executed[world]]
        taken = self._worlds.step(actions)
        self._observed = taken.observation
        touched = self._scene.touching(self._worlds)
        self.collided |= touched & self.active
        self.success |= taken.success & self.active & ~self.collided
        self.steps += self.active
        self._executed += 1
        self.active &= ~(self.success | self.collided | taken.terminated | taken.truncated)
        for world in np.flatnonzero(self.active):
            self._due[world] = not self._goes_on(world)

    def _goes_on(self, world: int) -> bool:
        envelope, step = self._envelopes[world], int(self._executed[world])
        if envelope is None:
            return step < self._execution.longest
        return envelope.goes_on(step, self._observed[world])

    def _envelope(self, choice: Choice) -> Envelope | None:
        if choice.futures is None:
            return None
        return Envelope(self._execution, choice.futures, self._scene.tracked, self._radii)
