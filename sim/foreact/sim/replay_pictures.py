"""Pictures of a dump: how large the numbers grew, and what the worlds looked like before each kept step.

Shape letters: n = failed worlds, K = steps kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foreact.episodes.outcome import ProgressFn
from foreact.sim.backends import make_backend
from foreact.sim.dump import Dump

if TYPE_CHECKING:
    import mujoco

    from foreact.episodes.contract import CameraSpec
    from foreact.sim.contact_sheet import Panel

__all__ = ["Values", "draw_frames", "draw_largest", "largest"]

SIDE, AZIMUTH = 192, 135.0  # [px], [deg] of the pictures
LEGEND = 10  # worlds that a plot can name
WIDE = 1000  # largest number that a plot shows on a linear axis
PAPER = 235  # grey of a state that is not drawn

type Values = Mapping[str, np.ndarray]
"""Fields of n worlds at one time, (n, ...) each."""


def largest(states: Sequence[Values], field: str, world: int) -> list[float | None]:
    """Of each kept state the largest magnitude among the finite elements of a field."""
    numbers = [np.abs(values[field][world]) for values in states]
    finite = [each[np.isfinite(each)] for each in numbers]
    return [float(each.max()) if each.size else None for each in finite]


def draw_largest(path: Path, dump: Dump, states: Sequence[Values]) -> None:
    """Write a PNG: the largest |qpos| and |qvel| of each world before each kept step."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    steps = np.arange(1, len(states) + 1)
    for axes, field in zip(figure.subplots(1, 2), ("qpos", "qvel"), strict=True):
        rows = [largest(states, field, world) for world in range(len(dump.about.worlds))]
        if max((each for row in rows for each in row if each is not None), default=0) > WIDE:
            axes.set_yscale("symlog")  # linear up to 1
        for world, number in enumerate(dump.about.worlds):
            (line,) = axes.plot(steps, np.array(rows[world], float), marker=".", label=f"world {number}")
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


def draw_frames(path: Path, dump: Dump, states: Sequence[Values], most: int, progress: ProgressFn) -> dict[int, int]:
    """Write a PNG with a row for each world and a column for each kept state.

    Args:
        path: Ends in .png.
        dump: What was written.
        states: Before each of the K kept steps.
        most: Worlds drawn at most.
        progress: Told of each world.

    Returns:
        How many states of each of the worlds were drawn.

    Raises:
        ValueError: Worlds of this model, or with these fields of their own, cannot be drawn.
    """
    from foreact.sim.contact_sheet import write_contact_sheet

    drawn: dict[int, int] = {}
    panels: list[Panel] = []
    shown = dump.about.worlds[:most]
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
