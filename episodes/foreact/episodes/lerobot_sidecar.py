"""What `meta/foreact.json` says of recordings that became a LeRobot dataset, and how much was written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreact.episodes.outcome import JSON
from foreact.episodes.recording_plan import Opener, Plan, placed
from foreact.episodes.recording_rows import Placed
from foreact.episodes.sources.lerobot_own import FORMAT, OwnRecording, OwnRecordings, OwnStream
from foreact.episodes.sources.protocol import Collection, Source
from foreact.episodes.timeline import COUNTED

__all__ = ["own_recordings", "plan_figures"]


def own_recordings(
    collection: Collection, keys: Sequence[str], opened: Opener, plan: Plan
) -> tuple[OwnRecordings, dict[str, JSON]]:
    """What LeRobot has no place for.

    Args:
        collection: Of the source.
        keys: Of the recordings, in the order of the episodes.
        opened: Opens one.
        plan: Of the table.

    Returns:
        What stands in the file; and figures: streams, samples, and how far LeRobot's `timestamp` is off the steps.
    """
    said, worst = list[OwnRecording](), 0.0
    counted = False
    for key in keys:
        with opened(key) as source:
            steps, places = placed(source, plan, key)
            said.append(_recording(key, source, plan, places))
            counted |= all(stream.clock in COUNTED for stream in source.streams.values())
            off = steps - steps[0] - np.arange(len(steps)) * (1e9 / plan.fps)
            worst = max(worst, float(np.abs(off).max()) / 1e6)
    labels = {tag: tuple(values.tolist()) for tag, values in plan.labels.items()}
    own = OwnRecordings(FORMAT, "recordings", collection.format, collection.notes, plan.columns, labels, tuple(said))
    figures: dict[str, JSON] = {
        "streams": sum(len(each.streams) for each in said),
        "samples": sum(stream.samples for each in said for stream in each.streams),
        "frame_rate_hz": plan.fps,
        "timestamp_off_ms": None if counted else round(worst, 6),
    }
    return own, figures


def _recording(key: str, source: Source, plan: Plan, places: dict[str, Placed]) -> OwnRecording:
    by_stream = {place.column.stream: place for place in places.values()}
    streams = tuple(_stream(source, name, by_stream[name]) for name in source.streams if name in by_stream)
    driver = str(plan.driver[key])
    left_out = dict(plan.left_out[key])
    metadata = dict(source.metadata)
    return OwnRecording(key, source.key, source.task, metadata, source.notes, driver, streams, left_out)


def _stream(source: Source, name: str, place: Placed) -> OwnStream:
    moved = bool((np.diff(place.order) < 0).any())
    order = tuple(place.order.tolist()) if moved else ()
    return OwnStream(source.streams[name], place.column.tag, len(place.order), order)


def plan_figures(plan: Plan, hidden: Sequence[str]) -> dict[str, JSON]:
    """What each row is, and what has no place.

    Args:
        plan: Of the table.
        hidden: What else was left out, and why.
    """
    left_out = [*hidden]
    left_out += [f"{stream}: {reason}" for each in plan.left_out.values() for stream, reason in each.items()]
    left_out += [f"recording {key}: it has no sample" for key in plan.skipped]
    return {
        "driver": sorted({str(each) for each in plan.driver.values()}),
        "windows": [f"{column.stream}: up to {column.width} in a row" for column in plan.columns if column.width],
        "left_out": list(dict.fromkeys(left_out)),
    }
