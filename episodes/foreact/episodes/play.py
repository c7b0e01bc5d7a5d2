"""`foreact replay` of recordings: play their streams in time, into a viewer, a file, or as fast as possible."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from foreact.episodes.keyboard import Keyboard, listening
from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.play_figures import COLUMNS, Figures
from foreact.episodes.play_policies import offsets, policies
from foreact.episodes.ranges import require_at_least
from foreact.episodes.replayer import Pacing, Replayer
from foreact.episodes.runfolder import write_json_atomic
from foreact.episodes.sources import Source, SourceError, open_collection
from foreact.episodes.timeline import COUNTED, Step, Timeline, default_driver

__all__ = ["Derive", "PlayConfig", "play"]

APPLICATION = "foreact_replay"
FASTEST = float("inf")

Derive = Callable[[Path, Source], Source]
"""Gives a recording more streams than lie in it; told where it lies."""


@dataclass(frozen=True)
class PlayConfig:
    """What to play and where to.

    Attributes:
        path: A recording, or a folder of some.
        recordings: Which of them, by key; the first if none is named. Several play side by side.
        beside: Other paths, the first recording of each plays along.
        streams: Which streams; all if none is named. With several recordings `KEY/STREAM`.
        driver: A step at each sample of this stream, or so many steps a second; by default the camera with most
            pictures, or without one the stream with most samples.
        policies: How streams are asked, each `STREAM:hold`, `STREAM:nearest:20ms`, `STREAM:interpolate` or
            `STREAM:window`; by default what suits their kind.
        offsets: Added to stamps, each `STREAM:-12.5ms` or `RECORDING:2s`.
        align: Of several recordings: `clock` leaves their stamps, `start` lets all begin together.
        start_s: Begin so long after the first step [s].
        duration_s: Play so long [s]; 0 for all.
        rate: Times real time; 0 plays as fast as possible.
        loop: Times to play.
        out: Folder for `recording.rrd` and `report.json`.
        web: Serve a viewer on this machine only, and play into it until Ctrl-C.
        view: Play into the installed viewer, until its window is closed.
        port: Where a viewer takes what is played.
        web_port: Where a browser finds the served viewer.
        digest: Print a SHA-256 of all steps, which depends on the files alone.
        resolution_ns: Cut stamps to whole multiples of it [ns], so that a recording plays as its copy in a format that
            keeps no finer ones.
    """

    path: Path
    recordings: tuple[str, ...] = ()
    beside: tuple[Path, ...] = ()
    streams: tuple[str, ...] = ()
    driver: str = ""
    policies: tuple[str, ...] = ()
    offsets: tuple[str, ...] = ()
    align: Literal["clock", "start"] = "clock"
    start_s: float = 0.0
    duration_s: float = 0.0
    rate: float = 0.0
    loop: int = 1
    out: Path | None = None
    web: bool = False
    view: bool = False
    port: int = 9876
    web_port: int = 9090
    digest: bool = False
    resolution_ns: int = 1

    def __post_init__(self) -> None:
        require_at_least(self, start_s=0, duration_s=0, rate=0, loop=1, resolution_ns=1)
        if self.web and self.view:
            raise ValueError("web=true and view=true both want the port of the viewer; choose one")
        for name in ("port", "web_port"):
            if not 1024 <= getattr(self, name) <= 65535:
                raise ValueError(f"{name}={getattr(self, name)} is none; give 1024 to 65535")
        policies(self.policies)  # what is mistyped is refused before anything is opened
        offsets(self.offsets)


class Sink(Protocol):
    """Where steps go."""

    def show(self, step: Step) -> None:
        """Take one."""
        ...


def play(config: PlayConfig, progress: ProgressFn = quiet, derive: Derive | None = None) -> Outcome:
    """Play recordings.

    Args:
        config: What and where to.
        progress: Told of steps played.
        derive: Gives each recording more streams than lie in it.

    Returns:
        One row per stream: samples that were shown, their age, and what is odd about its stamps.

    Raises:
        SourceError: Nothing there that can be opened, or a sample cannot be read.
        ValueError: No such recording or stream.
        ModuleNotFoundError: A package of the reader or of the viewer is not installed.
        RuntimeError: A viewer that did not start.
    """
    with ExitStack() as stack:
        sources, notes = _opened(config, stack, derive)
        timeline = _timeline(config, sources)
        times = _times(config, timeline)
        if config.rate and any(track.stream.clock in COUNTED for track in timeline.tracks.values()):
            raise ValueError(
                f"{config.path} counts steps and tells no time; leave rate= out to play as fast as possible"
            )
        seen = Figures(timeline, sources, hashed=config.digest)
        shown, ended = _viewers(config, sources, timeline, int(times[0]), stack)
        pacing = _run(config, timeline, times, [seen, *shown], ended, progress)
        stack.close()
    figures = {**seen.figures(times, pacing, paced=config.rate > 0), "notes": list(notes)}
    if config.out is not None:
        write_json_atomic(config.out / "report.json", figures)
    told = (_row("sha256 of all steps", str(figures["sha256"])),) if config.digest else ()
    noted = tuple(_row(note, "note") for note in notes)
    return Outcome(config.out or config.path, figures, COLUMNS, (*seen.rows(), *told, *noted))


def _row(*cells: str) -> tuple[str, ...]:
    return (*cells, *[""] * (len(COLUMNS) - len(cells)))


def _opened(config: PlayConfig, stack: ExitStack, derive: Derive | None) -> tuple[dict[str, Source], tuple[str, ...]]:
    """Recordings by key, and what they lack."""
    sources: dict[str, Source] = {}
    notes: list[str] = []
    for path in (config.path, *config.beside):
        collection = open_collection(path)
        stack.callback(collection.close)
        keys = collection.keys()
        if not keys:
            raise SourceError(f"{path} holds no recording")
        chosen = config.recordings if path == config.path else ()
        if unknown := [key for key in chosen if key not in keys]:
            raise ValueError(f"there is no recording {', '.join(unknown)}; there are {', '.join(keys[:20])}")
        notes += collection.notes
        for key in chosen or keys[:1]:
            source = stack.enter_context(collection.open(key))
            source = source if derive is None else derive(path, source)
            sources[_unused(key, path, sources)] = source
            notes += source.notes
    return sources, tuple(notes)


def _unused(key: str, path: Path, taken: dict[str, Source]) -> str:
    """A key that no other recording has: of two alike the second is told by its folder."""
    key = key if key not in taken else f"{path.name}/{key}"
    return key if key not in taken else f"{key}#{len(taken) + 1}"


def _timeline(config: PlayConfig, sources: dict[str, Source]) -> Timeline:
    typed = offsets(config.offsets)
    if unknown := [name for name in typed if name in sources and len(sources) == 1]:
        raise ValueError(f"offsets: {unknown[0]} is played alone; name one of its streams")
    if config.align == "start" and len(sources) > 1:
        begins = {key: _begin(config, key, source) for key, source in sources.items()}
        earliest = next(iter(begins.values()))
        typed = {**typed, **{key: typed.get(key, 0) + earliest - each for key, each in begins.items()}}
    return Timeline.of(
        sources,
        streams=config.streams or None,
        offsets_ns=typed,
        policies=policies(config.policies),
        resolution_ns=config.resolution_ns,
    )


def _begin(config: PlayConfig, key: str, source: Source) -> int:
    """First stamp of the camera of a recording, or without one of the stream with most samples [ns]."""
    alone = Timeline.of({key: source})
    return int(alone.times(_driver(config, alone, ""))[0])


def _times(config: PlayConfig, timeline: Timeline) -> np.ndarray:
    times = timeline.times(_driver(config, timeline, config.driver))
    start = int(times[0]) + round(config.start_s * 1e9)
    end = start + round(config.duration_s * 1e9) if config.duration_s else int(times[-1])
    chosen = times[(times >= start) & (times <= end)]
    if not len(chosen):
        seconds = (int(times[-1]) - int(times[0])) / 1e9
        raise ValueError(f"start_s={config.start_s} leaves nothing of {seconds:.3f} s")
    return chosen


def _driver(config: PlayConfig, timeline: Timeline, chosen: str) -> str | float:
    if chosen:
        with contextlib.suppress(ValueError):
            return float(chosen)
        return chosen
    tracks = timeline.tracks
    kinds = {name: track.stream.kind for name, track in tracks.items()}
    found = default_driver(kinds, {name: len(track.times) for name, track in tracks.items()})
    if not found:
        raise SourceError(f"{config.path}: no stream has a sample")
    return found


def _run(
    config: PlayConfig,
    timeline: Timeline,
    times: np.ndarray,
    sinks: list[Sink],
    ended: Callable[[], bool] | None,
    progress: ProgressFn,
) -> Pacing:
    watched = ended is not None
    endless = watched and config.rate > 0
    replayer = Replayer(timeline, times, rate=config.rate or FASTEST, loop=endless or config.loop > 1)
    total = 0 if endless else len(times) * config.loop
    keyboard = Keyboard(replayer, config.rate)
    controlled = listening(keyboard) if config.rate else contextlib.nullcontext()
    with contextlib.suppress(KeyboardInterrupt) if watched else contextlib.nullcontext(), controlled:
        _feed(replayer, [keyboard, *sinks], total, ended, progress)
        while ended is not None and not ended() and not keyboard.ended.wait(0.2):
            pass  # the viewer stays
    return replayer.pacing()


def _feed(
    replayer: Replayer, sinks: list[Sink], total: int, ended: Callable[[], bool] | None, progress: ProgressFn
) -> None:
    """Show steps until there were `total`, 0 for no end, or nobody watches any more."""
    reported = 0.0
    for played, step in enumerate(replayer, start=1):
        for sink in sinks:
            sink.show(step)
        if time.monotonic() - reported > 0.2 or played == total:
            reported = time.monotonic()
            progress(played, total or played, "replay")
            if ended is not None and ended():
                replayer.stop()
        if total and played + replayer.pacing().dropped >= total:
            replayer.stop()


def _viewers(
    config: PlayConfig, sources: dict[str, Source], timeline: Timeline, start_ns: int, stack: ExitStack
) -> tuple[list[Sink], Callable[[], bool] | None]:
    """A file and a viewer, as far as they are asked for; and whether the viewer's user has left."""
    if not (config.out or config.web or config.view):
        return [], None
    import rerun as rr

    from foreact.episodes.rerun_layout import layout
    from foreact.episodes.rerun_sink import RerunSink
    from foreact.episodes.rerun_viewer import native_viewer, served_viewer
    from foreact.episodes.scene import scene

    placed = scene(sources, timeline)
    sinks: list[Sink] = []
    if config.out:
        sinks.append(RerunSink(stack.enter_context(_file(config.out, layout(placed))), placed, start_ns, live=False))
    if not (config.web or config.view):
        return sinks, None
    viewer = stack.enter_context(
        served_viewer(config.port, config.web_port) if config.web else native_viewer(config.port)
    )
    stream = stack.enter_context(rr.RecordingStream(APPLICATION))
    stream.connect_grpc(viewer.address, default_blueprint=layout(placed, live=True))
    return [*sinks, RerunSink(stream, placed, start_ns, live=True)], lambda: viewer.ended


@contextlib.contextmanager
def _file(folder: Path, blueprint: Any) -> Iterator[Any]:
    """A recording stream into `recording.rrd`, which is whole or not there."""
    import rerun as rr

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "recording.rrd"
    partial = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with rr.RecordingStream(APPLICATION) as stream:
            stream.save(partial, default_blueprint=blueprint)
            yield stream
            stream.flush()
            stream.disconnect()
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)
