"""Robots that come as an archive of an MJCF model and its meshes: unpacked once, into a folder of the user's cache."""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import tarfile
import zlib
from contextlib import suppress
from pathlib import Path

from foreact.episodes.staging import staged_folder

__all__ = ["cache_folder", "model_file", "unpacked"]

MOST_BYTES = 2 << 30  # of one robot, unpacked
MOST_FILES = 20_000
DAMAGED = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError)


def cache_folder() -> Path:
    """Where unpacked robots are kept: `FOREACT_CACHE`, or `foreact` in `XDG_CACHE_HOME` or `~/.cache`."""
    own = os.environ.get("FOREACT_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foreact"


def unpacked(archive: Path) -> Path:
    """The folder of a robot; an archive is unpacked when it is seen for the first time.

    Members that would lie outside of the folder, links out of it and devices are refused (PEP 706, filter `data`).
    The folder appears when it is whole. It is named by the content of the archive, so that another one never meets it.

    Args:
        archive: A tar file of one folder, compressed or not; or a folder, which is returned as it is.

    Raises:
        FileNotFoundError: Nothing is there.
        ValueError: It is no tar file, truncated, too large, or holds what may not be unpacked.
    """
    archive.stat()
    if archive.is_dir():
        return archive
    with archive.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    target = cache_folder() / "robots" / f"{archive.name.split('.')[0]}-{content[:16]}"
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), staged_folder(target) as folder:  # another process may be first
            _unpack(archive, folder)
    inside = list(target.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else target


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            if len(members) > MOST_FILES or sum(each.size for each in members) > MOST_BYTES:
                raise ValueError(f"{archive} holds more than {MOST_FILES} files or {MOST_BYTES >> 30} GiB: no robot")
            tar.extractall(folder, filter="data")
    except tarfile.FilterError as error:
        raise ValueError(f"{archive} holds what may not be unpacked: {error}") from error
    except DAMAGED as error:
        if getattr(error, "errno", None):  # the disk is full, say
            raise
        raise ValueError(f"{archive} is no tar archive, or a damaged one: {error}") from error
    if not any(folder.rglob("*.xml")):
        raise ValueError(f"{archive} holds no MJCF file (*.xml)")


def model_file(folder: Path, name: str = "") -> Path:
    """A model in the folder of a robot.

    Args:
        folder: As `unpacked` gives it.
        name: Of the file, with or without `.xml`, such as `scene`; if empty the robot itself: the only file, or the
            one that `scene.xml` includes.

    Raises:
        ValueError: There is none of this name, or it must be said which.
    """
    found = {path.stem: path for path in sorted(folder.glob("*.xml"))}
    listed = ", ".join(found) or "none"
    if name:
        if name.removesuffix(".xml") not in found:
            raise ValueError(f"{folder.name} has no model {name!r}; it has {listed}")
        return found[name.removesuffix(".xml")]
    if len(found) == 1:
        return next(iter(found.values()))
    if "scene" in found:
        included = re.search(r"<include\s+file=\"([\w.-]+)\.xml\"", found["scene"].read_text(encoding="utf-8"))
        if included and included[1] in found:
            return found[included[1]]
    raise ValueError(f"{folder.name} has several models: say which of {listed}")
