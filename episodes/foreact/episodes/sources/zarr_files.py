"""Zarr folders and zip files of others, read with care: known codecs only, every length bounded, lost chunks counted.

Formats 2 and 3 are read by the package zarr once their metadata has been looked through here: a codec of a hostile
file could otherwise be one that builds Python objects.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.outcome import JSON
from foreact.episodes.sources.protocol import SourceError

__all__ = ["ZarrFiles", "ZarrTable"]

MAX_JSON = 1 << 24  # bytes
MAX_CHUNK = 1 << 30  # bytes, whole or of a file in a zip
METADATA = (".zarray", ".zattrs", ".zgroup", "zarr.json", ".zmetadata")
PICTURES = ("imagecodecs_jpegxl", "imagecodecs_jpeg2k", "imagecodecs_jpeg", "imagecodecs_png")
CODECS_2 = {"blosc", "zstd", "zlib", "gzip", "lz4", "bz2", "lzma", "delta", "shuffle", *PICTURES}
CODECS_3 = {"bytes", "transpose", "blosc", "zstd", "gzip", "crc32c", "sharding_indexed", "vlen-bytes", "vlen-utf8"}
TYPES_3 = {
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    "float16",
    "float32",
    "float64",
}
BYTES_3 = {"variable_length_bytes", "bytes", "string"}
NEEDS_CODECS = "reading these pictures needs imagecodecs: pip install 'foreact[data]'"


@dataclass(frozen=True)
class ZarrTable:
    """An array that can be read.

    Attributes:
        rows: The array of the package zarr: shape, dtype, `[i]`.
        absent: Chunks that have no file: they read as the fill value.
        chunks: In all.
        blobs: Whether an element is a byte string or text of its own length.
    """

    rows: Any
    absent: int
    chunks: int
    blobs: bool

    @property
    def count(self) -> int:
        """Rows: the length of the first axis."""
        return self.rows.shape[0]


class ZarrFiles:
    """A Zarr group in a folder or a zip file. Threads may share it.

    Args:
        path: A folder, or a zip file that holds one.

    Raises:
        SourceError: Not a zip file, damaged, or with an entry of more than 1 GiB.
    """

    def __init__(self, path: Path) -> None:
        import zarr.storage

        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._entries: frozenset[str] = frozenset()
        if path.is_dir():
            self.store: Any = zarr.storage.LocalStore(path, read_only=True)
            return
        try:
            self._zip = zipfile.ZipFile(path)
            infos = self._zip.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise SourceError(f"{path} is not a zip file: {error}") from error
        big = next((info.filename for info in infos if info.file_size > MAX_CHUNK), None)
        if big is not None:
            self.close()
            raise SourceError(f"{path}: {big} says it has more than {MAX_CHUNK} bytes")
        self._entries = frozenset(info.filename for info in infos)
        self.store = zarr.storage.ZipStore(path, mode="r", read_only=True)

    def close(self) -> None:
        """Let go of the file."""
        if self._zip is not None:
            self._zip.close()
            if hasattr(self, "store"):
                self.store.close()

    def arrays(self, group: str = "") -> list[str]:
        """Names of the arrays right in a group, sorted."""
        if self._zip is None:
            folder = self.path / group
            names = [each.name for each in folder.iterdir() if each.is_dir()] if folder.is_dir() else []
        else:
            prefix = f"{group}/" if group else ""
            inside = [entry.removeprefix(prefix) for entry in self._entries if entry.startswith(prefix)]
            names = list({entry.partition("/")[0] for entry in inside if "/" in entry})
        return sorted(name for name in names if self._is_array(f"{group}/{name}".strip("/")))

    def attributes(self, group: str = "") -> dict[str, JSON]:
        """Attributes of a group, of either format; empty if there are none.

        Raises:
            SourceError: They are damaged.
        """
        found = self._json(f"{group}/zarr.json".strip("/"))
        if isinstance(found, dict):
            found = found.get("attributes", {})
        else:
            found = self._json(f"{group}/.zattrs".strip("/"))
        return found if isinstance(found, dict) else {}

    def table(self, name: str) -> ZarrTable:
        """Open an array, by its path in the group.

        Raises:
            SourceError: Missing, damaged, too large, or of a type or codec that is not read.
            ModuleNotFoundError: Its pictures need a package that is not installed.
        """
        where = f"{self.path}: {name}"
        try:
            version, shape, chunks, blobs = self._described(name)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            text = (
                error if isinstance(error, SourceError) else f"its metadata is damaged: {type(error).__name__} {error}"
            )
            raise SourceError(f"{where}: {text}") from error
        due = math.prod(-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True))
        import zarr

        try:
            rows = zarr.open_array(store=self.store, path=name, mode="r", zarr_format=version)
            if tuple(rows.shape) != shape:
                raise ValueError(f"opened as {rows.shape}, not {shape}")
        except Exception as error:  # metadata of others: the library raises what it likes
            raise SourceError(f"{where} cannot be opened: {error}") from error
        return ZarrTable(rows, max(0, due - self._chunk_files(name)), due, blobs)

    def _is_array(self, name: str) -> bool:
        if self._exists(f"{name}/.zarray"):
            return True
        try:
            found = self._json(f"{name}/zarr.json")
        except SourceError:
            return True  # to be named when it is opened
        return isinstance(found, dict) and found.get("node_type") == "array"

    def _exists(self, name: str) -> bool:
        return name in self._entries if self._zip is not None else (self.path / name).is_file()

    def _json(self, name: str) -> Any:
        """A parsed file; None if it is not there."""
        if not self._exists(name):
            return None
        try:
            size = self._zip.getinfo(name).file_size if self._zip else (self.path / name).stat().st_size
            if size > MAX_JSON:
                raise SourceError(f"{self.path}: {name} has {size} bytes")
            data = self._zip.read(name) if self._zip else (self.path / name).read_bytes()
            return strictjson.loads(data.decode())
        except SourceError:
            raise
        except Exception as error:  # zip files and JSON of others
            raise SourceError(f"{self.path}: {name} is damaged: {error}") from error

    def _chunk_files(self, name: str) -> int:
        if self._zip is not None:
            inside = [entry for entry in self._entries if entry.startswith(f"{name}/") and not entry.endswith("/")]
            return sum(entry.rpartition("/")[2] not in METADATA for entry in inside)
        return sum(each.is_file() and each.name not in METADATA for each in (self.path / name).rglob("*"))

    def _described(self, name: str) -> tuple[Literal[2, 3], tuple[int, ...], tuple[int, ...], bool]:
        """Format, shape, shape of what a file holds, whether byte strings; refuses what could harm."""
        old = self._json(f"{name}/.zarray")
        about = old if isinstance(old, dict) else self._json(f"{name}/zarr.json")
        if not isinstance(about, dict):
            raise SourceError("there is no such array")
        shape = _sizes(about["shape"], least=0)
        if isinstance(old, dict):
            chunks, inner, blobs = _sizes(about["chunks"], least=1), None, False
            width = _checked_2(about)
        else:
            chunks = _sizes(about["chunk_grid"]["configuration"]["chunk_shape"], least=1)
            inner = _checked_3(about["codecs"])
            blobs = about["data_type"] in BYTES_3
            if not blobs and about["data_type"] not in TYPES_3:
                raise SourceError(f"values of {about['data_type']!r} are not read")
            width = 8 if blobs else np.dtype(about["data_type"]).itemsize
        if len(shape) != len(chunks) or not shape or math.prod(inner or chunks) * width > MAX_CHUNK:
            raise SourceError(f"shape {shape} in chunks of {inner or chunks}")
        return (2 if isinstance(old, dict) else 3), shape, chunks, blobs


def _sizes(found: Any, least: int) -> tuple[int, ...]:
    if not isinstance(found, list) or not all(type(size) is int and least <= size < 1 << 48 for size in found):
        raise SourceError(f"sizes of {found!r:.80}")
    return tuple(found)


def _checked_2(about: dict[str, Any]) -> int:
    """Bytes of an element of a format 2 array, its codecs known."""
    dtype = np.dtype(about["dtype"]) if isinstance(about["dtype"], str) else np.dtype(object)
    if dtype.kind not in "biuf":
        raise SourceError(f"values of {about['dtype']!r} are not read")
    for codec in [about["compressor"], *(about["filters"] or [])]:
        if codec is None:
            continue
        if codec["id"] not in CODECS_2:
            raise SourceError(f"compressed by {codec['id']!r}, which is not read")
        if codec["id"] in PICTURES:
            _register(codec["id"])
    return dtype.itemsize


def _checked_3(codecs: list[dict[str, Any]]) -> tuple[int, ...] | None:
    """Shape of the chunks within a shard, None without shards; its codecs known."""
    inner = None
    for codec in codecs:
        if codec["name"] not in CODECS_3:
            raise SourceError(f"compressed by {codec['name']!r}, which is not read")
        if codec["name"] == "sharding_indexed":
            within = codec["configuration"]
            inner = _sizes(within["chunk_shape"], least=1)
            if any(each["name"] == "sharding_indexed" for each in within["codecs"]):
                raise SourceError("shards within shards are not read")
            _checked_3([*within["codecs"], *within.get("index_codecs", [])])
    return inner


def _register(codec: str) -> None:
    try:
        from imagecodecs import numcodecs as pictures
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(NEEDS_CODECS, name="imagecodecs") from error
    pictures.register_codecs({codec}, verbose=False)
