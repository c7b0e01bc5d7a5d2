"""Episodes as one Rerun recording: pictures, actions, states and words on the clock of the simulation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rerun import RecordingStream

    from foreact.episodes.contract import FeatureSpec

__all__ = ["RecordedEpisode", "write_recording"]

TIMELINE = "sim_time"
APPLICATION = "foreact_eval"
JPEG_QUALITY = 85


@dataclass(frozen=True)
class RecordedEpisode:
    """One episode of a recording.

    Attributes:
        name: Where it stands in the recording, such as `reach-v3/success-00003`.
        title: A few words for its column.
        text: What was told and how it went, Markdown.
        images: RGB pictures, uint8 (F, H, W, 3).
        image_s: Their times [s], (F,).
        vectors: Plotted features by name: their description, times [s] (T,) and values (T, elements).
    """

    name: str
    title: str
    text: str
    images: np.ndarray
    image_s: np.ndarray
    vectors: dict[str, tuple[FeatureSpec, np.ndarray, np.ndarray]]


def write_recording(path: Path, name: str, episodes: Sequence[RecordedEpisode]) -> None:
    """Write episodes into one file for `rerun FILE`, atomically; no viewer is started.

    Args:
        path: Where to write, ending in .rrd; its folder is created.
        name: Identity of the recording, the same for the same evaluation.
        episodes: What to write; those whose name begins with the same folder share a tab.
    """
    import rerun as rr

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with rr.RecordingStream(APPLICATION, recording_id=name) as stream:
            stream.save(temporary, default_blueprint=_blueprint(episodes))
            for episode in episodes:
                _log_episode(stream, episode)
            stream.flush()
            stream.disconnect()
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _log_episode(stream: RecordingStream, episode: RecordedEpisode) -> None:
    import rerun as rr

    stream.log(f"{episode.name}/about", rr.TextDocument(episode.text, media_type="text/markdown"), static=True)
    for time_s, image in zip(episode.image_s, episode.images, strict=True):
        stream.set_time(TIMELINE, duration=float(time_s))
        stream.log(f"{episode.name}/view", rr.Image(image).compress(JPEG_QUALITY))
    for name, (spec, time_s, values) in episode.vectors.items():
        clock = rr.TimeColumn(TIMELINE, duration=time_s)
        for column, (element, unit) in enumerate(zip(spec.elements, spec.units, strict=True)):
            place = f"{episode.name}/{name}/{element}"
            stream.log(place, rr.SeriesLines(names=f"{element} [{unit}]"), static=True)
            stream.send_columns(place, [clock], rr.Scalars.columns(scalars=values[:, column]))


def _blueprint(episodes: Sequence[RecordedEpisode]) -> Any:
    """One tab per task, one column per episode."""
    import rerun.blueprint as rrb

    tabs: dict[str, list[Any]] = {}
    for episode in episodes:
        views = [
            rrb.TextDocumentView(origin=f"{episode.name}/about", name=episode.title),
            rrb.Spatial2DView(origin=f"{episode.name}/view", name="fixed view"),
            *[rrb.TimeSeriesView(origin=f"{episode.name}/{name}", name=name) for name in episode.vectors],
        ]
        column = rrb.Vertical(*views, row_shares=[1, 3, *[2] * len(episode.vectors)], name=episode.title)
        tabs.setdefault(episode.name.partition("/")[0], []).append(column)
    return rrb.Blueprint(rrb.Tabs(*[rrb.Horizontal(*columns, name=tab) for tab, columns in tabs.items()]))
