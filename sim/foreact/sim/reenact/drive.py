"""Driving a stage by the actions of one recording: each is held until the next, over many small physics steps.

Shape letters: T = actions, J = joints that are driven, nq, nv = of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from foreact.episodes.replayer import Replayer
from foreact.episodes.sources import Source, SourceError
from foreact.episodes.timeline import COUNTED, Step, Timeline
from foreact.sim.backends import SimBackend, WorldsFailed, make_backend
from foreact.sim.reenact.stage import Opening, Stage

__all__ = ["Chosen", "Range", "Take", "drive"]

AT_LIMIT = 0.999  # of the most force that counts as the most


@dataclass(frozen=True)
class Chosen:
    """Streams of a recording by what they are for; empty where there is none.

    Attributes:
        action: What was commanded.
        state: What was measured.
        camera: What was seen.
        reward: What it was worth.
    """

    action: str
    state: str = ""
    camera: str = ""
    reward: str = ""


@dataclass(frozen=True)
class Range:
    """Which part is played, and how.

    Attributes:
        start_s: Begin so long after the first action [s].
        duration_s: Play so long [s]; 0 for all.
        rate: Times the speed of the recording: 2 gives each action half its time.
        offset_s: Added to the stamps of states and pictures [s].
        period_s: Time between actions where the recording tells none [s].
    """

    start_s: float = 0.0
    duration_s: float = 0.0
    rate: float = 1.0
    offset_s: float = 0.0
    period_s: float | None = None


@dataclass(frozen=True)
class Take:
    """A recording that was re-enacted.

    Attributes:
        key: Of the recording.
        opening: How it began.
        times_ns: Of the T actions, on the recording's timeline.
        tick_s: Of one count of that timeline [s].
        period_s: Median time between actions, as they were recorded [s].
        qpos: Before each action and after the last, (T + 1, nq).
        qvel: The same, (T + 1, nv).
        posed: The model at the recorded states, (T, nq); NaN where there is none.
        states: Recorded states as they are, (T, S); NaN where there is none.
        targets: Where actions want the joints, (T, J); NaN where they say no position.
        saturated: Sub-steps in which a joint's actuator gave the most it can, (J,).
        substeps: In all.
        warnings: Of the engine, by name.
    """

    key: str
    opening: Opening
    times_ns: np.ndarray
    tick_s: float
    period_s: float
    qpos: np.ndarray
    qvel: np.ndarray
    posed: np.ndarray
    states: np.ndarray
    targets: np.ndarray
    saturated: np.ndarray
    substeps: int
    warnings: dict[str, int]

    @property
    def seconds(self) -> float:
        """How long it was in the recording [s]."""
        return float(self.times_ns[-1] - self.times_ns[0]) * self.tick_s + self.period_s


def drive(stage: Stage, source: Source, chosen: Chosen, part: Range, engine: Literal["cpu", "ref"] = "cpu") -> Take:
    """Re-enact one recording, open loop.

    Args:
        stage: What on.
        source: The recording.
        chosen: Its streams.
        part: Which part of it.
        engine: See `make_backend`.

    Raises:
        SourceError: Actions or states that are not finite or of another size, or a simulation that blows up.
        ValueError: A part that holds no action, or no time between actions is known.
    """
    tick = _tick(source, chosen.action, part, stage)
    shift = round(part.offset_s / tick)
    names = [name for name in (chosen.action, chosen.state) if name]
    timeline = Timeline.of(
        {source.key: source}, streams=names, offsets_ns={chosen.state: shift} if chosen.state else {}
    )
    times = part_of(timeline.times(chosen.action), part, tick)
    period = float(np.median(np.diff(times))) * tick if len(times) > 1 else (part.period_s or stage.period_s)
    if not period:
        raise ValueError(f"{source.key} has one action in this part, and how long it is held is not known")
    ends = np.append((times[1:] - times[0]) * tick, (times[-1] - times[0]) * tick + period) / part.rate
    scene: _Scene | None = None
    for step in Replayer(timeline, times):
        action, state = _numbers(step, chosen.action, source), _numbers(step, chosen.state, source)
        assert action is not None
        if scene is None:
            width = int(np.prod(source.streams[chosen.state].shape)) if chosen.state else 0  # pyright: ignore
            scene = _Scene(stage, stage.opening(source, state, action), width, engine)
        scene.act(action, state, float(ends[step.number]), source.key)
    assert scene is not None
    return scene.take(source.key, times, tick, period)


def part_of(times: np.ndarray, part: Range, tick_s: float) -> np.ndarray:
    """The times that lie in the part, int64.

    Raises:
        ValueError: None does.
    """
    start = int(times[0]) + round(part.start_s / tick_s)
    end = start + round(part.duration_s / tick_s) if part.duration_s else int(times[-1])
    inside = times[(times >= start) & (times <= end)]
    if not len(inside):
        seconds = float(times[-1] - times[0]) * tick_s
        raise ValueError(f"start_s={part.start_s} leaves nothing of {seconds:.3f} s")
    return inside


def _tick(source: Source, action: str, part: Range, stage: Stage) -> float:
    """Length of one count of the recording's clock [s]."""
    if source.streams[action].clock not in COUNTED:
        return 1e-9
    if period := part.period_s or stage.period_s:
        return period
    raise ValueError(f"{source.key} counts steps and tells no time; say how many there are a second: rate_hz=30")


def _numbers(step: Step, name: str, source: Source) -> np.ndarray | None:
    picked = step.samples.get(name)
    if picked is None:
        return None
    values = np.asarray(picked.value, np.float64).reshape(-1)
    if bad := np.flatnonzero(~np.isfinite(values)).tolist():
        names = source.streams[name].elements
        which = ", ".join(names[each] if each < len(names) else f"element {each}" for each in bad[:3])
        raise SourceError(f"{source.key}: {name} number {picked.index} is not finite: {which}")
    return values


class _Scene:
    """One world and what came of it so far."""

    def __init__(self, stage: Stage, opening: Opening, width: int, engine: Literal["cpu", "ref"]) -> None:
        self._width = width
        options = {"threads": 1} if engine == "cpu" else {}
        self.stage, self.opening = stage, opening
        self.backend: SimBackend = make_backend(engine, opening.model, 1, **options)
        self.backend.reset()
        self._qpos, self._qvel, self._control = (self.backend.view(name) for name in ("qpos", "qvel", "ctrl"))
        self._force = self.backend.view("qfrc_actuator")
        self._qpos[0], self._qvel[0] = opening.qpos, opening.qvel
        self._rows: dict[str, list[np.ndarray]] = {"qpos": [], "qvel": [], "posed": [], "states": [], "targets": []}
        self._saturated, self._done = np.zeros(len(stage.driven.names), np.int64), 0

    def act(self, action: np.ndarray, state: np.ndarray | None, until_s: float, key: str) -> None:
        """Hold an action until a time since the beginning [s]."""
        stage, rows = self.stage, self._rows
        rows["qpos"].append(self._qpos[0].copy())
        rows["qvel"].append(self._qvel[0].copy())
        rows["targets"].append(stage.target(action))
        missing = np.full(self.opening.model.nq, np.nan)
        rows["posed"].append(missing if state is None else stage.posed(self.opening, state))
        rows["states"].append(np.full(self._width, np.nan) if state is None else state)
        self._control[0] = stage.control(action)
        due = round(until_s / float(self.opening.model.opt.timestep))
        try:
            for _ in range(due - self._done):
                self.backend.step(1)
                self._saturated += np.abs(self._force[0, stage.driven.dof]) >= AT_LIMIT * stage.driven.forces
        except WorldsFailed as error:
            raise SourceError(f"{key}: the simulation failed in action {len(rows['qpos']) - 1}: {error}") from error
        self._done = due

    def take(self, key: str, times: np.ndarray, tick_s: float, period_s: float) -> Take:
        """All that came of it."""
        rows = self._rows
        rows["qpos"].append(self._qpos[0].copy())
        rows["qvel"].append(self._qvel[0].copy())
        arrays = {name: np.array(values) for name, values in rows.items()}
        counted = {name: int(each[0]) for name, each in self.backend.warnings().items() if each[0]}
        return Take(
            key=key, opening=self.opening, times_ns=times, tick_s=tick_s, period_s=period_s, **arrays,
            saturated=self._saturated, substeps=self._done, warnings=counted,
        )  # fmt: skip
