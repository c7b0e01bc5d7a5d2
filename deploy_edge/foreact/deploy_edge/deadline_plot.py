"""The histogram of a control loop's lateness as a picture."""

from collections.abc import Sequence
from pathlib import Path

__all__ = ["draw_lateness"]


def draw_lateness(path: Path, buckets: Sequence[Sequence[int]], period_us: float, title: str) -> None:
    """Write a PNG: control steps by lateness, both axes logarithmic, with the period as a line.

    Args:
        path: PNG file to write.
        buckets: (lowest value, lowest value of the next bucket, count) [us].
        period_us: Period of the loop [us].
        title: What ran.

    Raises:
        ModuleNotFoundError: matplotlib is not installed (extra `viz`).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.add_subplot()
    lows = [max(bucket[0], 0.5) for bucket in buckets]  # 0 has no place on a logarithmic axis
    widths = [bucket[1] - low for bucket, low in zip(buckets, lows, strict=True)]
    axes.bar(
        lows, [bucket[2] for bucket in buckets], widths, align="edge", color="#2b6cb0", edgecolor="white", linewidth=0.4
    )
    axes.axvline(period_us, color="#c53030", linestyle="--", label=f"period {period_us / 1000:.1f} ms")
    axes.set(xscale="log", yscale="log", xlabel="lateness [us]", ylabel="control steps", title=title)
    axes.set_xlim(0.5, max(2 * period_us, *(bucket[1] for bucket in buckets)))
    axes.legend()
    FigureCanvasAgg(figure)
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, format="png", dpi=130)
    temporary.replace(path)
