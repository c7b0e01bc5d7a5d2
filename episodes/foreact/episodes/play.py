"""`foreact replay` of recordings: play their streams in time, into a viewer, a file, or as fast as possible."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes.digest import digest
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.replayer import Pacing, Replayer
from foreact.episodes.runfolder import write_json_atomic
from foreact.episodes.sources import Source, SourceError, Stream, open_collection
from foreact.episodes.timeline import COUNTED, Step, Timeline

__all__ = ["PlayConfig", "play"]

APPLICATION = "foreact_replay"
FASTEST = float("inf")


@dataclass(frozen=True)
class PlayConfig:
    """What to play and where to.

    Attributes:
        path: A recording, or a folder of some.
        recordings: Which of them, by key; the first if none is named. Several play side by side.
        streams: Which streams; all if none is named. With several recordings `KEY/STREAM`.
        driver: A step at each sample of this stream, or so many steps a second; by default the first camera, or without
            one the stream with most samples.
        start_s: Begin so long after the first step [s].
        duration_s: Play so long [s]; 0 for all.
        rate: Times real time; 0 plays as fast as possible.
        loop: Times to play.
        out: Folder for `recording.rrd` and `report.json`.
        web: Serve a viewer on this machine only, and play into it until Ctrl-C.
        digest: Print a SHA-256 of all steps, which depends on the files alone.
        resolution_ns: Cut stamps to whole multiples of it [ns], so that a recording plays as its copy in a format that
            keeps no finer ones.
    """

    path: Path
    recordings: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    driver: str = ""
    start_s: float = 0.0
    duration_s: float = 0.0
    rate: float = 0.0
    loop: int = 1
    out: Path | None = None
    web: bool = False
    digest: bool = False
    resolution_ns: int = 1

    def __post_init__(self) -> None:
        for name, low in (("start_s", 0), ("duration_s", 0), ("rate", 0), ("loop", 1), ("resolution_ns", 1)):
            if not getattr(self, name) >= low:
                raise ValueError(f"{name}={getattr(self, name)} is out of range; give {low} or more")


def play(config: PlayConfig, progress: ProgressFn = quiet) -> Outcome:
    """Play recordings.

    Args:
        config: What and where to.
        progress: Told of steps played.

    Returns:
        One row per stream: samples that were shown, and their age.

    Raises:
        SourceError: Nothing there that can be opened, or a sample cannot be read.
        ValueError: No such recording or stream.
        ModuleNotFoundError: A package of the reader or of the viewer is not installed.
    """
    with ExitStack() as stack:
        sources, notes = _opened(config, stack)
        timeline = Timeline.of(sources, streams=config.streams or None, resolution_ns=config.resolution_ns)
        times = _times(config, timeline)
        if config.rate and any(track.stream.clock in COUNTED for track in timeline.tracks.values()):
            raise ValueError(
                f"{config.path} counts steps and tells no time; leave rate= out to play as fast as possible"
            )
        sinks = [stack.enter_context(_shown(config, timeline))] if config.out or config.web else []
        seen = _Seen(timeline, config.digest)
        pacing = _run(config, timeline, times, [seen, *sinks], progress)
    figures = {**seen.figures(times, pacing, config), "notes": list(notes)}
    if config.out is not None:
        write_json_atomic(config.out / "report.json", figures)
    told = (("sha256 of all steps", str(figures["sha256"]), "", "", "", ""),) if config.digest else ()
    noted = tuple((note, "note", "", "", "", "") for note in notes)
    return Outcome(config.out or config.path, figures, COLUMNS, (*seen.rows(), *told, *noted))


def _opened(config: PlayConfig, stack: ExitStack) -> tuple[dict[str, Source], tuple[str, ...]]:
    """Recordings by key, and what they lack."""
    collection = open_collection(config.path)
    stack.callback(collection.close)
    keys = collection.keys()
    if not keys:
        raise SourceError(f"{config.path} holds no recording")
    if unknown := [key for key in config.recordings if key not in keys]:
        raise ValueError(f"there is no recording {', '.join(unknown)}; there are {', '.join(keys[:20])}")
    sources = {key: stack.enter_context(collection.open(key)) for key in config.recordings or keys[:1]}
    return sources, (*collection.notes, *(note for source in sources.values() for note in source.notes))


def _times(config: PlayConfig, timeline: Timeline) -> np.ndarray:
    times = timeline.times(_driver(config, timeline))
    start = int(times[0]) + round(config.start_s * 1e9)
    end = start + round(config.duration_s * 1e9) if config.duration_s else int(times[-1])
    chosen = times[(times >= start) & (times <= end)]
    if not len(chosen):
        seconds = (int(times[-1]) - int(times[0])) / 1e9
        raise ValueError(f"start_s={config.start_s} leaves nothing of {seconds:.3f} s")
    return chosen


def _driver(config: PlayConfig, timeline: Timeline) -> str | float:
    if config.driver:
        with contextlib.suppress(ValueError):
            return float(config.driver)
        return config.driver
    filled = {name: track for name, track in timeline.tracks.items() if len(track.times)}
    if not filled:
        raise SourceError(f"{config.path}: no stream has a sample")
    cameras = [name for name, track in filled.items() if track.stream.kind == "image"]
    return cameras[0] if cameras else max(filled, key=lambda name: len(filled[name].times))


def _run(config: PlayConfig, timeline: Timeline, times: np.ndarray, sinks: list[Any], progress: ProgressFn) -> Pacing:
    endless = config.web and config.rate > 0
    replayer = Replayer(timeline, times, rate=config.rate or FASTEST, loop=endless or config.loop > 1)
    total = len(times) * config.loop
    with contextlib.suppress(KeyboardInterrupt) if config.web else contextlib.nullcontext():
        _feed(replayer, sinks, 0 if endless else total, progress)
        if config.web:
            threading.Event().wait()  # the viewer stays
    return replayer.pacing()


def _feed(replayer: Replayer, sinks: list[Any], total: int, progress: ProgressFn) -> None:
    """Show steps until there were `total`; 0 for no end."""
    reported = 0.0
    for played, step in enumerate(replayer, start=1):
        for sink in sinks:
            sink.show(step)
        if time.monotonic() - reported > 0.2 or played == total:
            reported = time.monotonic()
            progress(played, total or played, "replay")
        if total and played + replayer.pacing().dropped >= total:
            replayer.stop()


@contextlib.contextmanager
def _shown(config: PlayConfig, timeline: Timeline) -> Iterator[Any]:
    """A Rerun sink: a file that is whole or not there, or a viewer served on loopback."""
    import rerun as rr

    from foreact.episodes.rerun_sink import RerunSink, layout, served_viewer

    streams: dict[str, Stream] = {name: track.stream for name, track in timeline.tracks.items()}
    with ExitStack() as stack:
        address = stack.enter_context(served_viewer()) if config.web else ""
        stream = stack.enter_context(rr.RecordingStream(APPLICATION))
        if config.web:
            stream.connect_grpc(address, default_blueprint=layout(streams))
            yield RerunSink(stream, streams)
            return
        assert config.out is not None
        config.out.mkdir(parents=True, exist_ok=True)
        file = config.out / "recording.rrd"
        partial = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        try:
            stream.save(partial, default_blueprint=layout(streams))
            yield RerunSink(stream, streams)
            stream.flush()
            stream.disconnect()
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)


COLUMNS = ("stream", "kind", "steps with it", "samples", "oldest [ms]", "interpolated")


class _Seen:
    """Counts what steps held."""

    def __init__(self, timeline: Timeline, hashed: bool) -> None:
        self._timeline, self._steps = timeline, 0
        self._counts = {name: [0, 0, 0, 0] for name in timeline.tracks}
        self._digests: list[str] | None = [] if hashed else None

    def show(self, step: Step) -> None:
        self._steps += 1
        for name, picked in step.samples.items():
            count = self._counts[name]
            count[0] += 1
            count[1] += len(picked.value) if isinstance(picked.value, list) else 1
            count[2] = max(count[2], picked.age_ns)
            count[3] += picked.interpolated
        if self._digests is not None:
            self._digests.append(digest([step]))

    def figures(self, times: np.ndarray, pacing: Pacing, config: PlayConfig) -> dict[str, JSON]:
        found: dict[str, JSON] = {
            "steps": self._steps,
            "dropped": pacing.dropped,
            "first_ns": int(times[0]),
            "last_ns": int(times[-1]),
            "late_p99_ms": round(pacing.p99_ns / 1e6, 3) if config.rate else None,
            "drift_ms": round(pacing.drift_ns / 1e6, 3) if config.rate else None,
            "streams": {name: dict(zip(_COUNTS, count, strict=True)) for name, count in self._counts.items()},
        }
        if self._digests is not None:
            import hashlib

            found["sha256"] = hashlib.sha256("".join(self._digests).encode()).hexdigest()
        return found

    def rows(self) -> tuple[tuple[str, ...], ...]:
        tracks: Mapping[str, Any] = self._timeline.tracks
        return tuple(
            (name, tracks[name].stream.kind, str(held), str(samples), f"{age / 1e6:.1f}", str(mixed))
            for name, (held, samples, age, mixed) in self._counts.items()
        )


_COUNTS = ("steps", "samples", "oldest_ns", "interpolated")
