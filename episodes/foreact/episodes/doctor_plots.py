"""Plots of a doctor's report as PNG, drawn with matplotlib; no text that names a machine or a place on the net.

Shape letters: n = samples of a stream, E = elements of a sample.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from foreact.episodes.checks.clocks import ClockLine
from foreact.episodes.checks.numbers import Statistics
from foreact.episodes.checks.whole_set import NEEDS, SHORT
from foreact.episodes.timeline import COUNTED

__all__ = ["drift_plot", "histogram_plot", "length_plot", "range_plot", "series_plot", "stamp_plot"]

WIDE = 9.0  # [inch]
DPI = 100
GOOD, BAD, SOFT = "#1f6fb2", "#b3261e", "#8a949e"
MOST_TICKS = 4000  # marks drawn for a stream
MOST_ELEMENTS = 28  # a row


def _figure(height: float, columns: int = 1, rows: int = 1, **more: Any) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDE, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def _png(figure: Any) -> bytes:
    """The picture without what matplotlib writes about itself."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _plain(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8)


def stamp_plot(stamps: Mapping[str, np.ndarray], clock: str) -> bytes:
    """Samples of streams of one clock over time, a row for each; gaps in red.

    Args:
        stamps: By stream, int64 (n,) [ns] or counts.
        clock: Which.
    """
    figure, grid = _figure(0.7 + 0.2 * len(stamps))
    axes, unit = grid[0, 0], 1.0 if clock in COUNTED else 1e9
    start = min(int(each.min()) for each in stamps.values() if len(each))
    for row, times in enumerate(stamps.values()):
        times = np.sort(times)
        distances = np.diff(times)
        chosen = times[np.unique(np.linspace(0, len(times) - 1, min(len(times), MOST_TICKS)).astype(int))]
        axes.vlines((chosen - start) / unit, row - 0.32, row + 0.32, color=GOOD, linewidth=0.6)
        period = float(np.median(distances)) if len(distances) else 0.0
        for place in np.flatnonzero(distances > max(2.5 * period, 1 if clock in COUNTED else 1e6))[:200]:
            left, right = (times[place] - start) / unit, (times[place + 1] - start) / unit
            axes.fill_between([left, right], row - 0.32, row + 0.32, color=BAD, alpha=0.35, linewidth=0)
    axes.set_yticks(range(len(stamps)), list(stamps), fontsize=7)
    axes.set_ylim(len(stamps) - 0.5, -0.5)
    axes.set_xlabel("step" if clock in COUNTED else "time since the first sample [s]", fontsize=8)
    _plain(axes)
    return _png(figure)


def range_plot(
    name: str, statistics: Statistics, elements: Sequence[str], limits: tuple[np.ndarray, np.ndarray] | None
) -> bytes:
    """Range of each element, scaled to what is seen or to the contract: least to most, 1 to 99 %, median.

    Args:
        name: Of the stream.
        statistics: Its numbers.
        elements: Names of its elements.
        limits: Low and high of the contract, (E,) each; None without.
    """
    count = min(len(statistics.low), MOST_ELEMENTS)
    low, high = limits if limits is not None else (statistics.low, statistics.high)
    middle, half = (high + low)[:count] / 2, np.maximum((high - low)[:count] / 2, 1e-12)

    def scaled(values: np.ndarray) -> np.ndarray:
        return np.where((high - low)[:count] > 0, (values[:count] - middle) / half, 0.0).clip(-2.2, 2.2)

    figure, grid = _figure(0.8 + 0.19 * count)
    axes, rows = grid[0, 0], np.arange(count)
    axes.axvspan(-1, 1, color="#eef1f3", zorder=0)
    bottom, top = scaled(statistics.low), scaled(statistics.high)
    axes.hlines(rows, bottom, top, color=SOFT, linewidth=1)
    axes.hlines(rows, scaled(statistics.quantiles[0]), scaled(statistics.quantiles[2]), color=GOOD, linewidth=5)
    axes.plot(scaled(statistics.quantiles[1]), rows, "|", color="white", markersize=7, markeredgewidth=1.6)
    outside = (statistics.low < low - 1e-6 * np.abs(low))[:count] | (statistics.high > high + 1e-6 * np.abs(high))[
        :count
    ]
    if limits is not None and outside.any():
        axes.hlines(rows[outside], bottom[outside], top[outside], color=BAD, linewidth=1.4)
    labels = [
        f"{each}  {a:.3g} ... {b:.3g}"
        for each, a, b in zip(list(elements)[:count], statistics.low, statistics.high, strict=False)
    ]
    axes.set_yticks(rows, labels, fontsize=7)
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_xticks([-1, 0, 1], ["low", "middle", "high"])
    axes.set_title(f"{name}: {'contract' if limits is not None else 'least to most'}", fontsize=9, loc="left")
    _plain(axes)
    return _png(figure)


def histogram_plot(name: str, rows: np.ndarray, elements: Sequence[str]) -> bytes:
    """Histograms of the elements of a stream, small and side by side.

    Args:
        name: Of the stream.
        rows: float64 (n, E).
        elements: Names of its elements.
    """
    count, columns = min(rows.shape[1], MOST_ELEMENTS), 7
    lines = -(-count // columns)
    figure, grid = _figure(0.4 + 0.95 * lines)
    axes = grid[0, 0]  # one for all: twenty-eight would take ten times as long
    for index in range(count):
        left, top = (index % columns) * 1.12, (index // columns) * 1.5
        column = rows[:, index]
        column = column[np.isfinite(column)]
        axes.text(left, top + 0.08, _cut(list(elements)[index], 20), fontsize=6.5)
        axes.plot([left, left + 1], [top + 1.1, top + 1.1], color=SOFT, linewidth=0.8)
        if not len(column):
            continue
        middle, half = (column.max() + column.min()) / 2, float(np.ptp(column)) / 2
        half = max(half, 1e-6 * abs(middle), 1e-9)  # what never changes has one bar
        counts, _ = np.histogram(column, bins=40, range=(middle - half, middle + half))
        heights = top + 1.1 - 0.85 * np.append(counts, 0) / counts.max()
        axes.fill_between(np.linspace(left, left + 1, 41), heights, top + 1.1, step="post", color=GOOD, linewidth=0)
        axes.text(left, top + 1.27, f"{column.min():.3g}", fontsize=5.5, color=SOFT)
        axes.text(left + 1, top + 1.27, f"{column.max():.3g}", fontsize=5.5, color=SOFT, ha="right")
    axes.set_xlim(0, columns * 1.12)
    axes.set_ylim(lines * 1.5, -0.15)
    axes.set_axis_off()
    axes.set_title(f"{name}: how often each value is", fontsize=9, loc="left")
    return _png(figure)


def series_plot(name: str, times: np.ndarray, rows: np.ndarray, elements: Sequence[str], clock: str) -> bytes:
    """Elements of a stream over time, each scaled to its own range, one above the other.

    Args:
        name: Of the stream.
        times: int64 (n,) [ns] or counts.
        rows: float64 (n, E).
        elements: Names of its elements.
        clock: Which clock the times are of.
    """
    count = min(rows.shape[1], MOST_ELEMENTS)
    figure, grid = _figure(0.7 + 0.24 * count)
    axes = grid[0, 0]
    seconds = (times - times[0]) / (1.0 if clock in COUNTED else 1e9)
    for index in range(count):
        column = np.where(np.isfinite(rows[:, index]), rows[:, index], np.nan)
        known = column[np.isfinite(column)]
        span = float(np.ptp(known)) if len(known) else 0.0
        scaled = (column - (known.min() if len(known) else 0.0)) / (span or 1.0) * 0.86
        axes.plot(seconds, index + 0.43 - scaled, color=GOOD if span else SOFT, linewidth=0.7)
    axes.set_yticks(range(count), [_cut(each, 30) for each in list(elements)[:count]], fontsize=6.5)
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_xlabel("step" if clock in COUNTED else "time [s]", fontsize=8)
    axes.set_title(f"{name} over time, each element in its own range", fontsize=9, loc="left")
    _plain(axes)
    return _png(figure)


def drift_plot(lines: Sequence[ClockLine]) -> bytes:
    """How far a second clock wanders from the one that stamps, less its offset.

    Args:
        lines: At most a few.
    """
    figure, grid = _figure(1.6 * len(lines), 1, len(lines))
    for axes, line in zip(grid[:, 0], lines, strict=True):
        seconds = (line.times_ns - line.times_ns[0]) / 1e9
        drift = line.ppm * 1e-6 * (line.times_ns - line.times_ns[0])
        axes.plot(seconds, (drift + line.residual_ns) / 1e6, ".", color=GOOD, markersize=2.5)
        axes.plot(seconds, drift / 1e6, color=BAD, linewidth=1)
        axes.set_title(f"{line.other} minus {line.clock}: {line.ppm:+.1f} ppm", fontsize=8, loc="left")
        axes.set_ylabel("[ms]", fontsize=8)
        _plain(axes)
    grid[-1, 0].set_xlabel("time [s]", fontsize=8)
    return _png(figure)


def length_plot(lengths: Mapping[str, float], unit: str) -> bytes:
    """Length of each recording, in order; those that are told as short in red.

    Args:
        lengths: By key.
        unit: `s` or `steps`.
    """
    values = np.array(list(lengths.values()))
    short = (values < SHORT * np.median(values)) & (len(values) >= NEEDS)
    figure, grid = _figure(1.9)
    axes = grid[0, 0]
    axes.bar(np.arange(len(values)), values, width=0.85, color=[BAD if each else GOOD for each in short])
    axes.axhline(float(np.median(values)), color=SOFT, linewidth=1)
    axes.set_ylabel(f"length [{unit}]", fontsize=8)
    axes.set_xlabel("recording", fontsize=8)
    if len(values) <= 30:
        axes.set_xticks(range(len(values)), [_cut(key, 14) for key in lengths], fontsize=6, rotation=60, ha="right")
    _plain(axes)
    return _png(figure)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}\u2026"
