"""NumPy archives: demonstrations (DAPG), hand joints for retargeting, and other tables; never pickled objects.

Reads are thread-safe: an array is read when its recording is opened, checked against its length in the archive first.
Shape letters: n = steps.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from foreact.episodes.outcome import JSON
from foreact.episodes.sources.parts import Part, PartsSource, Recordings, array_part
from foreact.episodes.sources.protocol import Source, SourceError, Stream
from foreact.episodes.sources.steps import Steps, column_kind, column_name, distinct, natural, numbered, timed

__all__ = ["open_collection"]

MAX_ARRAY = 1 << 31  # bytes
FEW = 256  # numbers of a constant that metadata may hold
RATE = "fps"
VIDEO = (".mp4", ".mov", ".mkv", ".avi", ".webm")
LANDMARKS = (21, 3)
CONSTANTS = "init_state_dict"
BROKEN = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError)


def open_collection(path: Path) -> Recordings:
    """Open an archive, or every archive in a folder. Arrays named `00/actions`, `01/actions` are recordings 00, 01.

    Raises:
        SourceError: None there, or damaged.
    """
    path = Path(path)
    files = [path] if path.is_file() else sorted(path.glob("*.npz"), key=lambda file: natural(file.name))
    openers: dict[str, Callable[[], Source]] = {}
    notes: list[str] = []
    for file in files:
        try:
            groups = _groups(file)
        except SourceError as error:
            if len(files) == 1:
                raise
            notes.append(str(error))
            continue
        for group, names in groups.items():
            key = ".".join(part for part in (file.stem if len(files) > 1 or not group else "", group) if part)
            openers[key] = partial(_open_group, key, file, group, names)
    videos = [file.name for file in sorted(path.glob("*")) if file.suffix.lower() in VIDEO]
    if videos:
        notes.append(f"no part of the archives: {', '.join(videos[:3])} beside them; open it by its own path")
    if not openers:
        raise SourceError(f"{path}: no archive that can be read. {'; '.join(notes)}")
    return Recordings(path, "npz", openers, tuple(notes))


def _groups(file: Path) -> dict[str, list[str]]:
    """Names of arrays by what stands before the first slash."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except BROKEN as error:
        raise SourceError(f"{file} is not a NumPy archive: {error}") from error
    if not names or len(set(names)) < len(names):
        raise SourceError(f"{file} holds no arrays, or two of one name")
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.partition("/")[0] if "/" in name else "", []).append(name)
    return dict(sorted(found.items(), key=lambda item: natural(item[0])))


def _open_group(key: str, file: Path, group: str, names: list[str]) -> PartsSource:
    try:
        with zipfile.ZipFile(file) as archive:
            found = {name.removeprefix(f"{group}/"): _read(archive, f"{name}.npy", file) for name in names}
    except BROKEN as error:
        raise error if isinstance(error, SourceError) else SourceError(f"{file} is damaged: {error}") from error
    tables = {name: values for name, values in found.items() if values.ndim and not name.startswith(f"{CONSTANTS}/")}
    count = _length(tables)
    if not count:
        raise SourceError(f"{file}: {key} has no array with steps; it has {', '.join(found)}")
    steps = timed(found[RATE][()], RATE) if RATE in found and not found[RATE].ndim else numbered()
    notes = list(steps.notes)
    metadata: dict[str, JSON] = {}
    parts: list[tuple[str, Part]] = []
    for name, values in found.items():
        if name in tables and len(values) == count and values.dtype.kind in "biuf":
            parts.append((name, _part(name, values, steps, file)))
        elif values.size <= FEW and values.dtype.kind in "biufU" and _finite(values):
            metadata[name] = values.tolist()
        else:
            notes.append(f"{name} is left out: {values.dtype} {values.shape}, not of {count} steps")
    if any(part.stream.kind == "hand" for _, part in parts):
        notes.append("the side of the hand is taken from the name of the file or array, where it says one")
    return PartsSource(key, distinct(parts), metadata=metadata, notes=notes)


def _length(tables: dict[str, np.ndarray]) -> int:
    """Steps: of the actions where there are any, otherwise the length that most arrays share."""
    for name in ("actions", "action", "joints"):
        if name in tables:
            return len(tables[name])
    lengths = [len(values) for values in tables.values()]
    return max(lengths, key=lambda length: (lengths.count(length), length), default=0)


def _finite(values: np.ndarray) -> bool:
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def _part(name: str, values: np.ndarray, steps: Steps, file: Path) -> Part:
    shape = values.shape[1:]
    if shape == LANDMARKS and values.dtype.kind == "f":
        side = next((side for side in ("left", "right") if side in f"{file.stem}/{name}".lower()), "")
        stream = _hand(f"hand.{side}.landmarks" if side else f"hand.{name}", values, steps)
        return array_part(stream, steps.stamps(len(values)), values)
    kind = column_kind(name, values.dtype, shape)
    if kind in ("image", "depth") and values.ndim == 4 and values.shape[3] == 1:
        values, shape = values[..., 0], shape[:2]
    stream = Stream(column_name(name, kind), kind, shape, values.dtype.name, clock=steps.clock, rate_hz=steps.rate_hz)
    return array_part(stream, steps.stamps(len(values)), values)


def _hand(name: str, values: np.ndarray, steps: Steps) -> Stream:
    return Stream(
        name=name,
        kind="hand",
        shape=LANDMARKS,
        dtype=values.dtype.name,
        unit="m",
        clock=steps.clock,
        rate_hz=steps.rate_hz,
        description="wrist, then four of each finger from thumb to little finger",
    )


def _read(archive: zipfile.ZipFile, name: str, file: Path) -> np.ndarray:
    """One array; its header is held against its length in the archive before memory is taken."""
    where = f"{file}: {name}"
    try:
        info = archive.getinfo(name)
        if info.file_size > MAX_ARRAY:
            raise SourceError(f"{where} says it has {info.file_size} bytes; {MAX_ARRAY} are the most that are read")
        with archive.open(info) as stream:
            version = np.lib.format.read_magic(stream)
            headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, fortran, dtype = headers[version](stream)
            if dtype.hasobject:
                raise SourceError(f"{where} holds Python objects, which are not read")
            data = stream.read(info.file_size + 1)
    except KeyError as error:
        raise SourceError(f"{where} is of a version of the format that is not read: {error}") from error
    except SourceError:
        raise
    except BROKEN as error:
        raise SourceError(f"{where} is damaged: {error}") from error
    return _array(data, shape, fortran, dtype, where)


def _array(data: bytes, shape: tuple[int, ...], fortran: bool, dtype: np.dtype, where: str) -> np.ndarray:
    count = 1
    for size in shape:
        count *= size
    if dtype.itemsize * count != len(data) or min(shape, default=1) < 0 or dtype.itemsize == 0:
        raise SourceError(f"{where} says {dtype} {shape}, it has {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
