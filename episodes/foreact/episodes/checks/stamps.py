"""Faults of stamps: order, copies, gaps, rates, resolution, and streams that end before others.

Shape letters: n = samples of a stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from foreact.episodes.checks.finding import Finding
from foreact.episodes.sources import Source, Stream
from foreact.episodes.timeline import COUNTED, Health

__all__ = ["check_ends", "check_stamps", "float32_step_ns"]

RATE_OFF = 0.02  # of the stated rate: clocks of good recorders agree better
RATE_NEEDS = 10  # samples: with fewer the mean rate hangs on one of them
ENDS_EARLY = 0.1  # of the recording's length without a sample at its beginning or end
ENDS_LEAST_NS = 50_000_000  # streams of short recordings may differ by a picture or two
GAP_LEAST_NS = 1_000_000  # what is published in one go has no rate, and so no gaps
LOOSE = ("text", "event")  # come when something happens: no rate, no duty to last


def check_stamps(stream: Stream, stamps: np.ndarray, seen: Health) -> Iterator[Finding]:
    """What is wrong with the stamps of one stream.

    Args:
        stream: Which.
        stamps: int64 (n,) [ns], in the order of the file.
        seen: What they say.
    """
    name = stream.name
    if not seen.count:
        yield Finding(name, "remark", "empty", "has no samples")
        return
    if seen.out_of_order:
        yield Finding(name, "grave", "order", f"{seen.out_of_order} of {seen.count} stamps go back in time")
    if seen.duplicates and stream.kind not in LOOSE:
        yield Finding(name, "remark", "stamps equal", f"{seen.duplicates} samples have the stamp of another")
    if stream.clock in COUNTED:
        return
    if stream.kind not in LOOSE:
        yield from _gaps(name, stamps, seen)
        yield from _float32(name, stamps, seen)
    if stream.rate_hz and seen.count >= RATE_NEEDS:
        mean = (seen.count - 1) * 1e9 / max(seen.last_ns - seen.first_ns, 1)
        if abs(mean / stream.rate_hz - 1) > RATE_OFF:
            what = f"says {stream.rate_hz:g} Hz, has {mean:.4g} Hz over its whole length"
            yield Finding(name, "remark", "rate", what)


def _gaps(name: str, stamps: np.ndarray, seen: Health) -> Iterator[Finding]:
    times = np.sort(stamps)
    distances = np.diff(times)
    wide = distances > max(2.5 * seen.period_ns, GAP_LEAST_NS)
    if seen.period_ns and wide.any():
        lost = int(np.rint(distances[wide] / seen.period_ns - 1).sum())
        at = (int(times[int(distances.argmax())]) - int(times[0])) / 1e9
        what = (
            f"{int(wide.sum())} gaps, the longest {distances.max() / 1e6:.1f} ms, {at:.3f} s after its start; "
            f"about {lost} samples are lost at {seen.rate_hz:.4g} Hz"
        )
        yield Finding(name, "remark", "gaps", what)


def float32_step_ns(stamps: np.ndarray) -> float:
    """Resolution at the latest stamp [ns] if all of them were float32 seconds once; 0 if they were not.

    Args:
        stamps: int64 (n,) [ns].
    """
    seconds = (stamps / 1e9).astype(np.float32)
    back = np.rint(seconds.astype(np.float64) * 1e9)
    whole_ms = stamps % 1_000_000 == 0  # round times fit by chance
    if len(stamps) < RATE_NEEDS or whole_ms.mean() > 0.5 or np.abs(back - stamps).max() > 1:
        return 0.0
    return float(np.spacing(np.abs(seconds).max())) * 1e9


def _float32(name: str, stamps: np.ndarray, seen: Health) -> Iterator[Finding]:
    step = float32_step_ns(stamps)
    if step > 100_000 or step > 0.01 * seen.period_ns > 0:  # LeRobot's own check allows 0.1 ms
        what = f"stamps were 32-bit seconds once: they are exact to {step / 1e6:.3g} ms at the end only"
        yield Finding(name, "grave" if step > 0.25 * seen.period_ns else "remark", "float32 stamps", what)


def check_ends(source: Source, seen: Mapping[str, Health]) -> Iterator[Finding]:
    """Streams that begin later or end earlier than most streams of their clock.

    Args:
        source: The recording.
        seen: What the stamps of each stream say.
    """
    for clock in dict.fromkeys(stream.clock for stream in source.streams.values()):
        peers = {
            name: each
            for name, each in seen.items()
            if source.streams[name].clock == clock and each.count > 1 and source.streams[name].kind not in LOOSE
        }
        if len(peers) >= 2:
            yield from _clock_ends(clock, peers)


def _clock_ends(clock: str, peers: Mapping[str, Health]) -> Iterator[Finding]:
    firsts, lasts = [each.first_ns for each in peers.values()], [each.last_ns for each in peers.values()]
    few = len(peers) == 2  # most of two are both: then the longer one counts
    first = min(firsts) if few else sorted(firsts)[(len(firsts) - 1) // 2]
    last = max(lasts) if few else sorted(lasts)[len(lasts) // 2]
    told: dict[str, dict[str, int]] = {"apart": {}, "begins": {}, "ends": {}, "goes on": {}}
    for name, each in peers.items():
        spare = max(ENDS_EARLY * (last - first), 2 * each.period_ns, 0 if clock in COUNTED else ENDS_LEAST_NS)
        if each.first_ns > last + spare or each.last_ns < first - spare:
            told["apart"][name] = max(each.first_ns - last, first - each.last_ns)
            continue
        for what, distance in (
            ("begins", each.first_ns - first), ("ends", last - each.last_ns), ("goes on", each.last_ns - last),
        ):  # fmt: skip
            if distance > spare:
                told[what][name] = distance
    words = {
        "apart": "has no time in common with most streams of clock {clock}: it is {far} away",
        "begins": "begins {far} after most streams of clock {clock}",
        "ends": "ends {far} before most streams of clock {clock}",
        "goes on": "goes on {far} after most streams of clock {clock} have ended",
    }
    for what, names in told.items():
        if names:  # said in the same words of all, so that they share a row
            far = ("up to " if len(names) > 1 else "") + _length(max(names.values()), clock)
            for name in names:
                yield Finding(name, "remark", "ends", words[what].format(far=far, clock=clock))


def _length(distance: int, clock: str) -> str:
    return f"{distance} steps" if clock in COUNTED else f"{distance / 1e9:.3f} s"
