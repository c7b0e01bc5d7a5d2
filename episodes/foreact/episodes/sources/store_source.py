"""Our own episode store as recordings.

Reads are thread-safe. A stream lies in one shard: it is read whole when first asked for and kept until the recording is
closed. Shape letters: n = samples of a stream.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np

from foreact.episodes.arrays import StoreError
from foreact.episodes.contract import PolicyContract
from foreact.episodes.episode import EpisodeHeader
from foreact.episodes.outcome import JSON
from foreact.episodes.sources.parts import Part, PartsSource, Recordings
from foreact.episodes.sources.protocol import Kind, SourceError, Stream
from foreact.episodes.store import EpisodeStore

__all__ = ["open_collection"]

PICTURES: dict[str, tuple[str, Kind]] = {
    "rgb": ("camera", "image"),
    "depth": ("depth", "depth"),
    "segmentation": ("segmentation", "segmentation"),
}


def open_collection(path: Path) -> Recordings:
    """Open a store.

    Raises:
        SourceError: Not a store, damaged, or written by a newer foreact.
    """
    path = Path(path)
    try:
        store = EpisodeStore.open(path)
        keys = store.keys()
    except (StoreError, OSError) as error:
        raise SourceError(str(error)) from error
    return Recordings(path, "foreact", {key: partial(_open_episode, store, key) for key in keys})


class _Kept:
    """Streams of one episode, each read once."""

    def __init__(self, store: EpisodeStore, key: str) -> None:
        self._store, self._key = store, key
        self._found: dict[str, np.ndarray] = {}
        self._lock = Lock()

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        with self._lock:
            if name not in self._found:
                try:
                    self._found[name] = self._store.read(self._key, [name]).streams[name].data
                except (StoreError, OSError) as error:
                    raise SourceError(str(error)) from error
            return self._found[name][start:stop]

    def row(self, name: str, index: int) -> np.ndarray:
        return self.rows(name, index, index + 1)[0]

    def forget(self) -> None:
        self._found.clear()


def _open_episode(store: EpisodeStore, key: str) -> PartsSource:
    try:
        header = store.header(key)
        clocks = {name: store.read_clock(key, name) for name in header.streams}
    except (StoreError, OSError) as error:
        raise SourceError(str(error)) from error
    kept = _Kept(store, key)
    parts = [
        Part(_stream(name, header, store.contract), clocks[name], partial(kept.row, name), partial(kept.rows, name))
        for name in header.streams
    ]
    metadata: dict[str, JSON] = {**header.metadata, "task": header.task, "seed": header.seed, "success": header.success}
    return PartsSource(key, parts, task=header.instruction, metadata=metadata, close=kept.forget)


def _stream(name: str, header: EpisodeHeader, contract: PolicyContract) -> Stream:
    about = header.streams[name]
    shown, kind = _shown(name)
    elements, frame = (), ""
    feature = {"state": contract.state, "action": contract.action, "action.executed": contract.action}.get(name)
    if feature is not None:
        elements, frame = feature.elements, feature.frame
    return Stream(
        name=shown,
        kind=kind,
        shape=about.shape[1:],
        dtype=about.dtype,
        unit=about.unit,
        clock="episode",
        rate_hz=about.rate_hz,
        elements=elements,
        frame=frame,
    )


def _shown(name: str) -> tuple[str, Kind]:
    parts = name.split(".")
    if len(parts) == 3 and parts[0] == "camera" and parts[2] in PICTURES:
        prefix, kind = PICTURES[parts[2]]
        return f"{prefix}.{parts[1]}", kind
    return name, "vector"
