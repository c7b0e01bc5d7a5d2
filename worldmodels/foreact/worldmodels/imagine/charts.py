"""Charts of one state: paths of hand and things, distance to what happened, the band, risk and chances.

Grey is what could have happened, black what did; each imagined future has a letter and a colour of its own, the most
probable one first. Lengths are shown in cm. Shape letters: K = imagined futures, T = control steps.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.worldmodels.imagine.comparison import LEVEL, State, percent
from foreact.worldmodels.imagine.drawing import Painter
from foreact.worldmodels.model_scores import RISK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "COLOURS", "above", "apart", "band", "beside", "chances", "colour", "ends", "letter", "seen",
]  # fmt: skip

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C6D31", "#7B4FA3")
"""Of imagined futures, the most probable first; told apart by people with any kind of colour vision (Okabe and Ito)."""

REST, COULD, DID, GOAL = "#9fb3c8", "#b9bec4", "#111111", "#2a9d3a"
LINE = 0.62  # height of lines that mark a risk, share of the chart; the legend stands above
RARE = 0.03  # a future less probable than this has no letter where space is short
BOLD: dict[str, Any] = {
    "textcoords": "offset points", "ha": "center", "fontsize": 9, "fontweight": "bold", "color": "white",
}  # fmt: skip
SMALL: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "fontsize": 8, "color": "#8a6a35"}
MARGIN = 3.0  # around what is shown [cm]


def letter(number: int) -> str:
    """What an imagined future is called."""
    return string.ascii_uppercase[number] if number < len(string.ascii_uppercase) else str(number + 1)


def colour(number: int) -> str:
    """Of an imagined future."""
    return COLOURS[number] if number < len(COLOURS) else REST


def width(weight: float) -> float:
    """Of the line of a future of this probability [points]."""
    return 0.6 + 4.4 * float(np.sqrt(weight))


def strength(weight: float) -> float:
    """Opacity of the line of a future of this probability."""
    return min(1.0, 0.3 + float(np.sqrt(weight)))


def above(axes: Axes, state: State) -> None:
    """Paths from above, as the front camera sees them: the robot is at the top."""
    _paths(axes, state, (1, 0), ("y, to the robot's left [cm]", "x, away from the robot [cm]"))
    axes.invert_yaxis()
    axes.set_title("From above (robot at the top)")


def beside(axes: Axes, state: State) -> None:
    """Paths from the side."""
    _paths(axes, state, (0, 2), ("x, away from the robot [cm]", "height [cm]"))
    if axes.dataLim.y0 < MARGIN:
        axes.axhline(0.0, color="#b08d57", lw=2, zorder=1)
        axes.annotate("table", (1.0, 0.0), xycoords=("axes fraction", "data"), xytext=(-3, 2), **SMALL)
    axes.set_title("From the side")


def seen(axes: Axes, state: State, painter: Painter, legend: bool = True) -> None:
    """What the camera sees at the start, with all paths drawn into it."""
    (picture,) = painter.draw(state.context[None])
    height, across = picture.shape[:2]
    axes.imshow(picture, extent=(0, across, height, 0), interpolation="antialiased")

    def line(place: np.ndarray, **look: Any) -> None:
        axes.plot(*painter.project(place).T, solid_capstyle="round", **look)

    for part in state.parts:
        for path in state.places(state.truth[1:], part):
            line(path, color="white", lw=0.8, alpha=0.55)
        for number in reversed(range(len(state.weights))):
            named = {"label": f"{letter(number)}: {percent(state.weights[number])}"} if part == "hand" else {}
            path = state.places(state.values[number], part)
            line(
                path,
                color=colour(number),
                lw=width(state.weights[number]),
                alpha=strength(state.weights[number]),
                **named,
            )
            axes.plot(*painter.project(path[-1]), "o", color=colour(number), ms=4.5, mec="white", mew=0.6)
        happened = state.places(state.truth[0], part)
        line(happened, color=DID, lw=2.2, ls=(0, (1, 1)))
        axes.plot(*painter.project(happened[-1]), "o", color=DID, ms=6, mec="white", mew=1)
        if part != "hand":
            named = np.flatnonzero(state.weights >= RARE)
            last = painter.project(state.places(state.values[named], part)[:, -1])
            for letters, place in _together(last, across / 12):
                axes.annotate(" ".join(letter(named[each]) for each in letters), place, xytext=(0, 6), **BOLD)
    axes.set(xlim=(0, across), ylim=(height, 0), xticks=[], yticks=[])
    if legend:
        handles, labels = axes.get_legend_handles_labels()
        shown = slice(None, -9, -1)  # drawn last, named first
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "ncols": 4, "frameon": False}
        axes.legend(handles[shown], labels[shown], fontsize=8, **below)
    axes.set_title("Now, with the futures of hand and things drawn in")


def apart(axes: Axes, state: State) -> None:
    """How far imagined futures are from what happened, over time."""
    time_s, others = state.time_s, 100 * state.others_apart
    low, middle, high = np.quantile(others, [0.1, 0.5, 0.9], axis=0)
    axes.fill_between(time_s, low, high, color=COULD, alpha=0.45, lw=0, label="other true futures, 10 to 90 %")
    axes.plot(time_s, middle, color="#7d848c", lw=1, ls="--", label="their median")
    near = state.nearest
    for number in reversed(range(len(state.weights))):
        if number not in (0, near):
            fade = strength(state.weights[number])
            axes.plot(time_s, 100 * state.apart[number], color=colour(number), lw=0.8, alpha=fade)
    if near:
        text = f"nearest, {letter(near)} ({percent(state.weights[near])})"
        axes.plot(time_s, 100 * state.apart[near], color=colour(near), lw=2.4, label=text)
    text = f"most probable, A ({percent(state.weights[0])})" + ("" if near else ", also the nearest")
    axes.plot(time_s, 100 * state.apart[0], color=colour(0), lw=2.4, label=text)
    top = 1.45 * 100 * max(float(state.apart[state.weights >= RARE].max(initial=0)), high.max() / 100)
    label = "distance to what happened [cm]"
    axes.set(xlabel="time after the fork [s]", ylabel=label, xlim=(0, time_s[-1]), ylim=(0, top))
    axes.legend(fontsize=7, loc="upper left", framealpha=0.7)
    axes.set_title("Where it was wrong")


def band(axes: Axes, state: State, calibrated: bool) -> None:
    """The tracked element that parts most: true futures, imagined ones and the band."""
    tracked = np.array(state.scene.tracked)
    place = int(state.truth[..., tracked].std(0).max(0).argmax())
    column = int(tracked[place])
    time_s = np.concatenate([[0.0], state.time_s])

    def course(values: np.ndarray) -> np.ndarray:
        return 100 * np.concatenate([state.context[[column]], values])

    low, high = (course(each[:, place]) for each in state.band)
    kind = "calibrated" if calibrated else "uncalibrated"
    axes.fill_between(time_s, low, high, color="#f6c85f", alpha=0.4, lw=0, label=f"{percent(LEVEL)} band, {kind}")
    for future in state.truth[1:, :, column]:
        axes.plot(time_s, course(future), color=COULD, lw=0.7)
    for number in reversed(range(len(state.weights))):
        own = course(state.values[number, :, column])
        axes.plot(
            time_s,
            own,
            color=colour(number),
            lw=width(state.weights[number]) / 1.6,
            alpha=strength(state.weights[number]),
        )
    axes.plot(time_s, course(state.truth[0, :, column]), color=DID, lw=2.2, ls=(0, (1, 1)), label="what happened")
    name = state.scene.columns[column].replace("_", " ")
    axes.set(xlabel="time after the fork [s]", ylabel=f"{name} [cm]", xlim=(0, time_s[-1]))
    axes.legend(fontsize=7, loc="best", framealpha=0.7)
    axes.set_title(f"What parts most: {name}")


def ends(axes: Axes, state: State) -> None:
    """What is left to do at the end: probabilities of imagined futures over those of true ones, and the bad tails."""
    left, true_left = 100 * state.left, 100 * state.true_left
    bins = _bins(np.concatenate([left[state.weights >= RARE], true_left]))
    even = np.full(len(true_left), 1 / len(true_left))
    shares, _, _ = axes.hist(true_left, list(bins), weights=even, color=COULD, alpha=0.7, label="true futures")
    for number in reversed(range(len(left))):
        axes.vlines(left[number], 0, state.weights[number], color=colour(number), lw=3.2)
    axes.plot(true_left[0], 0, "o", color=DID, ms=8, clip_on=False, label="what happened", zorder=5)
    worst = percent(RISK)
    risk, true_risk = 100 * state.scores["risk"], 100 * state.scores["true_risk"]
    axes.axvline(
        true_risk, ymax=LINE, color="#7d848c", lw=1.4, ls="--", label=f"worst {worst} (CVaR), true: {true_risk:.1f} cm"
    )
    axes.axvline(risk, ymax=LINE, color="#b3261e", lw=1.4, label=f"worst {worst} (CVaR), imagined: {risk:.1f} cm")
    axes.set(xlabel="still to go at the end [cm]", ylabel="probability", xlim=(bins[0], bins[-1]))
    top = 1.9 * max(float(np.max(shares)), float(state.weights.max()))
    axes.set_ylim(0, top)
    named = np.flatnonzero(state.weights >= RARE)
    heights = _stacked(left[named], state.weights[named], 0.04 * (bins[-1] - bins[0]), 0.055 * top)
    for number, height in zip(named, heights, strict=True):
        look = {"ha": "center", "va": "bottom", "fontsize": 8, "color": colour(number), "fontweight": "bold"}
        axes.text(float(left[number]), float(height), letter(number), **look)
    axes.legend(fontsize=7, loc="upper left", framealpha=0.7)
    axes.set_title("How it may end, and the risk")


def chances(axes: Axes, state: State) -> None:
    """Probabilities of success, and of contact where there is such a thing, beside shares of true futures."""
    time_s = state.time_s
    rows = [("solved", state.success, state.true_success, "#1a7f45")]
    if state.scene.contact is not None:
        rows.append(("touches", state.contact, state.true_contact, "#b3261e"))
    for name, imagined, true, tint in rows:
        axes.plot(time_s, state.weights @ imagined, color=tint, lw=2.2, label=f"{name}: imagined")
        axes.plot(time_s, true.mean(0), color=tint, lw=1.4, ls="--", label=f"{name}: true share")
        axes.plot(time_s, true[0], "x", color=tint, ms=4, label=f"{name}: happened")
    axes.set(xlabel="time after the fork [s]", ylabel="probability", xlim=(0, time_s[-1]), ylim=(-0.05, 1.75))
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    axes.legend(fontsize=7, loc="upper left", framealpha=0.7)
    axes.set_title("Chances: " + " and ".join(row[0] for row in rows))


def _bins(values: np.ndarray) -> np.ndarray:
    """Edges for a histogram of lengths [cm], from 0 unless they are far from it."""
    low, high = float(values.min()), float(values.max())
    span = max(high - low, 2.0)
    first = 0.0 if low < span else max(0.0, low - 0.15 * span)
    return np.linspace(first, high + 0.15 * span, 25)


def _stacked(places: np.ndarray, heights: np.ndarray, gap: float, step: float) -> np.ndarray:
    """Heights of letters over bars, raised where they would stand on those beside them."""
    found = np.array(heights, np.float64)
    done: list[int] = []
    for number in map(int, np.argsort(-found, kind="stable")[::-1]):  # low bars first
        while any(
            abs(places[number] - places[each]) < gap and abs(found[number] - found[each]) < step for each in done
        ):
            found[number] += step / 4
        done.append(number)
    return found


def _together(places: np.ndarray, gap: float) -> list[tuple[list[int], tuple[float, float]]]:
    """Numbers of places (n, 2) that lie within a gap of each other, and where each group is."""
    groups: list[list[int]] = []
    for number, place in enumerate(places):
        near = [group for group in groups if np.abs(places[group[0]] - place).max() < gap]
        near[0].append(number) if near else groups.append([number])
    middles = [places[group].mean(0) for group in groups]
    return [(group, (float(middle[0]), float(middle[1]))) for group, middle in zip(groups, middles, strict=True)]


def _paths(axes: Axes, state: State, shown: tuple[int, int], labels: tuple[str, str]) -> None:
    across, up = shown

    def line(place: np.ndarray, **look: Any) -> None:
        axes.plot(100 * place[:, across], 100 * place[:, up], solid_capstyle="round", **look)

    corners = []
    for part in state.parts:
        for path in state.places(state.truth[1:], part):
            line(path, color=COULD, lw=0.7)
        for number in reversed(range(len(state.weights))):
            path = state.places(state.values[number], part)
            line(path, color=colour(number), lw=width(state.weights[number]), alpha=strength(state.weights[number]))
            axes.plot(*(100 * path[-1, [across, up]]), "o", color=colour(number), ms=4, mec="white", mew=0.5)
            corners.append(path)
        happened = state.places(state.truth[0], part)
        line(happened, color=DID, lw=2.2, ls=(0, (1, 1)))
        axes.plot(*(100 * happened[-1, [across, up]]), "o", color=DID, ms=5.5, mec="white", mew=0.8)
        start = 100 * happened[0, across], 100 * happened[0, up]
        axes.annotate(part, start, textcoords="offset points", xytext=(5, 5), fontsize=8, color=DID)
        corners += [happened, state.places(state.truth, part).reshape(-1, 3)]
    if state.goal is not None:
        axes.plot(*(100 * state.goal[[across, up]]), "*", color=GOAL, ms=15, mec="white", mew=0.8)
        corners.append(state.goal[None])
    every = 100 * np.concatenate(corners)[:, [across, up]]
    corners = np.stack([every.min(0) - MARGIN, every.max(0) + MARGIN])
    axes.plot(*corners.T, alpha=0)  # in view, while limits stay free to keep both directions at one scale
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0)
    axes.grid(alpha=0.25)
