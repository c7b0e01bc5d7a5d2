"""HDF5 recordings: robomimic and LIBERO, ALOHA/ACT, EgoDex; a file or a folder of them.

Reads are thread-safe.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from foreact.episodes.sources.hdf5_aloha import open_aloha
from foreact.episodes.sources.hdf5_demos import open_demo
from foreact.episodes.sources.hdf5_egodex import open_egodex
from foreact.episodes.sources.hdf5_file import Hdf5
from foreact.episodes.sources.hdf5_probe import look_first
from foreact.episodes.sources.parts import PartsSource, Recordings
from foreact.episodes.sources.protocol import Source, SourceError
from foreact.episodes.sources.steps import natural

__all__ = ["open_collection"]

PATTERNS = tuple(f"{depth}*{suffix}" for depth in ("", "*/", "*/*/") for suffix in (".hdf5", ".h5"))
SINGLE: dict[str, Callable[[str, Hdf5], PartsSource]] = {"ALOHA": open_aloha, "EgoDex": open_egodex}
KNOWN = "robomimic or LIBERO (data/demo_0), ALOHA (action, observations/qpos), EgoDex (transforms/camera)"


def open_collection(path: Path) -> Recordings:
    """Open a file, or the files in a folder and up to two folders below.

    In a folder the first file of each folder is looked into; where that is one recording, the others are taken to be so
    and looked into when they are opened.

    Raises:
        SourceError: No such file, all damaged, or of a layout that is not known.
    """
    path = Path(path)
    files = [path] if path.is_file() else sorted({f for pattern in PATTERNS for f in path.glob(pattern)}, key=_order)
    openers: dict[str, Callable[[], Source]] = {}
    notes: list[str] = []
    single: set[Path] = set()
    for file in files:
        prefix = "" if path.is_file() else ".".join(file.relative_to(path).with_suffix("").parts)
        if file.parent in single:
            openers[prefix] = partial(_open, file, prefix)
            continue
        try:
            found = _demos(file)
        except SourceError as error:
            if len(files) == 1:
                raise
            notes.append(str(error))
            continue
        if not found:
            single.add(file.parent)
            openers[prefix or file.stem] = partial(_open, file, prefix or file.stem)
        for demo in found:
            key = f"{prefix}.{demo}" if prefix else demo
            openers[key] = partial(_open, file, key, demo)
    if not openers:
        raise SourceError(f"{path}: no HDF5 file that can be read. {'; '.join(notes)}")
    return Recordings(path, "hdf5", openers, tuple(notes))


def _order(file: Path) -> tuple[tuple[tuple[int, int | str], ...], ...]:
    return tuple(natural(part) for part in file.parts)


def _demos(file: Path) -> list[str]:
    """Names of the demonstrations in a file of many; none if the file is one recording."""
    look_first(file)
    opened = Hdf5(file)
    try:
        demos = [name for name in opened.groups("data") if name.startswith("demo")]
        if not demos and not _layout(opened):
            raise _unknown(opened)
        return sorted(demos, key=natural)
    finally:
        opened.close()


def _layout(file: Hdf5) -> str:
    top = file.tables("")
    if "action" in top and "observations" in file.groups(""):
        return "ALOHA"
    return "EgoDex" if "transforms" in file.groups("") else ""


def _unknown(file: Hdf5) -> SourceError:
    has = [*file.groups(""), *file.tables("")][:8]
    notes = f" ({'; '.join(file.notes[:3])})" if file.notes else ""
    return SourceError(f"{file.path} has none of the layouts that are known: {KNOWN}. It has {has}{notes}")


def _open(path: Path, key: str, demo: str = "") -> PartsSource:
    look_first(path, demo)
    file = Hdf5(path)
    try:
        if demo:
            return open_demo(key, file, demo)
        layout = _layout(file)
        if layout not in SINGLE:
            raise _unknown(file)
        return SINGLE[layout](key, file)
    except BaseException:
        file.close()
        raise
