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
from foreact.vla.actors import Actor, PrefixActor, chunk_noise, longest_prefix

__all__ = ["EpisodeResult", "Lateness", "Trial", "run_actor", "run_controller"]


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
class Lateness:
    """How late chunks arrive.

    Attributes:
        delay: Control steps from the observation to the first action of its chunk that can be executed. The chunk
            before is executed meanwhile; only an episode's first chunk is waited for.
        told: Whether a policy that can be told is given the actions that are being executed.
    """

    delay: int = 0
    told: bool = True


ON_TIME = Lateness()


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


def run_actor(
    worlds: Worlds, trials: Sequence[Trial], actor: Actor, horizon: int, execute: int, lateness: Lateness = ON_TIME
) -> list[EpisodeResult]:
    """Run one episode in each world with a policy; an episode ends at success or after `horizon` steps.

    Args:
        worlds: One per trial, with the actor's cameras.
        trials: What to run in each world.
        actor: The policy.
        horizon: Most control steps.
        execute: Control steps from one look to the next, at most the chunk's length less the delay.
        lateness: How late chunks arrive.
    """
    log = _EpisodeLog(worlds, trials)
    decisions = _Decisions(worlds, trials, actor)
    plan: np.ndarray | None = None
    for decision, start in enumerate(range(0, horizon, execute)):
        if not log.active.any():
            break
        # rows of the old plan that are executed until the new one arrives
        running = None if plan is None else plan[:, execute : execute + lateness.delay]
        late = 0 if running is None else lateness.delay
        chunks = decisions.make(log.active, decision, running if lateness.told else None)
        plan = chunks if running is None else np.concatenate([running, chunks[:, late:]], axis=1)
        for step in range(min(execute, horizon - start)):
            log.step(plan[:, step])
    return log.results()


class _Decisions:
    """Asks an actor for the chunks of the worlds whose episode still runs."""

    def __init__(self, worlds: Worlds, trials: Sequence[Trial], actor: Actor) -> None:
        self._worlds, self._trials, self._actor = worlds, trials, actor
        language = actor.contract.language
        self._tokens = None if language is None else np.stack([tokenize(each.instruction, language) for each in trials])

    def make(self, active: np.ndarray, decision: int, running: np.ndarray | None) -> np.ndarray:
        """Chunks of all worlds, (N, H, A), 0 for worlds that are not active; `running` is (N, delay, A)."""
        contract, rows = self._actor.contract, np.flatnonzero(active)
        seen = {**(self._worlds.render(active) if contract.cameras else {}), "state": self._worlds.states()}
        if self._tokens is not None:
            seen["tokens"] = self._tokens
        observation = {name: seen[name][rows] for name in contract.input_names}
        noise = np.concatenate([chunk_noise(self._trials[row].seed, decision, contract) for row in rows])
        chunks = np.zeros((len(self._worlds), *noise.shape[1:]), np.float32)
        chunks[rows] = self._act(observation, noise, None if running is None else running[rows])
        return chunks

    def _act(self, observation: dict[str, np.ndarray], noise: np.ndarray, running: np.ndarray | None) -> np.ndarray:
        actor = self._actor
        if running is None or not running.shape[1] or not (isinstance(actor, PrefixActor) and longest_prefix(actor)):
            return actor.act(observation, noise)
        prefix = np.zeros_like(noise)
        prefix[:, : running.shape[1]] = running
        return actor.act(observation, noise, prefix, np.full(len(noise), running.shape[1], np.int64))


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
