"""Our own stores as recordings: of episodes under a contract, and of recordings; on this machine or at an address.

Reads are thread-safe, and unpack only the chunks that hold what is asked for. Shape letters: n = samples of a stream.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from foreact.episodes import arrays, strictjson
from foreact.episodes.arrays import StoreError
from foreact.episodes.contract import PolicyContract
from foreact.episodes.episode import EpisodeHeader
from foreact.episodes.outcome import JSON
from foreact.episodes.recording_header import parse_group
from foreact.episodes.recording_store import RecordingStore, holds_recordings
from foreact.episodes.remote import Files, files_at
from foreact.episodes.shard_reader import ShardReader
from foreact.episodes.shard_writer import shard_name
from foreact.episodes.shards import METADATA, ShardError, parse_layout
from foreact.episodes.sources.parts import Part, PartsSource, Recordings
from foreact.episodes.sources.protocol import Kind, SourceError, Stream
from foreact.episodes.store import is_key, root_of

__all__ = ["open_collection"]

PICTURES: dict[str, tuple[str, Kind]] = {
    "rgb": ("camera", "image"),
    "depth": ("depth", "depth"),
    "segmentation": ("segmentation", "segmentation"),
}


def open_collection(path: str | Path) -> Recordings:
    """Open a store.

    Args:
        path: Its folder or address. An address of a store of episodes must be one whose folders can be listed.

    Raises:
        SourceError: Not a store, damaged, or written by a newer foreact.
        ModuleNotFoundError: An address needs a package that is not installed.
    """
    try:
        files = files_at(path)
        group = parse_group(files, arrays.HEADER)
        if holds_recordings(group):
            store = RecordingStore.of_root(path, files, group)
            openers = {key: partial(store.read, key) for key in store.keys()}
            return Recordings(Path(path), "foreact-recordings", openers, store.notes)
        contract, _ = root_of(group, str(path))
        keys = [name for name in files.folders("episodes") if is_key(name)]
    except (StoreError, OSError) as error:
        raise SourceError(str(error)) from error
    return Recordings(Path(path), "foreact", {key: partial(_open_episode, files, contract, key) for key in keys})


def _open_episode(files: Files, contract: PolicyContract, key: str) -> PartsSource:
    folder = f"episodes/{key}"
    where = f"{files.name}/{folder}"
    header = _guarded(lambda: _header(files, folder, where))
    clocks: dict[str, np.ndarray] = {}
    parts: list[Part] = []
    for name, about in header.streams.items():
        if about.clock not in clocks:
            clock = _Array(files, folder, header, about.clock, "int64", about.shape[:1])
            clocks[about.clock] = clock.rows(0, about.shape[0])
        array = _Array(files, folder, header, name, about.dtype, about.shape)
        parts.append(Part(_stream(name, header, contract), clocks[about.clock], array.row, array.rows))
    metadata: dict[str, JSON] = {**header.metadata, "task": header.task, "seed": header.seed, "success": header.success}
    return PartsSource(key, parts, task=header.instruction, metadata=metadata)


def _header(files: Files, folder: str, where: str) -> EpisodeHeader:
    return arrays.header_of(parse_group(files, f"{folder}/{arrays.HEADER}"), f"{where}/{arrays.HEADER}")


class _Array:
    """One array of an episode; its metadata is looked at when it is first read."""

    def __init__(
        self, files: Files, folder: str, header: EpisodeHeader, name: str, dtype: str, shape: tuple[int, ...]
    ) -> None:
        self._files, self._folder, self._header, self._name = files, folder, header, name
        self._dtype, self._shape = dtype, shape
        self._reader: ShardReader | None = None

    def rows(self, start: int, stop: int) -> np.ndarray:
        return _guarded(lambda: self._opened().read(start, stop))

    def row(self, index: int) -> np.ndarray:
        return self.rows(index, index + 1)[0]

    def _opened(self) -> ShardReader:
        if self._reader is None:
            where = f"{self._folder}/{self._name}"
            text = self._files.read(f"{where}/{METADATA}")
            if self._size(METADATA) != (len(text), zlib.crc32(text)):
                raise StoreError(f"{self._files.name}/{where}/{METADATA} was altered: its checksum does not match")
            layout = parse_layout(text.decode())
            found, said = (layout.dtype.name, layout.shape), (self._dtype, self._shape)
            if found != said:
                raise StoreError(f"{self._files.name}/{where} holds {found}, its header says {said}")
            size, _ = self._size(shard_name(len(self._shape)))
            self._reader = ShardReader(self._files, where, layout.shape, np.dtype(self._dtype), layout.rows, size)
        return self._reader

    def _size(self, file: str) -> tuple[int, int]:
        return self._header.files.get(f"{self._name}/{file}", (0, 0))


def _guarded[T](read: Callable[[], T]) -> T:
    try:
        return read()
    except (StoreError, ShardError, OSError, UnicodeDecodeError, strictjson.StrictJsonError) as error:
        raise SourceError(str(error)) from error


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
