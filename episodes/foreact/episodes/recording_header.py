"""What is known of a stored recording without reading its samples: `zarr.json` of its folder.

Shape letters: n = samples of a stream.
"""

from __future__ import annotations

import dataclasses
import math
import re
import zlib
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from foreact.episodes import arrays, strictjson
from foreact.episodes.arrays import StoreError
from foreact.episodes.outcome import JSON
from foreact.episodes.remote import Files
from foreact.episodes.shard_writer import DTYPES, shard_name
from foreact.episodes.sources.protocol import Stream

__all__ = ["ArrayHeader", "ClipHeader", "Form", "RecordingHeader", "StreamHeader", "checksum", "parse_group"]

Form = Literal["rows", "ragged", "text", "bytes", "stills", "packets", "clip"]
"""How the samples of a stream lie.

rows: one array (n, ...). ragged: `values` one after the other, `offsets` (n + 1,) [elements], `shapes` (n, axes), -1
where a sample has fewer axes. text, bytes: `values` (UTF-8 or as they are), `offsets` (n + 1,) [B]. stills: the same,
each a JPEG or PNG file. packets: the same, each a coded frame of a video, and `since_key` (n,), how many samples before
it its key frame lies. clip: `clip.mp4` or `clip.mkv`, its `frames` and `packets`, and crc32c
of its `blocks`.
"""
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
LARGEST = 1 << 31  # bytes of a chunk: what a header may ask for at most


@dataclass(frozen=True)
class ArrayHeader:
    """An array of numbers: its type, shape (n, ...), and samples of a chunk."""

    dtype: str
    shape: tuple[int, ...]
    rows: int


@dataclass(frozen=True)
class ClipHeader:
    """A video: its file, the frame that is sample 0, size (H, W) [px], mean rate [Hz], turn asked for [degree]."""

    file: str
    first: int
    size: tuple[int, int]
    rate_hz: float | None
    rotation: int
    codec: str
    colours: str


@dataclass(frozen=True)
class StreamHeader:
    """A stream and how it lies.

    Attributes:
        stream: What it is.
        count: n.
        stamps: The array of its stamps [ns].
        form: How its samples lie.
        folder: Where.
        media: Media type of stills, codec of packets.
        clip: Of a clip.
        reencoded: Why pictures that lay packed in the recording were packed anew; empty if they were not.
    """

    stream: Stream
    count: int
    stamps: str
    form: Form
    folder: str
    media: str
    clip: ClipHeader | None
    reencoded: str


@dataclass(frozen=True)
class RecordingHeader:
    """A recording; `arrays` by folder, `files` maps each file to (bytes, crc32)."""

    key: str
    task: str
    metadata: dict[str, JSON]
    notes: tuple[str, ...]
    streams: tuple[StreamHeader, ...]
    arrays: dict[str, ArrayHeader]
    files: dict[str, tuple[int, int]]

    @property
    def nbytes(self) -> int:
        """Bytes on disk, without the header itself."""
        return sum(size for size, _ in self.files.values())

    @property
    def checksum(self) -> int:
        """crc32 of all that it says.

        Raises:
            StrictJsonError: It says what JSON does not hold.
        """
        return checksum(dataclasses.asdict(self))

    def write(self, folder: Path) -> None:
        """Write it into the recording's folder.

        Raises:
            StoreError: What is said of the recording cannot be written, such as NaN.
        """
        content = dataclasses.asdict(self)
        try:
            arrays.write_group(folder, {"recording": content, "checksum": checksum(content)})
        except strictjson.StrictJsonError as error:
            raise StoreError(f"recording {self.key}: what is said of it {error}") from error

    @classmethod
    def read(cls, files: Files, folder: str) -> RecordingHeader:
        """Read and check it.

        Raises:
            StoreError: Missing, truncated, altered, or says what cannot be.
        """
        where = f"{files.name}/{folder}/{arrays.HEADER}"
        attributes = parse_group(files, f"{folder}/{arrays.HEADER}")
        if set(attributes) != {"recording", "checksum"}:
            raise StoreError(f"{where} is not the header of a recording; it holds {sorted(attributes)}")
        if attributes["checksum"] != checksum(attributes["recording"]):
            raise StoreError(f"{where} was altered: its checksum does not match")
        try:
            header = strictjson.decode(cls, attributes["recording"], "recording")
            header._check()
        except (strictjson.StrictJsonError, StoreError) as error:
            raise StoreError(f"{where}: {error}") from error
        return header

    def _check(self) -> None:
        for name, each in self.arrays.items():
            _check_array(name, each)
            if math.prod(each.shape) and f"{name}/{shard_name(len(each.shape))}" not in self.files:
                raise StoreError(f"the array {name} has no file")
        for name, (size, _) in self.files.items():
            if not all(WORD.fullmatch(part) for part in name.split("/")) or size < 0:
                raise StoreError(f"{name!r} of {size} bytes is no file of a recording")
        for each in self.streams:
            _check_stream(each, self.arrays, self.files)


def _check_array(name: str, each: ArrayHeader) -> None:
    whole = each.dtype in DTYPES and each.shape and min(each.shape) >= 0 and each.rows > 0
    if not whole or each.rows * math.prod(each.shape[1:]) * 8 > LARGEST:
        raise StoreError(f"the array {name} is {each.dtype} {each.shape} in chunks of {each.rows}")


def _check_stream(each: StreamHeader, known: dict[str, ArrayHeader], files: Container[str]) -> None:
    ends = (each.count + 1,)
    more: dict[str, dict[str, tuple[int, ...] | None]] = {
        "rows": {"": None},
        "ragged": {"/values": None, "/offsets": ends, "/shapes": None},
        "clip": {"/frames": None, "/packets": None, "/blocks": None},
        "packets": {"/values": None, "/offsets": ends, "/since_key": (each.count,)},
    }
    needed = {each.stamps: (each.count,)} | {
        each.folder + name: shape for name, shape in more.get(each.form, {"/values": None, "/offsets": ends}).items()
    }
    for name, shape in needed.items():
        if name not in known or shape not in (None, known[name].shape):
            raise StoreError(f"stream {each.stream.name} has no array {name} that fits {each.count} samples")
    types = {each.stamps: "int64", f"{each.folder}/offsets": "int64"}
    if each.form not in ("ragged", "rows"):
        types[f"{each.folder}/values"] = "uint8"
    if odd := [name for name, dtype in types.items() if name in known and known[name].dtype != dtype]:
        raise StoreError(f"the array {odd[0]} is {known[odd[0]].dtype}, which it cannot be")
    if each.form == "rows" and known[each.folder].shape[0] != each.count:
        raise StoreError(f"stream {each.stream.name} has {each.count} stamps for {known[each.folder].shape[0]} samples")
    if (each.form == "clip") != (each.clip is not None):
        raise StoreError(f"stream {each.stream.name} does not say which frames it has")
    if each.clip is not None and f"{each.folder}/{each.clip.file}" not in files:
        raise StoreError(f"stream {each.stream.name} has no file {each.clip.file}")


def parse_group(files: Files, file: str) -> dict[str, Any]:
    """Attributes of a Zarr 3 group.

    Args:
        files: The store.
        file: Its `zarr.json`.

    Raises:
        StoreError: Missing, or cannot be parsed.
    """
    where = f"{files.name}/{file}"
    try:
        content = strictjson.loads(files.read(file).decode())
    except FileNotFoundError:
        raise StoreError(f"{where} is missing") from None
    except OSError as error:
        raise StoreError(f"{where} cannot be read: {error}") from error
    except (strictjson.StrictJsonError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"{where} is truncated or damaged: {error}") from error
    if not isinstance(content, dict) or content.get("zarr_format") != 3 or content.get("node_type") != "group":
        raise StoreError(f"{where} is not the metadata of a Zarr 3 group")
    attributes = content.get("attributes", {})
    return attributes if isinstance(attributes, dict) else {}


def checksum(content: Any) -> int:
    """crc32 of what a JSON value says, however it is written.

    Raises:
        StrictJsonError: It holds NaN, an infinity, or what is no JSON.
    """
    return zlib.crc32(strictjson.canonical(content).encode())
