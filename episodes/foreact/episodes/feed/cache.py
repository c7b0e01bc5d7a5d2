"""Where what is worked out once is kept, and by which content it is known."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

__all__ = ["cache_folder", "content_digest", "file_digest"]

BLOCK = 1 << 16  # bytes
BLOCKS = 16


def cache_folder(kind: str, given: Path | None = None) -> Path:
    """The folder of one kind, in `given`, `FOREACT_CACHE`, or `foreact` of `XDG_CACHE_HOME` or `~/.cache`."""
    own = os.environ.get("FOREACT_CACHE")
    user = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foreact"
    return (given or user) / kind


def file_digest(path: Path) -> str:
    """SHA-256 of all of a file.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_digest(path: Path) -> str:
    """SHA-256 over the files at a path: names, sizes, and what is in them.

    Of a file of more than 1 MiB there count 16 blocks of 64 KiB, evenly spaced, and the time of its last change.

    Raises:
        OSError: A file cannot be read.
    """
    seen = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]:
        size, changed = file.stat().st_size, file.stat().st_mtime_ns
        large = size > BLOCK * BLOCKS
        name = file.relative_to(path) if file != path else file.name
        seen.update(f"{name}\0{size}\0{changed if large else ''}\0".encode())
        with file.open("rb") as opened:
            for number in range(min(BLOCKS, -(-size // BLOCK))):
                opened.seek(number * max(size - BLOCK, 0) // (BLOCKS - 1) if large else number * BLOCK)
                seen.update(opened.read(BLOCK))
    return seen.hexdigest()
