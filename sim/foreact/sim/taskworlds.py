"""Many worlds of one task: actions in, observations, rewards and ends out, in arrays that are made once.

Shape letters: N = worlds, n = selected worlds, A = action elements, O = observation elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from foreact.sim.backends import SimBackend, Snapshot, make_backend
from foreact.sim.backends.base import on_host, selected
from foreact.sim.observer import Observer
from foreact.sim.random import WorldRandom
from foreact.sim.task import Event, SimTask
from foreact.sim.views import Views

__all__ = ["Step", "TaskWorlds", "WorldsSnapshot"]


@dataclass(frozen=True)
class Step:
    """Live arrays, overwritten by the next step.

    Attributes:
        observation: float32 (N, O); of worlds that ended and were reset, the first of the new episode.
        reward: float32 (N,).
        terminated: The task says that it is over, bool (N,).
        truncated: The time limit was reached, bool (N,).
        success: bool (N,); False where the task has no such thing.
        ended: Worlds that ended in this step, int (n,).
        final: Their last observations, float32 (n, O).
    """

    observation: Any
    reward: Any
    terminated: Any
    truncated: Any
    success: Any
    ended: np.ndarray
    final: Any


@dataclass(frozen=True)
class WorldsSnapshot:
    """Everything that decides the future of n worlds of a task, and derived fields as terms last saw them."""

    engine: Snapshot
    arrays: dict[str, Any]
    derived: dict[str, Any]


class TaskWorlds:
    """N worlds of one task.

    Args:
        task: What to do.
        nworld: N.
        backend: `cpu`, `ref` or `warp`, or a backend of the task's model.
        seed: Of everything random.
        autoreset: Start a new episode in a world as soon as one ends.
        options: Further options of the backend, such as `threads=2` or `device="cuda:0"`.
    """

    def __init__(
        self,
        task: SimTask,
        nworld: int,
        backend: Literal["cpu", "ref", "warp"] | SimBackend = "cpu",
        seed: int = 0,
        *,
        autoreset: bool = True,
        **options: Any,
    ) -> None:
        self.task, self.nworld, self._autoreset = task, nworld, autoreset
        if backend == "warp":
            options = {**task.warp, **options}
        self.backend = make_backend(backend, task.compile(), nworld, **options) if isinstance(backend, str) else backend
        model = self.backend.model
        self.views = Views(self.backend, float(model.opt.timestep) * task.substeps, at_once=True)
        self.random = WorldRandom(seed, nworld)
        self.low, self.high = task.action_range(model)
        zeros = self.views.zeros
        self.views.action, self.views.last_action = (zeros(nworld, len(self.low)) for _ in range(2))
        self.steps = zeros(nworld, dtype="int32")
        for name, command in task.commands.items():
            self.views.command[name] = zeros(nworld, command.size)
        self._reward, self._false = zeros(nworld), zeros(nworld, dtype="bool")
        self._all = np.arange(nworld)
        self._observer: Observer | None = None

    def __len__(self) -> int:
        return self.nworld

    @property
    def observation_size(self) -> int:
        """O."""
        return self._observed.size

    @property
    def _observed(self) -> Observer:
        if self._observer is None:
            self._remember()
            self._observer = Observer(self.task.observe, self.views)
            # called once for what they look up: the first step must fill it as all others do
            self._rewarded()
            self._any(self.task.terminate)
            if self.task.success is not None:
                self.task.success(self.views)
        return self._observer

    def reset(self, ids: np.ndarray | None = None, seeds: Sequence[int] | np.ndarray | None = None) -> Any:
        """Start new episodes.

        Args:
            ids: Sorted numbers of the worlds, int (n,), or a bool mask (N,); all if None.
            seeds: One for each of these worlds, so that what follows does not depend on what was; None goes on drawing.

        Returns:
            Observations of all worlds, live float32 (N, O).

        Raises:
            ValueError: There is not one seed per world.
        """
        chosen = selected(ids, self.nworld)
        if seeds is not None:
            if len(seeds) != len(chosen):
                raise ValueError(f"reset: {len(seeds)} seeds for {len(chosen)} worlds")
            self.random.seed(chosen, np.asarray(seeds))
        self._start(chosen)
        return self._observed.write(None)

    def step(self, actions: Any) -> Step:
        """Advance all worlds by one control step.

        Args:
            actions: (N, A), in [low, high]; the engine clips what an actuator cannot do.

        Raises:
            ValueError: The shape is wrong.
            WorldsFailed: The engine failed in some worlds.
        """
        if tuple(actions.shape) != (self.nworld, len(self.low)):
            raise ValueError(f"expected actions of shape {(self.nworld, len(self.low))}, got {tuple(actions.shape)}")
        views, task, observer = self.views, self.task, self._observed
        views.action = actions
        for event in task.each_step:
            event(views, self._all, self.random)
        self._remember()
        for each in views.hidden.values():
            actions = each.act(views, actions)
        if task.act is None:
            views.ctrl[:] = actions
        else:
            task.act(views, actions)
        self.backend.step(task.substeps, None, task.fresh)
        self.steps += 1
        self._redraw()
        reward = self._rewarded()
        terminated = self._any(task.terminate)
        truncated = self.steps >= task.limit
        success = self._false if task.success is None else task.success(views)
        views.last_action[:] = views.action
        observation = observer.write(None)
        ended = self._ended(terminated | truncated)
        final = observation[ended]
        if self._autoreset and len(ended):
            self._start(ended)
            observation = observer.write(ended)
        return Step(observation, reward, terminated, truncated, success, ended, final)

    def snapshot(self, ids: np.ndarray | None = None) -> WorldsSnapshot:
        """A copy of everything that decides the future of some worlds, counters and random streams included."""
        chosen = slice(None) if ids is None else ids
        arrays = {name: _copied(values[chosen]) for name, values in self._arrays().items()}
        # terms may read derived fields as they lag the state, which no call computes again
        derived = {name: _copied(values[chosen]) for name, values in self.views.derived.items()}
        return WorldsSnapshot(self.backend.snapshot(ids), arrays, derived)

    def restore(self, snapshot: WorldsSnapshot, ids: np.ndarray | None = None) -> Any:
        """Put worlds back; observations of all worlds, live (N, O).

        Raises:
            ValueError: The snapshot has something hidden that these worlds have not.
        """
        chosen = slice(None) if ids is None else ids
        observer, own = self._observed, self._arrays()
        if unknown := snapshot.arrays.keys() - own.keys():
            raise ValueError(f"the snapshot has {', '.join(sorted(unknown))}, which these worlds have not")
        for name, values in own.items():
            values[chosen] = snapshot.arrays.get(name, 0)  # what is hidden since then has no effect
        self.backend.restore(snapshot.engine, ids)
        if self.views.derived.keys() - snapshot.derived.keys():
            self._refresh(ids)
        for name in self.views.derived.keys() & snapshot.derived.keys():
            self.backend.show(name, snapshot.derived[name], ids)
        return observer.write(None)

    def fork(
        self,
        ids: np.ndarray,
        copies: int,
        hidden: Sequence[Event] = (),
        seed: int = 0,
        into: TaskWorlds | None = None,
    ) -> TaskWorlds:
        """Worlds of their own that go on from where some of these are: true futures.

        Args:
            ids: Worlds to copy, int (n,) or a bool mask (N,).
            copies: How many of each; those of one lie side by side.
            hidden: Events that change what the policy cannot see, drawn anew for every copy.
            seed: Of these draws; without events the copies differ by their actions alone.
            into: What an earlier fork of this size returned, to be used again.
        """
        ids = selected(ids, self.nworld)
        engine = self.backend.fork(ids, copies, None if into is None else into.backend)
        nworld = len(ids) * copies
        target = TaskWorlds(self.task, nworld, engine, seed, autoreset=False) if into is None else into
        target.views.hidden = {name: each.empty_like(target.views) for name, each in self.views.hidden.items()}
        own = target._arrays()
        for name, values in self._arrays().items():
            own[name][:] = values[np.repeat(ids, copies)]
        draws = WorldRandom(seed, nworld)
        for event in hidden:
            target._refresh(None)
            event(target.views, target._all, draws)
        observer = target._observed  # looks up what terms read, which is then overwritten
        if hidden:
            target._refresh(None)
        else:
            for name, values in self.views.derived.items():
                engine.show(name, values[np.repeat(ids, copies)])
        observer.write(None)
        return target

    def _arrays(self) -> dict[str, Any]:
        arrays = {"steps": self.steps, "key": self.random.key, "drawn": self.random.drawn}
        arrays["last_action"] = self.views.last_action
        arrays |= {f"command.{name}": values for name, values in self.views.command.items()}
        for name, each in self.views.hidden.items():
            arrays |= {f"hidden.{name}.{own}": values for own, values in each.arrays().items()}
        return arrays

    def _start(self, ids: np.ndarray) -> None:
        every = None if len(ids) == self.nworld else ids
        self.backend.reset(every)
        for each in self.views.hidden.values():
            each.restart(ids)
        self.views.last_action[ids] = 0
        for event in self.task.start:
            self._refresh(every)
            event(self.views, ids, self.random)
        self.steps[ids] = 0
        for name in self.task.commands:
            self._draw(name, ids)
        self._refresh(every)

    def _redraw(self) -> None:
        """Commands whose time has come, in worlds that go on."""
        for name, command in self.task.commands.items():
            if command.every:
                self._draw(name, self._ended(self.steps % command.every == 0))

    def _draw(self, name: str, ids: np.ndarray) -> None:
        if len(ids):
            command = self.views.command[name]
            command[ids] = self.views.like(self.task.commands[name].draw(ids, self.random), command)

    def _refresh(self, ids: np.ndarray | None) -> None:
        """Derived fields at the present state, if anything reads them."""
        if self.views.derived:
            self.backend.forward(ids, "acceleration")

    def _remember(self) -> None:
        for name, measure in self.task.remember.items():
            self.views.before[name] = _copied(measure(self.views))

    def _rewarded(self) -> Any:
        total: Any = 0.0
        for weight, measure in self.task.reward:
            total = total + weight * measure(self.views)
        self._reward[:] = total
        return self._reward

    def _any(self, measures: Sequence[Any]) -> Any:
        found = self._false
        for measure in measures:
            found = found | measure(self.views)
        return found

    def _ended(self, over: Any) -> np.ndarray:
        return np.flatnonzero(on_host(over))


def _copied(values: Any) -> Any:
    return values.copy() if isinstance(values, np.ndarray) else values.clone()
