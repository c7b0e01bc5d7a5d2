"""`foreact replay` of a dump: play what a NaN guard wrote, and find the number that went wrong first.

Shape letters: n = failed worlds, K = steps kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import write_json_atomic
from foreact.sim.backends import SimBackend, WorldsFailed
from foreact.sim.backends.base import on_host
from foreact.sim.dump import Dump, Replay, read_dump
from foreact.sim.replay_pictures import Values, draw_frames, draw_largest, largest

if TYPE_CHECKING:
    import mujoco

__all__ = ["DumpConfig", "Fault", "faults", "kept_states", "replay_dump_folder"]

# in the order in which they are looked at: a policy that sees a bad position commands a bad control, not the reverse
STATE = ("qpos", "qvel", "act", "ctrl", "qfrc_applied", "xfrc_applied", "mocap_pos", "mocap_quat", "qacc_warmstart")
LIMITED = ("qpos", "qvel", "qacc", "ctrl")  # where MuJoCo warns beyond mjMAXVAL
COLUMNS = ("world", "what went wrong", "step", "time [s]", "first wrong element", "largest |qvel|", "same bits")


@dataclass(frozen=True)
class DumpConfig:
    """What to play.

    Attributes:
        path: Folder that a NaN guard wrote for one failure.
        out: Folder for `states.png`, `frames.png` and `report.json`; nothing is written without it.
        frames: Draw the kept states, if there is an `out`.
        worlds: Failed worlds drawn at most.
        device: Where a dump of `warp` is stepped: cpu or cuda:0.
    """

    path: Path
    out: Path | None = None
    frames: bool = True
    worlds: int = 8
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.worlds < 1:
            raise ValueError(f"worlds={self.worlds} is out of range; give 1 or more")


@dataclass(frozen=True)
class Fault:
    """Where a world went wrong first.

    Attributes:
        step: Kept step, from 1 to K.
        substep: Sub-step of it in which the element came about, from 1; 0 if the state before the step had it.
        time_s: Simulated time of the world [s].
        element: Such as `qvel of joint hip_1`.
        value: Of the element: not finite, or beyond the engine's limit.
    """

    step: int
    substep: int
    time_s: float
    element: str
    value: float


def replay_dump_folder(config: DumpConfig, progress: ProgressFn = quiet) -> Outcome:
    """Play the dump of a NaN guard.

    Args:
        config: What to play.
        progress: Told of each stage.

    Returns:
        One row per failed world; its path is `out`, or the dump if nothing was written.

    Raises:
        FileNotFoundError: There is nothing at the path.
        ValueError: It is no dump, damaged, of another version of MuJoCo, or cannot be drawn.
        ModuleNotFoundError: A package that the engine or the pictures need is not installed.
    """
    dump = read_dump(config.path)
    options = {"device": config.device} if dump.about.backend == "warp" else {}
    if not options and config.device != "cpu":
        raise ValueError(f"{config.path} is a dump of {dump.about.backend}, which has no device={config.device}")
    progress(0, 0, "step again")
    with _engine_silent():
        backend = dump.make(**options)
        again = dump.replay(backend)
        states = kept_states(dump, backend)
        found = faults(dump, backend, states)
    figures = _figures(dump, again, found, states)
    drawn: Mapping[int, int] = {}
    if config.out is not None:
        drawn = draw_frames(config.out / "frames.png", dump, states, config.worlds, progress) if config.frames else {}
        config.out.mkdir(parents=True, exist_ok=True)
        draw_largest(config.out / "states.png", dump, states)
        figures["drawn"] = {str(dump.about.worlds[world]): count for world, count in drawn.items()}
        write_json_atomic(config.out / "report.json", figures)
    return Outcome(config.out or config.path, figures, *_table(dump, again, found, states, drawn))


def kept_states(dump: Dump, backend: SimBackend) -> list[Values]:
    """Time and state fields before each of the K kept steps, (n, ...) each.

    Args:
        dump: What was written.
        backend: That the dump made; its worlds are moved.
    """
    states = []
    for step in range(len(dump.about.calls)):
        dump.restore(backend, step)
        states.append(_values(backend, ("time", *STATE)))
    return states


def faults(dump: Dump, backend: SimBackend, states: Sequence[Values]) -> list[Fault | None]:
    """Find for each world the first element that is not finite or beyond the engine's limit.

    A state before the failing step that has one is followed back to the first of its kind; if there is none, the
    failing step is walked through sub-step by sub-step, with the accelerations that each of them computes.

    Args:
        dump: What was written.
        backend: That the dump made; its worlds are moved.
        states: What `kept_states` found.

    Returns:
        A fault per world, None where only the engine's message tells what is wrong.
    """
    found: list[Fault | None] = [None] * len(dump.about.worlds)
    last = len(states) - 1
    for world in range(len(found)):
        for step in range(last, -1, -1):
            fault = _fault(dump, states[step], world, step, 0)
            if fault is None:
                break
            found[world] = fault
    for substep, values in _walked(dump, backend, last):
        for world, known in enumerate(found):
            found[world] = known or _fault(dump, values, world, last, substep)
        if all(found):
            break
    return found


def _walked(dump: Dump, backend: SimBackend, step: int) -> Iterator[tuple[int, Values]]:
    """Accelerations in each sub-step of a step, and the state after it."""
    dump.restore(backend, step)
    backend.view("qacc")  # filled from the next call on
    for substep in range(1, dump.about.calls[step][0] + 1):
        start = backend.snapshot()
        if _tried(backend.forward):
            yield substep, _values(backend, ("time", "qacc"))
        backend.restore(start)
        _tried(backend.step)
        yield substep, _values(backend, ("time", *STATE))


def _tried(call: Any) -> bool:
    """Whether the engine did not fail; that it may is why there is a dump, which says so."""
    try:
        call()
    except WorldsFailed:
        return False
    return True


def _values(backend: SimBackend, fields: Sequence[str]) -> Values:
    found = {field: backend.view(field) for field in fields}
    return {name: np.copy(on_host(each)) for name, each in found.items()}


def _fault(dump: Dump, values: Values, world: int, step: int, substep: int) -> Fault | None:
    import mujoco

    for field, each in values.items():
        numbers = each[world].ravel()
        # Warp lets numbers grow until they are none
        limited = field in LIMITED and dump.about.backend != "warp"
        # written so that NaN is wrong as well
        wrong = np.flatnonzero(~(np.abs(numbers) <= (mujoco.mjMAXVAL if limited else np.finfo(numbers.dtype).max)))
        if len(wrong):
            index = int(wrong[0])
            name = _element(dump.model, field, index, each.shape[1:])
            return Fault(step + 1, substep, float(values["time"][world]), name, float(numbers[index]))
    return None


def _element(model: mujoco.MjModel, field: str, index: int, shape: Sequence[int]) -> str:
    """A number of the state in words, by joint or actuator where it belongs to one."""
    if field in ("qpos", "qvel", "qacc", "qfrc_applied", "qacc_warmstart"):
        starts = model.jnt_qposadr if field == "qpos" else model.jnt_dofadr
        joint = int(np.searchsorted(starts, index, "right")) - 1
        part = f"[{index - starts[joint]}]" if model.jnt_type[joint] < 2 else ""  # free and ball joints have several
        body = model.body(int(model.jnt_bodyid[joint])).name
        return f"{field}{part} of joint {model.joint(joint).name or f'{joint} (body {body})'}"
    if field == "ctrl":
        return f"ctrl of actuator {model.actuator(index).name or index}"
    place = ", ".join(str(each) for each in np.unravel_index(index, shape)) if shape else ""
    return f"{field}[{place}]" if place else field


def _figures(dump: Dump, again: Replay, found: Sequence[Fault | None], states: Sequence[Values]) -> dict[str, JSON]:
    about = dump.about
    worlds: list[JSON] = [
        {
            "world": about.worlds[world],
            "message": again.messages[world],
            "fault": None if fault is None else _plain(fault),
            "largest_qpos": largest(states, "qpos", world),
            "largest_qvel": largest(states, "qvel", world),
            "same": bool(again.repeated[world]),
        }
        for world, fault in enumerate(found)
    ]
    return {
        "kind": "dump of a NaN guard",
        "backend": about.backend,
        "mujoco": about.mujoco,
        "calls": [{"substeps": substeps, "fresh": fresh} for substeps, fresh in about.calls],
        "same": again.same,
        "worlds": worlds,
    }


def _plain(fault: Fault) -> JSON:
    # JSON has no infinite numbers, so that the value is a text
    time_s = fault.time_s if np.isfinite(fault.time_s) else None
    return {
        "step": fault.step, "substep": fault.substep, "time_s": time_s, "element": fault.element,
        "value": f"{fault.value:.4g}",
    }  # fmt: skip


def _table(
    dump: Dump, again: Replay, found: Sequence[Fault | None], states: Sequence[Values], drawn: Mapping[int, int]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    rows = []
    for world, fault in enumerate(found):
        speeds = [each for each in largest(states, "qvel", world) if each is not None]
        rows.append((
            str(dump.about.worlds[world]),
            again.messages[world],
            *_where(dump, fault, float(states[-1]["time"][world])),
            f"{max(speeds):.4g}" if speeds else "none is finite",
            "yes" if again.repeated[world] else "no",
            *([_share(drawn.get(world), len(states))] if drawn else []),
        ))  # fmt: skip
    return (*COLUMNS, "drawn") if drawn else COLUMNS, tuple(rows)


def _where(dump: Dump, fault: Fault | None, time_s: float) -> tuple[str, str, str]:
    """Step, time and element as texts."""
    kept = len(dump.about.calls)
    if fault is None:
        return f"{kept} of {kept}", f"{time_s:.4f}", "none"
    inside = f", sub-step {fault.substep} of {dump.about.calls[fault.step - 1][0]}" if fault.substep else ""
    before = "" if fault.substep else "before "
    return (
        f"{before}{fault.step} of {kept}{inside}",
        f"{fault.time_s:.4f}",
        f"{fault.element} = {fault.value:.4g}",
    )


def _share(drawn: int | None, kept: int) -> str:
    if drawn is None:
        return "not asked for"
    return f"{drawn} of {kept}" + ("" if drawn == kept else ": not finite, or too large")


@contextmanager
def _engine_silent() -> Iterator[None]:
    """Keep the engine from telling again what it told when the worlds failed, and from writing it to a log file."""
    import mujoco

    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda _: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)
