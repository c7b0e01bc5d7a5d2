"""Closed-loop episodes: look, decide on a chunk, execute part of it, look again.

Shape letters: N worlds, H chunk length, A action elements, T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreact.episodes.language import tokenize
from foreact.sim.controllers import ControllerName, controller
from foreact.sim.worlds import Worlds
from foreact.vla.actors import Actor, chunk_noise

__all__ = ["EpisodeResult", "Trial", "run_actor", "run_controller"]


@dataclass(frozen=True)
class Trial:
    """One episode to run.

    Attributes:
        task: Task name.
        index: Number of the episode within its task.
        seed: Layout seed.
        instruction: What the policy is told.
    """

    task: str
    index: int
    seed: int
    instruction: str


@dataclass(frozen=True)
class EpisodeResult:
    """How an episode went.

    Attributes:
        trial: What was run.
        success: Whether the task was solved at any step.
        actions: Commands executed, (T, A) float32.
    """

    trial: Trial
    success: bool
    actions: np.ndarray


def run_actor(worlds: Worlds, trials: Sequence[Trial], actor: Actor, horizon: int, execute: int) -> list[EpisodeResult]:
    """Run one episode in each world with a policy; an episode ends at success or after `horizon` steps.

    Args:
        worlds: One per trial, with the actor's cameras.
        trials: What to run in each world.
        actor: The policy.
        horizon: Most control steps.
        execute: Actions of a chunk that are executed before looking again, at most the chunk's length.
    """
    language = actor.contract.language
    assert language is not None
    tokens = np.stack([tokenize(trial.instruction, language) for trial in trials])
    log = _EpisodeLog(worlds, trials)
    for decision, start in enumerate(range(0, horizon, execute)):
        if not log.active.any():
            break
        rows = np.flatnonzero(log.active)
        seen = {**worlds.render(log.active), "state": worlds.states(), "tokens": tokens}
        observation = {name: seen[name][rows] for name in actor.contract.input_names}
        noise = np.concatenate([chunk_noise(trials[row].seed, decision, actor.contract) for row in rows])
        chunks = np.zeros((len(worlds), *noise.shape[1:]), np.float32)
        chunks[rows] = actor.act(observation, noise)
        for step in range(min(execute, horizon - start)):
            log.step(chunks[:, step])
    return log.results()


def run_controller(worlds: Worlds, trials: Sequence[Trial], name: ControllerName, horizon: int) -> list[EpisodeResult]:
    """Run one episode in each world with a built-in controller, see `foreact.sim.controllers`."""
    command = controller(name, [trial.seed for trial in trials])
    log = _EpisodeLog(worlds, trials)
    for _ in range(horizon):
        if not log.active.any():
            break
        log.step(command(worlds, log.active))
    return log.results()


class _EpisodeLog:
    """Steps the worlds whose episode still runs and remembers what happened."""

    def __init__(self, worlds: Worlds, trials: Sequence[Trial]) -> None:
        worlds.reset([trial.seed for trial in trials])
        self._worlds, self._trials = worlds, trials
        self.active = np.ones(len(trials), bool)
        self._success = np.zeros(len(trials), bool)
        self._actions: list[list[np.ndarray]] = [[] for _ in trials]

    def step(self, actions: np.ndarray) -> None:
        if not self.active.any():
            return
        for row in np.flatnonzero(self.active):
            self._actions[row].append(actions[row].copy())
        done = self._worlds.step(actions, self.active).success
        self._success |= done
        self.active &= ~done

    def results(self) -> list[EpisodeResult]:
        parts = zip(self._trials, self._success, self._actions, strict=True)
        return [EpisodeResult(trial, bool(ok), np.array(actions, np.float32)) for trial, ok, actions in parts]
