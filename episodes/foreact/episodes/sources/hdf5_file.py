"""HDF5 files of others, read with care: hard links only, no objects, no other files, every length bounded first.

Shape letters: n = steps.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes.outcome import JSON
from foreact.episodes.sources.protocol import SourceError
from foreact.episodes.sources.steps import MAX_STEPS

__all__ = ["Hdf5", "needs_h5py"]

MAX_CHUNK = 1 << 29  # bytes that the library takes to undo one chunk's compression
MAX_TEXT = 1 << 20  # bytes of an attribute
MAX_MEMBERS = 100_000  # of one group
FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 4: "szip", 6: "scaleoffset", 32000: "lzf"}


def needs_h5py() -> Any:
    """The package h5py, or an error that says what to type."""
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("reading HDF5 needs h5py: pip install 'foreact[data]'", name="h5py") from error
    return h5py


class Hdf5:
    """One open file. h5py lets one thread in at a time, so any may read.

    Args:
        path: Of the file.

    Raises:
        SourceError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.notes = path, list[str]()
        self._h5py = needs_h5py()
        try:
            self._file = self._h5py.File(path, "r", locking="best-effort")
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise SourceError(f"{path} cannot be opened as HDF5: {error}") from error

    def close(self) -> None:
        """Let go of the file."""
        try:
            self._file.close()
        except (OSError, RuntimeError, ValueError) as error:
            raise SourceError(f"{self.path} cannot be closed: {error}") from error

    def groups(self, path: str) -> dict[str, str]:
        """Groups in a group: full path by name, in the order of the file; empty if it is not there."""
        return {name: f"{path}/{name}" for name, each in self._members(path) if isinstance(each, self._h5py.Group)}

    def tables(self, path: str, *, deep: bool = False) -> dict[str, Any]:
        """Numeric data sets in a group that can be read, by name; those left out are noted.

        Args:
            path: Of the group; it may be missing.
            deep: Also those of the groups in it, as `group/name`, eight deep.
        """
        found: dict[str, Any] = {}
        todo = [("", path, 0)]
        while todo:
            prefix, where, depth = todo.pop(0)
            for name, each in self._members(where):
                if isinstance(each, self._h5py.Dataset):
                    reason = self._unreadable(each)
                    if reason:
                        self.notes.append(f"{where.strip('/')}/{name} is left out: {reason}")
                    else:
                        found[f"{prefix}{name}"] = each
                elif deep and depth < 8 and isinstance(each, self._h5py.Group):
                    todo.append((f"{prefix}{name}/", f"{where}/{name}", depth + 1))
        return found

    def attribute(self, path: str, name: str) -> JSON:
        """An attribute as JSON: a text, a number, or a list of them; None if it is not there or something else."""
        try:
            attributes: Any = self._file[path].attrs if path in self._file else {}
            if name not in attributes or not self._plain(attributes.get_id(name)):
                return None
            value = attributes[name]
        except Exception as error:  # damaged attributes: the library raises what it likes
            self.notes.append(f"attribute {name} of {path or '/'} cannot be read: {error}")
            return None
        if isinstance(value, bytes | np.bytes_):
            value = value.decode(errors="replace")
        if isinstance(value, str):
            return str(value) if len(value) <= MAX_TEXT else None
        if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf" and np.isfinite(value).all():
            return value.tolist()
        if isinstance(value, np.ndarray) and value.dtype.kind == "O" and all(isinstance(v, str) for v in value.flat):
            return [str(each) for each in value.flat]
        return None

    def attributes(self, path: str) -> dict[str, JSON]:
        """Every attribute of a group that `attribute` can give."""
        try:
            names = list(self._file[path].attrs)[:1000]
        except Exception as error:
            self.notes.append(f"attributes of {path or '/'} cannot be listed: {error}")
            return {}
        values = {str(name): self.attribute(path, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def whole(self, table: Any, most: int = 1 << 28) -> np.ndarray:
        """A data set at once.

        Raises:
            SourceError: Damaged, or more than `most` bytes.
        """
        size = math.prod(table.shape) * table.dtype.itemsize
        if size > most:
            raise SourceError(f"{self.path}: {table.name} has {size} bytes; {most} are the most that are read at once")
        try:
            return table[()]
        except Exception as error:
            raise SourceError(f"{self.path}: {table.name} cannot be read: {error}") from error

    def _plain(self, attribute: Any) -> bool:
        """Whether an attribute holds texts or numbers; the library can crash on a damaged one of another type."""
        types = self._h5py.h5t
        kind = attribute.get_type().get_class()
        return kind in (types.STRING, types.INTEGER, types.FLOAT, types.ENUM) and (
            attribute.get_storage_size() <= MAX_TEXT
        )

    def _members(self, path: str) -> list[tuple[str, Any]]:
        """What a group holds by hard links; a group that is not there holds nothing."""
        found: list[tuple[str, Any]] = []
        try:
            group = self._file[path] if path else self._file
            if not isinstance(group, self._h5py.Group) or len(group) > MAX_MEMBERS:
                return []
            for name in group:
                found += self._member(group, path, name)
        except Exception as error:  # damaged groups: the library raises what it likes
            if "doesn't exist" not in str(error):
                self.notes.append(f"{path or '/'} is damaged: {error}")
        return found

    def _member(self, group: Any, path: str, name: str) -> list[tuple[str, Any]]:
        try:
            if isinstance(group.get(name, getlink=True), self._h5py.HardLink):
                return [(name, group[name])]
            self.notes.append(f"{path.strip('/')}/{name} is left out: a soft or external link")
        except Exception as error:
            self.notes.append(f"{path.strip('/')}/{name} is left out: damaged: {error}")
        return []

    def _unreadable(self, table: Any) -> str:
        try:
            return self._reason(table)
        except Exception as error:
            return f"damaged: {error}"

    def _reason(self, table: Any) -> str:
        if table.shape is None or table.dtype.kind not in "biuf":
            return f"values of type {table.dtype} are not read"
        if table.external or table.is_virtual:
            return "its values lie in other files"
        if len(table.shape) and table.shape[0] > MAX_STEPS:
            return f"{table.shape[0]} steps; {MAX_STEPS} are the most that are read"
        plist = table.id.get_create_plist()
        filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
        if not set(filters) <= set(FILTERS):
            return f"compressed by filter {next(each for each in filters if each not in FILTERS)}, which is not read"
        if table.size and not table.id.get_storage_size():
            return "it was never written"
        return self._chunks(table) if table.chunks else ""

    def _chunks(self, table: Any) -> str:
        if math.prod(table.chunks) * table.dtype.itemsize > MAX_CHUNK:
            return f"chunks of {table.chunks} {table.dtype}"
        due = math.prod(-(-size // chunk) for size, chunk in zip(table.shape, table.chunks, strict=True))
        written = table.id.get_num_chunks()
        return f"{due - written} of {due} chunks were never written" if written < due else ""
