"""`foreact replay`: play what a NaN guard dumped, and find the number that went wrong first.

Shape letters: n = failed worlds, K = steps kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import write_json_atomic
from foreact.sim.backends import SimBackend, WorldsFailed, make_backend
from foreact.sim.guard import Dump, Replay, read_dump

if TYPE_CHECKING:
    import mujoco

    from foreact.episodes.contract import CameraSpec
    from foreact.sim.contact_sheet import Panel

__all__ = ["Fault", "ReplayConfig", "faults", "kept_states", "replay"]

# in the order in which they are looked at: a policy that sees a bad position commands a bad control, not the reverse
STATE = ("qpos", "qvel", "act", "ctrl", "qfrc_applied", "xfrc_applied", "mocap_pos", "mocap_quat", "qacc_warmstart")
LIMITED = ("qpos", "qvel", "qacc", "ctrl")  # where MuJoCo warns beyond mjMAXVAL
COLUMNS = ("world", "what went wrong", "step", "time [s]", "first wrong element", "largest |qvel|", "same bits")
SIDE, AZIMUTH = 192, 135.0  # [px], [deg] of the pictures
LEGEND = 10  # worlds that a plot can name
WIDE = 1000  # largest number that a plot shows on a linear axis
PAPER = 235  # grey of a state that is not drawn

type Values = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ReplayConfig:
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


def replay(config: ReplayConfig, progress: ProgressFn = quiet) -> Outcome:
    """Play what lies at a path: so far, the dump of a NaN guard.

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
        drawn = _draw(config, config.out / "frames.png", dump, states, progress) if config.frames else {}
        config.out.mkdir(parents=True, exist_ok=True)
        _plot(config.out / "states.png", dump, states)
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
    return {name: np.copy(each if backend.xp is np else each.cpu().numpy()) for name, each in found.items()}


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


def _largest(states: Sequence[Values], field: str, world: int) -> list[float | None]:
    """Of each kept state the largest magnitude among the finite elements of a field."""
    numbers = [np.abs(values[field][world]) for values in states]
    finite = [each[np.isfinite(each)] for each in numbers]
    return [float(each.max()) if each.size else None for each in finite]


def _figures(dump: Dump, again: Replay, found: Sequence[Fault | None], states: Sequence[Values]) -> dict[str, JSON]:
    about = dump.about
    worlds: list[JSON] = [
        {
            "world": about.worlds[world],
            "message": again.messages[world],
            "fault": None if fault is None else _plain(fault),
            "largest_qpos": _largest(states, "qpos", world),
            "largest_qvel": _largest(states, "qvel", world),
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
        speeds = [each for each in _largest(states, "qvel", world) if each is not None]
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


def _plot(path: Path, dump: Dump, states: Sequence[Values]) -> None:
    """Write a PNG: the largest |qpos| and |qvel| of each world before each kept step."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    steps = np.arange(1, len(states) + 1)
    for axes, field in zip(figure.subplots(1, 2), ("qpos", "qvel"), strict=True):
        largest = [_largest(states, field, world) for world in range(len(dump.about.worlds))]
        if max((each for row in largest for each in row if each is not None), default=0) > WIDE:
            axes.set_yscale("symlog")  # linear up to 1
        for world, number in enumerate(dump.about.worlds):
            (line,) = axes.plot(steps, np.array(largest[world], float), marker=".", label=f"world {number}")
            for step in steps[[not np.isfinite(values[field][world]).all() for values in states]]:
                axes.axvline(step, color=line.get_color(), linestyle=":")
        axes.set(xlabel="before step", ylabel=f"largest |{field}|, dotted: not all finite", xticks=steps)
        axes.set_ylim(bottom=0)
    if len(dump.about.worlds) <= LEGEND:
        figure.axes[0].legend(fontsize="small")
    FigureCanvasAgg(figure)
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, format="png", dpi=130)
    temporary.replace(path)


def _draw(
    config: ReplayConfig, path: Path, dump: Dump, states: Sequence[Values], progress: ProgressFn
) -> dict[int, int]:
    """Write a PNG with a row for each world and a column for each kept state.

    Returns:
        How many states of each of the worlds were drawn.

    Raises:
        ValueError: Worlds of this model, or with these fields of their own, cannot be drawn.
    """
    from foreact.sim.contact_sheet import write_contact_sheet

    drawn: dict[int, int] = {}
    panels: list[Panel] = []
    shown = dump.about.worlds[: config.worlds]
    for world in range(len(shown)):
        progress(world, len(shown), "draw worlds")
        steps = [step for step, values in enumerate(states) if _can_be_drawn(dump, values, step, world)]
        try:
            images = dict(zip(steps, _images(dump, states, world, steps), strict=True)) if steps else {}
        except ValueError as error:
            raise ValueError(f"{error}. Type frames=false to go without pictures") from error
        panels += [_panel(dump, values, step, world, images.get(step)) for step, values in enumerate(states)]
        drawn[world] = len(steps)
    progress(len(shown), len(shown), "draw worlds")
    write_contact_sheet(path, panels, columns=len(states))
    return drawn


def _panel(dump: Dump, values: Values, step: int, world: int, image: np.ndarray | None) -> Panel:
    from foreact.sim.contact_sheet import Panel

    title = f"world {dump.about.worlds[world]} before step {step + 1} of {len(dump.about.calls)}"
    text = f"{float(values['time'][world]):.4f} s" + (": not finite, or too large" if image is None else "")
    return Panel(title, text, (np.full((SIDE, SIDE, 3), PAPER, np.uint8) if image is None else image,))


def _can_be_drawn(dump: Dump, values: Values, step: int, world: int) -> bool:
    import mujoco

    parts = [values[field][world] for field in ("qpos", "mocap_pos", "mocap_quat")]
    parts += [each[step, world] for each in _own_looks(dump).values()]
    return all(bool((np.abs(each) <= mujoco.mjMAXVAL).all()) for each in parts)


def _own_looks(dump: Dump) -> dict[str, np.ndarray]:
    """Model fields that pictures look at and that worlds have of their own, (K, n, ...) each."""
    from foreact.sim.raytracer import DRAWN_FIELDS, SHARED_FIELDS

    fields = (*DRAWN_FIELDS, *SHARED_FIELDS)
    return {name: dump.before[f"model.{name}"] for name in fields if f"model.{name}" in dump.before}


def _images(dump: Dump, states: Sequence[Values], world: int, steps: Sequence[int]) -> np.ndarray:
    """What a world looked like before some steps, uint8 (steps, SIDE, SIDE, 3)."""
    from foreact.sim.pictures import WorldPictures

    poses = make_backend("cpu", dump.model, len(steps), threads=1)
    for field in ("qpos", "mocap_pos", "mocap_quat"):
        poses.view(field)[:] = [states[step][field][world] for step in steps]
    for name, values in _own_looks(dump).items():
        poses.model_field(name)[:] = values[list(steps), world]
    camera = _camera(dump.model, states[steps[0]]["qpos"][world])
    with WorldPictures(dump.model, [camera], len(steps), segmentation=False) as pictures:
        return pictures.draw(poses)[f"camera.{camera.name}.rgb"]


def _camera(model: mujoco.MjModel, qpos: np.ndarray) -> CameraSpec:
    """A view from outside, moved as far as the world has come from where the model places it."""
    import mujoco

    from foreact.sim.cameras import outside_view

    camera, data = outside_view(model, "outside", SIDE, AZIMUTH), mujoco.MjData(model)
    moving = model.body_weldid[model.geom_bodyid] > 0
    if not moving.any():
        return camera
    if model.nkey:
        mujoco.mj_resetDataKeyframe(model, data, 0)
    mujoco.mj_kinematics(model, data)
    start = data.geom_xpos[moving].mean(0)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    x, y, z = (float(each) for each in camera.position + data.geom_xpos[moving].mean(0) - start)
    return replace(camera, position=(x, y, z))


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
