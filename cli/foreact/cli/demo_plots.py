"""Plots as inline SVG text: no script, no image file, and colours that follow the page's light or dark scheme.

The page's style sheet colours the classes `line`, `fill-a`, `fill-b`, `grid`, `axis` and `label`.
"""

import math
from collections.abc import Callable, Sequence
from html import escape

__all__ = ["bars", "histogram", "interval", "line_chart", "ticks"]

WIDTH, HEIGHT = 640, 240  # [view-box units] scaled to the page's width
LEFT, RIGHT, TOP, BOTTOM = 70, 12, 12, 46


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values that divide a range into about `count` steps of 1, 2 or 5 times a power of ten.

    Args:
        low: Start of the range.
        high: End of the range, above `low`.
        count: About how many steps.
    """
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def line_chart(x: Sequence[float], y: Sequence[float], x_name: str, y_name: str, title: str) -> str:
    """A line with a logarithmic y axis.

    Args:
        x: Increasing values.
        y: Positive values.
        x_name: Label of the x axis.
        y_name: Label of the y axis.
        title: What a screen reader says.

    Raises:
        ValueError: No point, or a value that has no logarithm.
    """
    if not y or min(y) <= 0:
        raise ValueError(f"{title}: a logarithmic plot needs positive values")
    low, high = math.log10(min(y)), math.log10(max(y))
    margin = 0.05 * (high - low) or 0.1
    low, high = low - margin, high + margin
    to_x = _scale(min(x[0], 0), max(x[-1], 1), LEFT, WIDTH - RIGHT)
    to_y = _scale(low, high, HEIGHT - BOTTOM, TOP)
    marks = [mark for mark in _log_marks() if low <= math.log10(mark) <= high]
    points = " ".join(f"{to_x(a):.1f},{to_y(math.log10(b)):.1f}" for a, b in zip(x, y, strict=True))
    parts = [_y_mark(to_y(math.log10(mark)), f"{mark:g}") for mark in marks]
    parts += [_x_mark(to_x(mark), f"{mark:g}") for mark in ticks(min(x[0], 0), max(x[-1], 1))]
    parts += [f'<polyline class="line" points="{points}"/>', *_names(x_name, y_name)]
    return _svg(parts, title)


def histogram(buckets: Sequence[tuple[float, float, int]], x_name: str, y_name: str, title: str) -> str:
    """Counts as bars over a logarithmic x axis; heights on a square-root scale, so that a single value is still seen.

    Args:
        buckets: Lower and upper end, both positive, and count of each bucket, in order.
        x_name: Label of the x axis.
        y_name: Label of the y axis.
        title: What a screen reader says.

    Raises:
        ValueError: No bucket, or an end that has no logarithm.
    """
    if not buckets or buckets[0][0] <= 0:
        raise ValueError(f"{title}: a logarithmic histogram needs buckets with positive ends")
    low, high = math.log10(buckets[0][0]), math.log10(buckets[-1][1])
    top = max(count for _, _, count in buckets)
    to_x = _scale(low, high, LEFT, WIDTH - RIGHT)
    to_y = _scale(0, math.sqrt(top), HEIGHT - BOTTOM, TOP)
    parts = [_y_mark(to_y(math.sqrt(mark)), str(mark)) for mark in sorted({0, round(top / 16), round(top / 4), top})]
    for left, right, count in buckets:
        x, y = to_x(math.log10(left)), to_y(math.sqrt(count))
        size = f'x="{x:.1f}" y="{y:.1f}" width="{max(1.0, to_x(math.log10(right)) - x - 1):.1f}"'
        hint = f"<title>{left:g} to {right:g}: {count}</title>"
        parts.append(f'<rect class="fill-a" {size} height="{HEIGHT - BOTTOM - y:.1f}">{hint}</rect>')
    marks = [mark for mark in _log_marks() if low - 1e-9 <= math.log10(mark) <= high + 1e-9]
    marks = marks if len(marks) <= 9 else [mark for mark in marks if math.log10(mark).is_integer()]
    parts += [_x_mark(to_x(math.log10(mark)), f"{mark:g}") for mark in marks]
    return _svg([*parts, *_names(x_name, y_name)], title)


def bars(rows: Sequence[tuple[str, float, float]], names: tuple[str, str], unit: str, title: str) -> str:
    """Two horizontal bars for each row.

    Args:
        rows: Label and two values.
        names: What the two values are.
        unit: Of both.
        title: What a screen reader says.
    """
    row, left, top = 50, 125, 32
    height = top + row * len(rows) + 4
    most = max((max(a, b) for _, a, b in rows), default=1.0) or 1.0
    to_x = _scale(0, most, left, WIDTH - 100)
    parts = [_key(left, "fill-a", names[0]), _key(left + 190, "fill-b", names[1])]
    for index, (label, *values) in enumerate(rows):
        y = top + row * index
        parts.append(f'<text class="label" text-anchor="end" x="{left - 8}" y="{y + 24}">{escape(label)}</text>')
        for place, (value, style) in enumerate(zip(values, ("fill-a", "fill-b"), strict=True)):
            width, line = to_x(value) - left, y + 20 * place
            parts.append(f'<rect class="{style}" x="{left}" y="{line}" width="{max(width, 1):.1f}" height="18"/>')
            parts.append(f'<text class="label" x="{left + width + 6:.1f}" y="{line + 15}">{value:.1f} {unit}</text>')
    return _svg(parts, title, height)


def interval(value: float, low: float, high: float, style: str, title: str) -> str:
    """A success rate with its interval on a line from 0 to 1, to stand in a table cell.

    Args:
        value: The rate, 0 to 1.
        low: Lower end of its interval.
        high: Upper end of its interval.
        style: `fill-a` or `fill-b`.
        title: What a screen reader says.
    """
    to_x = _scale(0, 1, 6, 114)
    return (
        f'<svg class="interval" viewBox="0 0 120 16" role="img" aria-label="{escape(title)}">'
        f'<path class="grid" d="M6 8H114M6 4V12M60 5V11M114 4V12"/>'
        f'<path class="whisker {style}" d="M{to_x(low):.1f} 8H{to_x(high):.1f}"/>'
        f'<circle class="{style}" cx="{to_x(value):.1f}" cy="8" r="5"/></svg>'
    )


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _log_marks() -> list[float]:
    return [factor * 10.0**power for power in range(-6, 4) for factor in (1, 2, 5)]


def _x_mark(x: float, text: str) -> str:
    base = HEIGHT - BOTTOM
    label = f'<text class="label" text-anchor="middle" x="{x:.1f}" y="{base + 19}">{text}</text>'
    return f'<path class="axis" d="M{x:.1f} {base}v4"/>{label}'


def _y_mark(y: float, text: str) -> str:
    label = f'<text class="label" text-anchor="end" x="{LEFT - 6}" y="{y + 4:.1f}">{text}</text>'
    return f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>{label}'


def _key(x: float, style: str, text: str) -> str:
    square = f'<rect class="{style}" x="{x}" y="4" width="12" height="12"/>'
    return f'{square}<text class="label" x="{x + 18}" y="15">{escape(text)}</text>'


def _names(x_name: str, y_name: str) -> list[str]:
    middle = (LEFT + WIDTH - RIGHT) / 2
    turned = f"translate(16 {(HEIGHT - BOTTOM + TOP) / 2:.0f}) rotate(-90)"
    return [
        f'<text class="label" text-anchor="middle" x="{middle:.0f}" y="{HEIGHT - 6}">{escape(x_name)}</text>',
        f'<text class="label" text-anchor="middle" transform="{turned}">{escape(y_name)}</text>',
    ]


def _svg(parts: Sequence[str], title: str, height: float = HEIGHT) -> str:
    head = f'<svg class="plot" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
    return head + "".join(parts) + "</svg>"
