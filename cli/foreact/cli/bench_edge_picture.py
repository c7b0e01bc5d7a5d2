"""One picture of `foreact bench edge`: file sizes, times of one inference, success with intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foreact.cli.bench_edge_plan import VARIANTS
from foreact.episodes.runfolder import write_bytes_atomic

__all__ = ["draw"]

COLOURS = {"fp32": "#7a8599", "int8": "#2f7fbf", "pruned-int8": "#1f9d6b", "naive": "#c2543d"}
OTHER = "#b9a15a"


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """Draw the figures of a benchmark.

    Args:
        figures: As `figures_of` returns them; sizes and times are those of the first policy.
        path: The PNG to write.
    """
    import io

    from matplotlib.figure import Figure

    first = figures["policies"][0]
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    sizes, times, success = figure.subplots(1, 3, width_ratios=(1, 1.4, 1.2))
    _bars(sizes, VARIANTS, [first["bytes"][name] / 1e6 for name in VARIANTS], "file [MB]", "{:.2f}")
    ways = list(first["latency"])
    _bars(times, ways, [first["latency"][way]["cpu_ms"] for way in ways], "CPU time of one inference [ms]", "{:.2f}")
    rates = [figures["success"][name] for name in VARIANTS]
    _bars(success, VARIANTS, [rate["success"] for rate in rates], "closed-loop success", "")
    for place, rate in enumerate(rates):
        success.text(rate["high"] + 0.03, place, f"{rate['success']:.3f}", va="center", fontsize=8)
    spread = [[r["success"] - r["low"] for r in rates], [r["high"] - r["success"] for r in rates]]
    success.errorbar(
        [r["success"] for r in rates], range(len(rates)), xerr=spread, fmt="none", ecolor="#222", capsize=3
    )
    success.set_xlim(0, 1.2)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    write_bytes_atomic(path, content.getvalue())


def _bars(axes: Any, names: Sequence[str], values: Sequence[float], title: str, form: str) -> None:
    colours = [next((c for key, c in COLOURS.items() if name.split()[-1] == key), OTHER) for name in names]
    drawn = axes.barh(range(len(names)), values, color=colours)
    axes.bar_label(drawn, [form.format(value) for value in values], padding=4, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    axes.margins(x=0.22)
    axes.spines[["top", "right"]].set_visible(False)
