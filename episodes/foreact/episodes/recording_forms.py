"""How the samples of a stream are written: the first form that takes all of them.

Shape letters: n = samples of the stream.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes import arrays
from foreact.episodes.checked_file import block_checksums
from foreact.episodes.clip import cut_clip
from foreact.episodes.recording_header import ClipHeader, Form, StreamHeader
from foreact.episodes.shard_writer import CHUNK, DTYPES, ShardWriter
from foreact.episodes.sources.encoded import Clip, Packets, Stills
from foreact.episodes.sources.protocol import Source, SourceError, Value
from foreact.episodes.sources.stills import media_type

__all__ = ["UnfitError", "write_array", "write_stream"]

BATCH = 1 << 22  # bytes read at once
MOST_SAMPLES = 4096  # read at once
PICTURES = ("image", "depth", "segmentation")
PNG_LEVEL = 3


class UnfitError(ValueError):
    """A form that cannot hold what the stream has; the message says why."""


def write_stream(source: Source, name: str, stamps: str, folder: Path, *, packed: bool) -> StreamHeader:
    """Write the samples of a stream.

    Args:
        source: The recording.
        name: Of the stream.
        stamps: Folder of the array of its stamps.
        folder: Where to write; must not exist.
        packed: Whether to copy its pictures as they lie packed in the recording.

    Raises:
        UnfitError: `packed`, and they cannot be copied so.
        SourceError: The recording is damaged, or has samples that no form holds.
    """
    stream, encoded = source.streams[name], source.encoded(name)
    forms: list[Callable[[Source, str, Path], tuple[Form, str, ClipHeader | None]]]
    if packed:
        forms = [_clip if isinstance(encoded, Clip) else _packets if isinstance(encoded, Packets) else _stills]
    elif stream.dtype in ("str", "bytes"):
        forms = [_texts if stream.dtype == "str" else _bytes]
    else:
        forms = [_rows] if None not in stream.shape else []
        forms = [*([_pngs] if stream.kind in PICTURES else []), *forms, _ragged]
    for place, write in enumerate(forms, 1):
        try:
            form, media, clip = write(source, name, folder)
        except UnfitError as error:
            shutil.rmtree(folder, ignore_errors=True)
            if packed:
                raise
            if place == len(forms):
                raise SourceError(f"{source.key}: stream {name}: {error}") from error
        else:
            return StreamHeader(stream, len(source.stamps(name)), stamps, form, folder.name, media, clip, "")
    raise AssertionError("no form")


def write_array(folder: Path, values: np.ndarray) -> None:
    """Write an array that lies in memory, (n, ...)."""
    writer = ShardWriter(folder, values.dtype, values.shape[1:])
    writer.append(values)
    writer.finish()


def _batches(source: Source, name: str) -> Iterator[list[Value] | np.ndarray]:
    """All samples in order, so many at once as fit into `BATCH` bytes."""
    count, start = len(source.stamps(name)), 0
    size = _size(source.read(name, 0)) if count else 0
    while start < count:
        stop = min(count, start + max(1, min(MOST_SAMPLES, BATCH // max(1, size))))
        values = source.read_range(name, start, stop)
        if len(values) != stop - start:
            raise SourceError(f"{source.key}: stream {name} gives {len(values)} samples of {stop - start}")
        size = max(size, *map(_size, values)) if isinstance(values, list) else size
        yield values
        start = stop


def _samples(source: Source, name: str) -> Iterator[Value]:
    return (value for values in _batches(source, name) for value in values)


def _size(value: Value) -> int:
    return value.nbytes if isinstance(value, np.ndarray | np.generic) else len(value)


def _dtype(source: Source, name: str) -> np.dtype[Any]:
    said = source.streams[name].dtype
    try:
        dtype = np.dtype(said)
    except TypeError:
        raise UnfitError(f"{said!r} is no type of numbers") from None
    if dtype.name not in DTYPES:
        raise UnfitError(f"numbers of type {dtype} cannot be stored")
    return dtype.newbyteorder("=")


def _array(value: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """A sample, or several of one shape, as an array of the type of the stream."""
    if isinstance(value, str | bytes):
        raise UnfitError(f"a sample is {type(value).__name__}, the stream says {dtype}")
    array = np.asarray(value)
    if array.dtype.newbyteorder("=") != dtype:
        raise UnfitError(f"a sample is {array.dtype}, the stream says {dtype}")
    return array


def _numbers(source: Source, name: str) -> Iterator[np.ndarray]:
    dtype = _dtype(source, name)
    return (_array(value, dtype) for value in _samples(source, name))


def _rows(source: Source, name: str, folder: Path) -> tuple[Form, str, None]:
    dtype = _dtype(source, name)
    shape = tuple(size or 0 for size in source.streams[name].shape)
    writer: ShardWriter | None = None
    try:
        for values in _batches(source, name):
            samples = (
                [_array(value, dtype) for value in values] if isinstance(values, list) else [_array(values, dtype)]
            )
            shapes = {each.shape if isinstance(values, list) else each.shape[1:] for each in samples}
            if len(shapes) > 1 or (writer is not None and shapes != {shape}):
                raise UnfitError(f"samples of shapes {', '.join(map(str, sorted({shape, *shapes})))}")
            (shape,) = shapes
            writer = ShardWriter(folder, dtype, shape) if writer is None else writer
            writer.append(np.stack(samples) if isinstance(values, list) else samples[0])
        writer = ShardWriter(folder, dtype, shape) if writer is None else writer
        writer.finish()
    finally:
        if writer is not None:
            writer.close()
    return "rows", "", None


def _ragged(source: Source, name: str, folder: Path) -> tuple[Form, str, None]:
    shapes: list[tuple[int, ...]] = []

    def flat() -> Iterator[np.ndarray]:
        for array in _numbers(source, name):
            shapes.append(array.shape)
            yield array.reshape(-1)

    _values(folder, _dtype(source, name), flat())
    axes = max(map(len, shapes), default=0)
    padded = [[*shape, *[-1] * (axes - len(shape))] for shape in shapes]
    write_array(folder / "shapes", np.array(padded, np.int64).reshape(len(shapes), axes))
    return "ragged", "", None


def _texts(source: Source, name: str, folder: Path) -> tuple[Form, str, None]:
    _blobs(folder, (_of(str, value).encode("utf-8", "surrogatepass") for value in _samples(source, name)))
    return "text", "", None


def _bytes(source: Source, name: str, folder: Path) -> tuple[Form, str, None]:
    _blobs(folder, (_of(bytes, value) for value in _samples(source, name)))
    return "bytes", "", None


def _of[T](kind: type[T], value: Any) -> T:
    if not isinstance(value, kind):
        raise UnfitError(f"a sample is {type(value).__name__}, the stream says {kind.__name__}")
    return value


def _stills(source: Source, name: str, folder: Path) -> tuple[Form, str, None]:
    encoded = source.encoded(name)
    assert isinstance(encoded, Stills)
    media = media_type(encoded.read(0))
    if not media:
        raise UnfitError("its pictures are neither JPEG nor PNG")
    _blobs(folder, (encoded.read(index) for index in range(len(source.stamps(name)))))
    return "stills", media, None


def _packets(source: Source, name: str, folder: Path) -> tuple[Form, str, None]:
    encoded = source.encoded(name)
    assert isinstance(encoded, Packets)
    if encoded.grey != (len(source.streams[name].shape) == 2):
        raise UnfitError("its pictures are grey and its stream is not, or the other way round")
    _blobs(folder, (encoded.read(index) for index in range(len(source.stamps(name)))))
    write_array(folder / "since_key", encoded.since_key.astype(np.int64))
    return "packets", encoded.codec, None


def _pngs(source: Source, name: str, folder: Path) -> tuple[Form, str, None]:
    _blobs(folder, (_png(array) for array in _numbers(source, name)))
    return "stills", "image/png", None


def _png(array: np.ndarray) -> bytes:
    flat = array.ndim == 2 and array.dtype in (np.uint8, np.uint16)
    if not (flat or (array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8)) or not array.size:
        raise UnfitError(f"PNG does not hold {array.dtype} {array.shape}")
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(out, "png", compress_level=PNG_LEVEL)
    return out.getvalue()


def _clip(source: Source, name: str, folder: Path) -> tuple[Form, str, ClipHeader]:
    encoded = source.encoded(name)
    assert isinstance(encoded, Clip)
    count = len(source.stamps(name))
    if not count:
        raise UnfitError("no frames")
    cut = cut_clip(encoded, count, folder)
    arrays.write_group(folder, {})
    write_array(folder / "frames", cut.frames)
    write_array(folder / "packets", cut.packets)
    write_array(folder / "blocks", block_checksums(folder / cut.about.file))
    return "clip", "", cut.about


def _blobs(folder: Path, blobs: Iterator[bytes]) -> None:
    _values(folder, np.dtype(np.uint8), (np.frombuffer(blob, np.uint8) for blob in blobs))


def _values(folder: Path, dtype: np.dtype[Any], samples: Iterator[np.ndarray]) -> None:
    """`values` and `offsets` of flat samples."""
    folder.mkdir()
    arrays.write_group(folder, {})
    writer = ShardWriter(folder / "values", dtype, ())
    ends, held, size = [0], list[np.ndarray](), 0
    try:
        for flat in samples:
            ends.append(ends[-1] + len(flat))
            held.append(flat)
            size += flat.nbytes
            if size >= CHUNK:
                writer.append(np.concatenate(held))
                held.clear()
                size = 0
        if held:
            writer.append(np.concatenate(held))
        writer.finish()
    finally:
        writer.close()
    write_array(folder / "offsets", np.array(ends, np.int64))
