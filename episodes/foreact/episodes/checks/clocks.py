"""How one clock runs against another: a line through pairs of times, its slope in ppm and its offset.

A recording holds a second clock where a stream's samples are times themselves (UTC, TimeCode), where an event carries
a stamp of another kind (when a picture arrived at the host), and where a bag has log times beside header stamps.
Shape letters: n = pairs of times.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.episodes.checks.finding import Finding
from foreact.episodes.sources import Source, SourceError, Stream

__all__ = ["ClockLine", "check_clocks", "clock_lines", "line_through", "log_lags"]

DRIFT = 100.0  # [ppm] free-running quartz keeps within 50
SURE = 3.0  # standard errors that a slope must differ by
STRAIGHT = 0.05  # of the spread of the other clock's times may lie beside the line, or it is no clock
STEP_NS = 5_000_000  # a jump of one clock against the other
NEEDS = 3  # pairs
MOST = 20_000  # pairs that are looked at, evenly over the recording
UNITS = {"ns": 1, "us": 1000, "ms": 1_000_000, "s": 1_000_000_000}


@dataclass(frozen=True)
class ClockLine:
    """One clock against another: other = device + offset + ppm * 1e-6 * (device - first).

    Attributes:
        stream: Where the other clock's times stand.
        other: What they are called.
        clock: The clock of the stream's stamps.
        count: n.
        ppm: How much faster the other clock runs, in parts per million.
        ppm_error: Standard error of `ppm`; NaN for two pairs.
        offset_ns: Other clock minus clock at the first stamp.
        spread_ns: Root mean square distance of the pairs from the line.
        step_ns: Largest jump between neighbours beside the line's own; 0 where none stands out.
        step_at_ns: Stamp after which it is.
        times_ns: Stamps, int64 (n,).
        residual_ns: Distances from the line, float64 (n,).
    """

    stream: str
    other: str
    clock: str
    count: int
    ppm: float
    ppm_error: float
    offset_ns: int
    spread_ns: float
    step_ns: float
    step_at_ns: int
    times_ns: np.ndarray
    residual_ns: np.ndarray

    @property
    def straight(self) -> bool:
        """Whether the pairs lie near the line; if not, the other times are those of something else than a clock."""
        return self.spread_ns <= STRAIGHT * abs(1 + self.ppm / 1e6) * float(np.std(self.times_ns))


def line_through(stream: str, other: str, clock: str, stamps: np.ndarray, times: np.ndarray) -> ClockLine:
    """Fit a line by least squares.

    Args:
        stream: Name of the stream.
        other: Name of the other clock.
        clock: Name of the clock of the stamps.
        stamps: Times of the one clock, int64 (n,) [ns], n >= 2, not all equal.
        times: Times of the other clock, int64 (n,) [ns].
    """
    order = np.argsort(stamps, kind="stable")
    stamps, times = stamps[order], times[order]
    x = (stamps - stamps[0]).astype(np.float64)
    y = ((times - times[0]) - (stamps - stamps[0])).astype(np.float64)  # small numbers: float64 is exact to ns
    centred = x - x.mean()
    # slope = sum((x - mx) (y - my)) / sum((x - mx)^2)
    slope = float(centred @ (y - y.mean()) / (centred @ centred))
    start = float(y.mean() - slope * x.mean())
    residual = y - start - slope * x
    free = len(x) - 2
    error = float(np.sqrt(residual @ residual / free / (centred @ centred))) if free > 0 else float("nan")
    step, at = _step(stamps, y - slope * x)
    offset = int(times[0] - stamps[0]) + round(start)
    spread = float(np.sqrt(np.mean(residual**2)))
    return ClockLine(
        stream, other, clock, len(x), slope * 1e6, error * 1e6, offset, spread, step, at, stamps, residual
    )  # fmt: skip


def _step(stamps: np.ndarray, rest: np.ndarray) -> tuple[float, int]:
    """The largest jump, if the clock stays there: medians of ten samples before and after differ, beyond the noise."""
    jumps = np.abs(np.diff(rest))
    at = int(jumps.argmax()) + 1
    near = min(10, at, len(rest) - at)
    if len(jumps) < 10 or near < 3:
        return 0.0, 0
    moved = abs(float(np.median(rest[at : at + near]) - np.median(rest[at - near : at])))
    return (moved, int(stamps[at - 1])) if moved > max(STEP_NS, 10 * np.median(jumps)) else (0.0, 0)


def clock_lines(source: Source) -> list[ClockLine]:
    """Every second clock of a recording against the one that stamps the stream in which it stands.

    Args:
        source: The recording; streams that cannot be read are passed over.
    """
    found = []
    for name, stream in source.streams.items():
        try:
            for other, stamps, times in _second_clocks(source, name, stream):
                if len(stamps) >= NEEDS and np.ptp(stamps) > 0 and np.ptp(times) > 0:
                    found.append(line_through(name, other, stream.clock, stamps, times))
        except SourceError:
            continue  # told where the stream is read
    return found


def _second_clocks(source: Source, name: str, stream: Stream) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    stamps = source.stamps(name)
    chosen = np.unique(np.linspace(0, len(stamps) - 1, min(len(stamps), MOST)).astype(int)) if len(stamps) else stamps
    integers = stream.dtype.lstrip("u").startswith("int")
    if stream.kind == "vector" and stream.unit in UNITS and integers and int(np.prod(np.array(stream.shape))) == 1:
        values = np.array([int(np.asarray(source.read(name, int(each))).reshape(-1)[0]) for each in chosen], np.int64)
        ticks = np.flatnonzero(np.diff(values)) + 1
        if len(ticks) < 0.5 * len(values):  # a clock that is held between its ticks is right when it ticks
            chosen, values = chosen[ticks], values[ticks]
        yield name, stamps[chosen], values * UNITS[stream.unit]
    elif stream.kind == "event":
        yield from _stamped_events(source, name, stamps, chosen)


def _stamped_events(
    source: Source, name: str, stamps: np.ndarray, chosen: np.ndarray
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Numbers of events whose keys say that they are times in nanoseconds."""
    pairs: dict[str, list[tuple[int, int]]] = {}
    for index in chosen.tolist():
        for key, value in _times_in(source.read(name, index)).items():
            pairs.setdefault(key, []).append((int(stamps[index]), value))
        if not pairs:
            return
    for key, each in pairs.items():
        both = np.array(each, np.int64)
        if not np.array_equal(both[:, 0], both[:, 1]):
            yield f"{name}: {key}", both[:, 0], both[:, 1]


def _times_in(event: object) -> Mapping[str, int]:
    try:
        content: Any = json.loads(event) if isinstance(event, str) else None
    except ValueError:
        return {}
    if not isinstance(content, dict):
        return {}
    return {
        key: value
        for key, value in content.items()
        if "timestamp" in key and key.endswith("_ns") and isinstance(value, int) and 0 < value < 2**62
    }


def log_lags(source: Source) -> dict[str, tuple[int, int, int]]:
    """By how much log times of a bag lie after header stamps, by stream: least, median, most [ns]."""
    lags = source.metadata.get("log_after_header_ns")
    if not isinstance(lags, Mapping):
        return {}
    found = {}
    for name, each in lags.items():
        if isinstance(each, Mapping) and {"least", "median", "most"} <= each.keys():
            found[name] = tuple(int(str(each[key])) for key in ("least", "median", "most"))
    return found


def check_clocks(source: Source, lines: list[ClockLine]) -> Iterator[Finding]:
    """Clocks that drift or jump, and bags whose log times wander against the headers.

    Args:
        source: The recording.
        lines: From `clock_lines`.
    """
    for line in lines:
        if not line.straight:
            continue
        if abs(line.ppm) > 1e5:
            what = f"{line.other} runs {1 + line.ppm / 1e6:.4g} times as fast as clock {line.clock}: another unit?"
            yield Finding(line.stream, "remark", "unit", what)
            continue
        if line.step_ns:
            after = (line.step_at_ns - int(line.times_ns[0])) / 1e9
            what = f"{line.other} jumps by {line.step_ns / 1e6:.1f} ms against clock {line.clock} after {after:.3f} s"
            yield Finding(line.stream, "grave", "clock step", what)
        elif abs(line.ppm) > DRIFT and abs(line.ppm) > SURE * line.ppm_error:
            way = "fast" if line.ppm > 0 else "slow"
            what = (
                f"{line.other} runs {abs(line.ppm):.0f} ppm (+- {line.ppm_error:.2g}) {way} against clock "
                f"{line.clock}: "
                f"{abs(line.ppm) * 3.6:.0f} ms an hour; offset {line.offset_ns / 1e9:.6f} s, spread "
                f"{line.spread_ns / 1e6:.3g} ms"
            )
            yield Finding(line.stream, "remark", "clock drift", what)
    for name, (least, median, most) in log_lags(source).items():
        if least < 0 or most - least > 100_000_000:
            what = (
                f"log times lie {least / 1e6:.1f} to {most / 1e6:.1f} ms after header stamps, {median / 1e6:.1f} ms in "
                "the middle"
            )
            yield Finding(name, "remark", "clock drift", what)
