"""Pictures of a recording for the frames of a hand. Shape letters: H and W = image height and width."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from foreact.episodes.sources import Source, SourceError, open_collection
from foreact.sim.retarget.hand_track import HandTrack

__all__ = ["sights"]


def sights(video: Path | None, source: Source, track: HandTrack, frames: list[int]) -> dict[int, np.ndarray]:
    """What the camera saw at frames of a hand: the picture last taken, (H, W, 3) uint8, by the frame's number.

    Args:
        video: A recording with a camera, whose first picture belongs to the hand's first frame; None for the first
            camera of the hand's own recording.
        source: The hand's recording.
        track: The hand.
        frames: Their numbers.

    Returns:
        Nothing where there is no camera.

    Raises:
        SourceError: `video` has no camera.
    """
    with ExitStack() as stack:
        shift = 0
        if video is not None:
            collection = open_collection(video)
            stack.callback(collection.close)
            source = stack.enter_context(collection.open(collection.keys()[0]))
        cameras = [name for name, each in source.streams.items() if each.kind == "image" and len(source.stamps(name))]
        if video is not None and not cameras:
            raise SourceError(f"{video} has no camera")
        own = [name for name in cameras if video is not None or source.streams[name].clock == track.clock]
        if not own:
            return {}
        name = "camera.rgb" if "camera.rgb" in own else own[0]
        stamps = source.stamps(name)
        if video is not None:
            shift = int(stamps.min()) - int(track.stamps[0])
        line = np.argsort(stamps, kind="stable")
        found: dict[int, np.ndarray] = {}
        for frame in frames:
            place = max(int(np.searchsorted(stamps[line], track.stamps[frame] + shift, "right")) - 1, 0)
            found[frame] = np.asarray(source.read(name, int(line[place])))
        return found
