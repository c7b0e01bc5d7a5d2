"""What a replay showed, counted: samples, ages, gaps, and one number for everything."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from foreact.episodes.digest import digest
from foreact.episodes.outcome import JSON
from foreact.episodes.replayer import Pacing
from foreact.episodes.sources.protocol import Source
from foreact.episodes.timeline import COUNTED, Health, Step, Timeline, health

__all__ = ["COLUMNS", "Figures"]

COLUMNS = ("stream", "kind", "steps with it", "samples", "oldest [ms]", "interpolated", "stamps")
COUNTS = ("steps", "samples", "oldest_ns", "interpolated")
RARE = ("text", "event", "bytes")  # come when they come: a pause between two is no gap


class Figures:
    """Counts what steps hold.

    Args:
        timeline: Of them.
        sources: By key, as the timeline was made of them.
        hashed: Also make one number of everything.
    """

    def __init__(self, timeline: Timeline, sources: Mapping[str, Source], *, hashed: bool) -> None:
        self._timeline, self._steps = timeline, 0
        self._counts = {name: [0, 0, 0, 0] for name in timeline.tracks}
        self._digests: list[str] | None = [] if hashed else None
        every = {
            (name if len(sources) == 1 else f"{key}/{name}"): (source, name)
            for key, source in sources.items()
            for name in source.streams
        }
        self._health = {name: health(every[name][0].stamps(every[name][1])) for name in timeline.tracks}

    def show(self, step: Step) -> None:
        """Count one step."""
        self._steps += 1
        for name, picked in step.samples.items():
            count = self._counts[name]
            count[0] += 1
            count[1] += len(picked.value) if isinstance(picked.value, list) else 1
            count[2] = max(count[2], picked.age_ns)
            count[3] += picked.interpolated
        if self._digests is not None:
            self._digests.append(digest([step]))

    def figures(self, times: np.ndarray, pacing: Pacing, *, paced: bool) -> dict[str, JSON]:
        """All of it.

        Args:
            times: Of the steps that were to be played, int64 (T,) [ns].
            pacing: How they kept their times.
            paced: Whether they had any to keep.
        """
        found: dict[str, JSON] = {
            "steps": self._steps,
            "dropped": pacing.dropped,
            "first_ns": int(times[0]),
            "last_ns": int(times[-1]),
            "late_p99_ms": round(pacing.p99_ns / 1e6, 3) if paced else None,
            "drift_ms": round(pacing.drift_ns / 1e6, 3) if paced else None,
            "streams": {
                name: {**dict(zip(COUNTS, count, strict=True)), **_plain(self._health[name])}
                for name, count in self._counts.items()
            },
        }
        if self._digests is not None:
            found["sha256"] = hashlib.sha256("".join(self._digests).encode()).hexdigest()
        return found

    def rows(self) -> tuple[tuple[str, ...], ...]:
        """A row per stream."""
        rows = []
        for name, (held, samples, age, mixed) in self._counts.items():
            stream = self._timeline.tracks[name].stream
            counted = stream.clock in COUNTED
            aged = str(age) if counted else f"{age / 1e6:.1f}"
            said = _in_words(self._health[name], counted=counted, rare=stream.kind in RARE)
            rows.append((name, stream.kind, str(held), str(samples), aged, str(mixed), said))
        return tuple(rows)


def _in_words(found: Health, *, counted: bool, rare: bool) -> str:
    """What is to be said of stamps: their rate, and what is odd about them.

    Args:
        found: Of them.
        counted: They count steps.
        rare: They come when they come.
    """
    said = []
    if not (counted or rare) and found.rate_hz:
        said.append(f"{found.rate_hz:.4g} Hz")
    if found.gaps and not rare:
        longest = f"{found.longest_gap_ns} steps" if counted else f"{found.longest_gap_ns / 1e9:.3g} s"
        said.append(f"{found.gaps} {'gap' if found.gaps == 1 else 'gaps, the longest'} of {longest}")
    if found.out_of_order:
        said.append(f"{found.out_of_order} out of order")
    if found.duplicates and not rare:
        said.append(f"{found.duplicates} twice")
    return ", ".join(said)


def _plain(found: Health) -> dict[str, JSON]:
    return {
        "rate_hz": round(found.rate_hz, 3),
        "gaps": found.gaps,
        "longest_gap_ns": found.longest_gap_ns,
        "out_of_order": found.out_of_order,
        "duplicates": found.duplicates,
    }
