"""What the viewer shows where: a large picture and small ones, space, plots by unit, words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from foreact.episodes.scene import MOST_LINES, Line, Scene, Shown
from foreact.episodes.timeline import COUNTED

__all__ = ["colours", "layout"]

# twelve colours that can be told apart, bright ones first
HUES = (
    (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (140, 86, 75),
    (227, 119, 194), (127, 127, 127), (188, 189, 34), (23, 190, 207), (255, 187, 120), (152, 223, 138),
)  # fmt: skip
AXES = {"x": (220, 50, 60), "y": (50, 165, 70), "z": (50, 100, 220)}
PLOTS_A_TAB = 9
FIRST = ("state", "action", "imu", "gaze")  # plots that are seen without a click
# what devices log of themselves, long JSON: in the file, but not among the words
NOISE = ("fields.", "boxes.", "objects", "bluetooth", "wifi", "calibration.", "camera_info")
FINISHED = ("camera.rgb", "camera.front", "camera.head")  # pictures to be shown large, the first that is there
SMALL = ("is_first", "is_last", "is_terminal", "discount", "language_embedding")  # of RLDS: nothing to look at


def colours(name: str, line: Line) -> list[tuple[int, int, int]]:
    """Of the lines of a plot: x, y, z are red, green, blue, and of the right side darker."""
    dark = 0.6 if "right" in name else 1.0
    found = []
    for place, label in enumerate(line.names):
        plain = AXES.get(label.rpartition(" ")[2].rpartition(".")[2])
        hue = plain or HUES[place % len(HUES)]
        found.append((round(hue[0] * dark), round(hue[1] * dark), round(hue[2] * dark)))
    return found


def layout(scene: Scene, *, live: bool = False) -> Any:
    """A blueprint: recordings side by side, panels closed but for that of time.

    Args:
        scene: What there is.
        live: It is shown while it plays: the panel of time has no streams either.
    """
    import rerun.blueprint as rrb

    recordings = list(scene.roots)
    narrow = len(recordings) > 1
    shown = [_recording(scene, recording, narrow=narrow) for recording in recordings]
    counted = all(each.stream.clock in COUNTED for each in scene.shown.values())
    return rrb.Blueprint(
        rrb.Horizontal(*shown) if len(shown) < 4 else rrb.Grid(*shown),
        rrb.TimePanel(state="collapsed" if narrow or live else "expanded", timeline="step" if counted else "time"),
        rrb.BlueprintPanel(state="collapsed"),
        rrb.SelectionPanel(state="collapsed"),
        auto_views=False,
    )


def _recording(scene: Scene, recording: str, *, narrow: bool) -> Any:
    """All of one recording: in columns, or where there is little room one above the other."""
    import rerun.blueprint as rrb

    pictures = _pictures(scene.of(recording), f"{recording}: " if narrow else "")
    spaces = _spaces(scene, recording)
    first, more = _plots(scene, recording)
    tabs = [rrb.Vertical(*first, name="plots")] if first else []
    tabs += [
        rrb.Grid(*more[start : start + PLOTS_A_TAB], name=f"more plots {start // PLOTS_A_TAB + 1}")
        for start in range(0, len(more), PLOTS_A_TAB)
    ]
    told = _told(scene, recording)
    if narrow:
        inner = rrb.Tabs(*spaces, *pictures[1:], *tabs, *told)
        return rrb.Vertical(*pictures[:1], inner, name=recording, row_shares=[3, 2] if pictures else None)
    right = [*([rrb.Tabs(*tabs)] if tabs else []), rrb.Tabs(*told)]
    columns = [_column_of_pictures(pictures)] if pictures else []
    columns += [rrb.Tabs(*spaces)] if spaces else []
    columns.append(rrb.Vertical(*right, row_shares=[4, 1] if len(right) == 2 else None))
    shares = [5] * bool(pictures) + [4] * bool(spaces) + [4 if tabs else 2]
    return rrb.Horizontal(*columns, column_shares=shares, name=recording or None)


def _column_of_pictures(pictures: Sequence[Any]) -> Any:
    import rerun.blueprint as rrb

    if len(pictures) == 1:
        return pictures[0]
    small = rrb.Grid(*pictures[1:], grid_columns=min(3, len(pictures) - 1))
    return rrb.Vertical(pictures[0], small, row_shares=[3, 2])


def _pictures(shown: Sequence[Shown], whose: str) -> list[Any]:
    """The one to look at first, what belongs to it, the rest."""
    cameras = [each for each in shown if each.stream.kind == "image"]
    ranked = sorted(cameras, key=_importance)
    main = ranked[0].name.partition(".")[2] if ranked else ""
    others = [each for each in shown if each.stream.kind in ("depth", "segmentation")]
    beside = [each for each in others if each.name.partition(".")[2] == main]
    rest = [each for each in (*ranked[1:], *others) if each not in beside]
    return [_picture(each, whose) for each in (*ranked[:1], *beside, *rest)]


def _picture(shown: Shown, whose: str) -> Any:
    import rerun.blueprint as rrb

    turned = " (turned upright)" if shown.turned else ""
    return rrb.Spatial2DView(origin=shown.entity, name=f"{whose}{shown.name.removeprefix('camera.')}{turned}")


def _importance(shown: Shown) -> tuple[int, int, int, str]:
    """Colour before grey, a known name before others, large before small, by name; eyes last."""
    shape = shown.stream.shape
    colour = 0 if len(shape) == 3 else 2 if ".eye" in shown.name else 1
    known = FINISHED.index(shown.name) if shown.name in FINISHED else len(FINISHED)
    return colour, known, -(shape[0] or 0) * (shape[1] or 0), shown.name


def _spaces(scene: Scene, recording: str) -> list[Any]:
    """A view for each place that nothing connects with the others; a path is drawn up to the moment shown."""
    import rerun.blueprint as rrb

    past = rrb.VisibleTimeRange(
        "time", start=rrb.TimeRangeBoundary.infinite(), end=rrb.TimeRangeBoundary.cursor_relative()
    )
    views = []
    clouds = tuple(each.space for each in scene.of(recording, "points"))
    ranked = sorted(scene.roots[recording], key=lambda root: not any(each.startswith(f"{root}/") for each in clouds))
    for root in ranked:
        paths = [f"{each.space}_path" for each in scene.of(recording, "pose") if each.space.startswith(f"{root}/")]
        ranges: dict[Any, Any] = {path: [rrb.VisibleTimeRanges([past])] for path in paths}
        name = root.rpartition("/")[2].replace("_", " ")
        views.append(rrb.Spatial3DView(origin=root, name=f"space: {name}", overrides=ranges))
    return views


def _plots(scene: Scene, recording: str) -> tuple[list[Any], list[Any]]:
    """Plots to be seen at once, and the others."""
    import rerun.blueprint as rrb

    first, more = [], []
    for family, unit, lines in _families(scene.of(recording)):
        left_out = sum(line.left_out for line in lines)
        count = sum(len(line.elements) for line in lines)
        name = f"{family} [{unit}]" if unit else family
        name += f": the {count} of {count + left_out} that move most" if left_out else ""
        contents = [f"/{line.entity}" for line in lines]
        view = rrb.TimeSeriesView(origin="/", contents=contents, name=name, plot_legend=rrb.PlotLegend(visible=True))
        (first if family in FIRST and len(first) < 4 else more).append(view)
    for sound in scene.of(recording, "audio"):
        view = rrb.TimeSeriesView(origin=sound.entity, name=f"{sound.name}: loudest in 10 ms, of full scale")
        (first if len(first) < 4 else more).append(view)
    filled = max(0, 3 - len(first))
    return [*first, *more[:filled]], more[filled:]


def _families(shown: Sequence[Shown]) -> Iterable[tuple[str, str, list[Line]]]:
    """Lines that belong in one plot: left and right of the same kind and unit, or small ones of one unit."""
    found: dict[tuple[str, str], list[Line]] = {}
    for each in sorted(shown, key=_order):
        if each.name in SMALL or each.stream.dtype in ("bool", "int64"):
            continue
        for line in each.lines:
            family = ".".join(word for word in each.name.split(".") if word not in ("left", "right"))
            family = "imu" if each.stream.kind == "imu" else family
            found.setdefault((family, line.unit), []).append(line)
    for (family, unit), lines in found.items():
        while lines:  # no more lines than can be told apart
            taken = 1
            while taken < len(lines) and sum(len(each.elements) for each in lines[: taken + 1]) <= MOST_LINES:
                taken += 1
            yield family, unit, lines[:taken]
            lines = lines[taken:]


def _order(shown: Shown) -> int:
    family = "imu" if shown.stream.kind == "imu" else shown.name
    return FIRST.index(family) if family in FIRST else len(FIRST)


def _told(scene: Scene, recording: str) -> list[Any]:
    """Words as they are said, and what the recording says of itself; what devices log of themselves is left out."""
    import rerun.blueprint as rrb

    words = [each for each in scene.of(recording, "text", "event") if not each.name.startswith(NOISE)]
    contents = [f"/{each.entity}" for each in words]
    place = f"{recording.replace('.', '_')}/about" if recording else "about"
    about = rrb.TextDocumentView(origin=place, name="about")
    if not contents:
        return [about]
    columns = rrb.TextLogColumns(text_log_columns=["EntityPath", "Body"])
    return [rrb.TextLogView(origin="/", contents=contents, name="words and events", columns=columns), about]
