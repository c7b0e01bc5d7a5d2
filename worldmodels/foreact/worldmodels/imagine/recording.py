"""States with their futures as one Rerun recording: paths in space that grow with time, pictures, errors and risk.

Shape letters: K = imagined futures, M = true futures, T = control steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.worldmodels.imagine.charts import colour, letter
from foreact.worldmodels.imagine.comparison import State, percent
from foreact.worldmodels.imagine.page import Shown, verdict
from foreact.worldmodels.imagine.sheets import moments

if TYPE_CHECKING:
    from rerun import RecordingStream

__all__ = ["TIMELINE", "write_recording"]

TIMELINE = "chunk_time"
APPLICATION = "foreact_imagine"
QUALITY = 85
TRUE, COULD, GOAL = (20, 20, 20), (170, 176, 184), (42, 157, 61)
THICKEST, THINNEST, TRUTH = 0.004, 0.0008, 0.002  # radii of paths [m]
IMAGINED, BAD, GOOD = (0, 114, 178), (179, 38, 30), (26, 127, 69)
LINES: Mapping[str, tuple[str, tuple[int, int, int]]] = {
    "distance_cm/nearest": ("nearest imagined", GOOD),
    "distance_cm/most_probable": ("most probable", IMAGINED),
    "distance_cm/another_true_future_median": ("another true one", COULD),
    "to_go_cm/imagined_mean": ("imagined, mean", IMAGINED),
    "to_go_cm/true_mean": ("true, mean", COULD),
    "to_go_cm/happened": ("happened", TRUE),
    "chances/success_imagined": ("solved, imagined", GOOD),
    "chances/success_true": ("solved, true share", (140, 190, 160)),
    "chances/contact_imagined": ("touches, imagined", BAD),
    "chances/contact_true": ("touches, true share", (220, 150, 145)),
}
"""Plotted numbers: their names and colours."""

PICTURED = 3  # imagined futures whose pictures have a place on the screen; the others are in the recording


def write_recording(path: Path, name: str, shown: Sequence[Shown]) -> None:
    """Write states into one file for `rerun FILE`; no viewer is started.

    Args:
        path: Where to write, ending in .rrd; in a folder that is staged, so that the file appears whole.
        name: Identity of the recording.
        shown: States.
    """
    import rerun as rr

    with rr.RecordingStream(APPLICATION, recording_id=name) as stream:
        stream.save(path, default_blueprint=_blueprint(shown))
        for each in shown:
            _log_state(stream, each)
        stream.flush()
        stream.disconnect()


def entity(state: State) -> str:
    """Where a state is in the recording."""
    return f"state-{state.number:04d}"


def _log_state(stream: RecordingStream, shown: Shown) -> None:
    import rerun as rr

    state, root = shown.state, entity(shown.state)
    text = f"**{state.scene.task.instruction}**\n\nCommanded: {state.commanded}.\n\n{verdict(state)}"
    stream.log(f"{root}/about", rr.TextDocument(text, media_type="text/markdown"), static=True)
    for place, (title, tint) in LINES.items():
        if state.scene.contact is not None or "contact" not in place:
            stream.log(f"{root}/{place}", rr.SeriesLines(names=title, colors=tint, widths=2.0), static=True)
    stream.log(f"{root}/space", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    if state.goal is not None:
        stream.log(f"{root}/space/goal", rr.Points3D([state.goal], radii=0.01, colors=GOAL, labels="goal"), static=True)
    for part in state.parts:
        could = list(state.places(state.truth[1:], part))
        grey = rr.LineStrips3D(could, colors=COULD, radii=THINNEST / 2)
        stream.log(f"{root}/space/could/{part}", grey, static=True)
    for step in range(len(state.actions) + 1):
        stream.set_time(TIMELINE, duration=step / state.scene.rate_hz)
        for part in state.parts:
            _log_paths(stream, state, f"{root}/space", part, step)
        if step:
            _log_numbers(stream, state, root, step - 1)
    _log_pictures(stream, shown, root)


def _log_paths(stream: RecordingStream, state: State, root: str, part: str, step: int) -> None:
    import rerun as rr

    def log(place: str, path: np.ndarray, tint: Any, radius: float, label: str) -> None:
        so_far = path[: step + 1]
        if step:
            stream.log(f"{root}/{place}/{part}", rr.LineStrips3D([so_far], colors=tint, radii=radius))
        # a label beside the hand is enough
        labels = label if part == "hand" else None
        stream.log(f"{root}/{place}/{part}_now", rr.Points3D(so_far[-1:], colors=tint, radii=2 * radius, labels=labels))

    log("happened", state.places(state.truth[0], part), TRUE, TRUTH, "happened")
    for number, weight in enumerate(state.weights):
        radius = THINNEST + (THICKEST - THINNEST) * float(np.sqrt(weight))
        name = letter(number)  # its probability is told by its width, and by the titles of the pictures
        log(
            f"imagined/{name}",
            state.places(state.values[number], part),
            _tint(number),
            radius,
            name,
        )


def _log_numbers(stream: RecordingStream, state: State, root: str, step: int) -> None:
    import rerun as rr

    near = state.nearest
    left = state.scene.cost(state.values[:, step].astype(np.float64))
    true_left = state.scene.cost(state.truth[:, step].astype(np.float64))
    numbers = {
        "distance_cm/nearest": 100 * state.apart[near, step],
        "distance_cm/most_probable": 100 * state.apart[0, step],
        "distance_cm/another_true_future_median": 100 * float(np.median(state.others_apart[:, step])),
        "to_go_cm/imagined_mean": 100 * float(state.weights @ left),
        "to_go_cm/true_mean": 100 * float(true_left.mean()),
        "to_go_cm/happened": 100 * float(true_left[0]),
        "chances/success_imagined": float(state.weights @ state.success[:, step]),
        "chances/success_true": float(state.true_success[:, step].mean()),
    }
    if state.scene.contact is not None:
        numbers["chances/contact_imagined"] = float(state.weights @ state.contact[:, step])
        numbers["chances/contact_true"] = float(state.true_contact[:, step].mean())
    for name, value in numbers.items():
        stream.log(f"{root}/{name}", rr.Scalars(float(value)))


def _log_pictures(stream: RecordingStream, shown: Shown, root: str) -> None:
    import rerun as rr

    for film in shown.films:
        name = "happened" if film.number < 0 else f"imagined_{letter(film.number)}"
        for step, picture in zip(moments(shown.state), film.pictures, strict=True):
            stream.set_time(TIMELINE, duration=int(step) / shown.state.scene.rate_hz)
            stream.log(f"{root}/pictures/{name}", rr.Image(picture).compress(QUALITY))


def _blueprint(shown: Sequence[Shown]) -> Any:
    import rerun.blueprint as rrb

    tabs = []
    for each in shown:
        state, root = each.state, entity(each.state)
        pictures = [rrb.Spatial2DView(origin=f"{root}/pictures/happened", name="happened")]
        for film in each.films[1 : PICTURED + 1]:
            name = letter(film.number)
            title = f"{name}, {percent(state.weights[film.number])}"
            pictures.append(rrb.Spatial2DView(origin=f"{root}/pictures/imagined_{name}", name=title))
        plots = [
            rrb.TimeSeriesView(origin=f"{root}/{name}", name=name.replace("_", " "))
            for name in ("distance_cm", "to_go_cm", "chances")
        ]
        left = rrb.Vertical(
            rrb.Spatial3DView(origin=f"{root}/space", name="paths"), rrb.Horizontal(*pictures), row_shares=[5, 3]
        )
        right = rrb.Vertical(
            rrb.TextDocumentView(origin=f"{root}/about", name="about"), *plots, row_shares=[3, 2, 2, 2]
        )
        tabs.append(rrb.Horizontal(left, right, column_shares=[2, 1], name=f"state {state.number}"))
    return rrb.Blueprint(
        rrb.Tabs(*tabs), rrb.TimePanel(state="collapsed"), rrb.BlueprintPanel(state="collapsed"),
        rrb.SelectionPanel(state="collapsed"),
    )  # fmt: skip


def _tint(number: int) -> tuple[int, int, int]:
    text = colour(number).removeprefix("#")
    red, green, blue = (int(text[place : place + 2], 16) for place in (0, 2, 4))
    return red, green, blue
