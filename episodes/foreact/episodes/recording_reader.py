"""A stored recording, opened: samples are read when they are asked for, and only the chunks that hold them.

Shape letters: n = samples of a stream.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from threading import RLock
from typing import Any

import numpy as np

from foreact.episodes.arrays import StoreError
from foreact.episodes.checked_file import BLOCK, CheckedFile
from foreact.episodes.recording_header import RecordingHeader, StreamHeader
from foreact.episodes.remote import Files, LocalFiles
from foreact.episodes.shard_reader import ShardReader
from foreact.episodes.shard_writer import shard_name
from foreact.episodes.shards import ShardError
from foreact.episodes.sources.clip_index import index_of
from foreact.episodes.sources.encoded import Clip, Encoded, Packets, Stills
from foreact.episodes.sources.parts import Part, PartsSource
from foreact.episodes.sources.protocol import SourceError, Value
from foreact.episodes.sources.stills import decode_still
from foreact.episodes.sources.video import Video
from foreact.episodes.sources.vrs_video import Video as CodedVideo

__all__ = ["open_recording"]


def open_recording(files: Files, folder: str, header: RecordingHeader) -> PartsSource:
    """Open a recording.

    Args:
        files: The store.
        folder: Of the recording in it.
        header: What stands there.

    Raises:
        SourceError: Stamps are damaged.
    """
    opened = ExitStack()
    stamps: dict[str, np.ndarray] = {}
    parts: list[Part] = []
    for each in header.streams:
        lying = _Lying(files, folder, header, each, opened)
        if each.stamps not in stamps:
            stamps[each.stamps] = lying.guarded(lambda lying=lying, each=each: lying.stamps(each.stamps))
        parts.append(lying.part(stamps[each.stamps]))
    return PartsSource(
        header.key, parts, task=header.task, metadata=header.metadata, notes=header.notes, close=opened.close
    )


class _Lying:
    """One stream as it lies in the store."""

    def __init__(
        self, files: Files, folder: str, header: RecordingHeader, about: StreamHeader, opened: ExitStack
    ) -> None:
        self._files, self._folder, self._header, self._about = files, folder, header, about
        self._where = f"{files.name}/{folder}: stream {about.stream.name}"
        self._readers: dict[str, ShardReader] = {}
        self._lock = RLock()
        self._film: tuple[Video, CheckedFile] | None = None
        opened.callback(self._close)
        self._decoder: CodedVideo | None = None

    def part(self, stamps: np.ndarray) -> Part:
        """How it is read, by its form."""
        many = {
            "rows": self._rows,
            "ragged": self._ragged,
            "text": partial(self._blobs, lambda _, blob: blob.decode("utf-8", "surrogatepass")),
            "bytes": partial(self._blobs, lambda _, blob: blob),
            "stills": partial(self._blobs, self._picture),
            "packets": self._coded,
            "clip": self._frames,
        }[self._about.form]

        def read(index: int) -> Value:
            return self.guarded(lambda: many(index, index + 1)[0])

        def read_range(start: int, stop: int) -> list[Value] | np.ndarray:
            return self.guarded(lambda: many(start, stop))

        return Part(self._about.stream, stamps, read, read_range, self._encoded())

    def guarded[T](self, read: Callable[[], T]) -> T:
        """What a read gives; damage becomes a SourceError that names the stream."""
        try:
            return read()
        except SourceError:
            raise
        except (ShardError, StoreError, OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{self._where}: {error}") from error

    def stamps(self, name: str) -> np.ndarray:
        """int64 (n,) [ns]."""
        values = self._array(name).read(0, self._about.count)
        if values.dtype != np.int64 or values.ndim != 1:
            raise StoreError(f"stamps are {values.dtype} {values.shape}")
        return values

    def _array(self, name: str) -> ShardReader:
        with self._lock:
            if name not in self._readers:
                each = self._header.arrays[name]
                size, _ = self._header.files.get(f"{name}/{shard_name(len(each.shape))}", (0, 0))
                self._readers[name] = ShardReader(
                    self._files, f"{self._folder}/{name}", each.shape, np.dtype(each.dtype), each.rows, size
                )
            return self._readers[name]

    def _own(self, name: str) -> ShardReader:
        return self._array(f"{self._about.folder}/{name}")

    def _rows(self, start: int, stop: int) -> np.ndarray:
        return self._array(self._about.folder).read(start, stop)

    def _values(self, start: int, stop: int) -> list[np.ndarray]:
        """Values of samples start to stop - 1, each flat."""
        values = self._own("values")
        ends = self._own("offsets").read(start, stop + 1)
        if ends[0] < 0 or (np.diff(ends) < 0).any() or ends[-1] > len(values):
            raise StoreError(f"samples {start} to {stop} lie outside of its {len(values)} values")
        found = values.read(int(ends[0]), int(ends[-1]))
        return [found[low:high] for low, high in zip(ends[:-1] - ends[0], ends[1:] - ends[0], strict=True)]

    def _ragged(self, start: int, stop: int) -> list[Value]:
        shapes = self._own("shapes").read(start, stop)
        out: list[Value] = []
        for flat, shape in zip(self._values(start, stop), shapes.tolist(), strict=True):
            try:
                out.append(flat.reshape([size for size in shape if size >= 0]))
            except ValueError as error:
                raise StoreError(f"{len(flat)} values for a sample of shape {shape}") from error
        return out

    def _blobs(self, made: Callable[[int, bytes], Any], start: int, stop: int) -> list[Value]:
        return [made(index, blob.tobytes()) for index, blob in enumerate(self._values(start, stop), start)]

    def _picture(self, index: int, payload: bytes) -> np.ndarray:
        return decode_still(payload, f"{self._where}, sample {index}")

    def _coded(self, start: int, stop: int) -> list[Value]:
        with self._lock:
            if self._decoder is None:
                since_key = self._own("since_key").read(0, self._about.count)
                grey = len(self._about.stream.shape) == 2
                self._decoder = CodedVideo(self._about.media, self._payload, since_key, grey=grey)
        return [self._decoder.frame(index) for index in range(start, stop)]

    def _frames(self, start: int, stop: int) -> np.ndarray:
        about = self._about.clip
        assert about is not None
        with self._lock:
            video, file = self._film = self._film or self._open_video()
            try:
                frames = video.read_range(about.first + start, about.first + stop)
            finally:
                if file.broken:  # frames behind the fault may lean on what could not be read
                    self._close()
                    raise ShardError(file.broken)
        return frames

    def _open_video(self) -> tuple[Video, CheckedFile]:
        about = self._about.clip
        assert about is not None
        name = f"{self._about.folder}/{about.file}"
        tables = [self._own(each) for each in ("frames", "packets", "blocks")]
        frames, packets, blocks = (table.read(0, len(table)) for table in tables)
        more = {what: getattr(about, what) for what in ("size", "rate_hz", "rotation", "codec", "colours")}
        index = index_of(frames, packets, **more)
        last = about.first + self._about.count
        if about.first < 0 or last > len(index.stamps):
            raise StoreError(f"{len(index.stamps)} frames, needed are {about.first} to {last}")
        size, _ = self._header.files.get(name, (0, 0))
        file = CheckedFile(self._files, f"{self._folder}/{name}", size, blocks)
        try:
            return Video(io.BufferedReader(file, BLOCK), index=index), file
        except SourceError as error:
            raise ShardError(file.broken or str(error)) from error

    def _close(self) -> None:
        if self._film is not None:
            self._film[0].close()
            self._film = None

    def _encoded(self) -> Encoded | None:
        if self._about.form == "stills":
            return Stills(self._payload)
        if self._about.form == "packets":
            since_key = self.guarded(lambda: self._own("since_key").read(0, self._about.count))
            return Packets(self._about.media, self._payload, since_key, len(self._about.stream.shape) == 2)
        about = self._about.clip
        if about is not None and isinstance(self._files, LocalFiles):
            return Clip(self._files.folder / self._folder / self._about.folder / about.file, 0, about.first)
        return None

    def _payload(self, index: int) -> bytes:
        return self.guarded(lambda: self._values(index, index + 1)[0].tobytes())
