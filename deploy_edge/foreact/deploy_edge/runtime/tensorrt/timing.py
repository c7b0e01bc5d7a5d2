"""The timing cache on disk: measured kernels of one machine, refused on any other."""

import hashlib
from pathlib import Path

from foreact.episodes.runfolder import write_bytes_atomic

__all__ = ["read_timings", "write_timings"]

MAGIC = b"foreact timing cache 1\n"


def read_timings(path: Path, key: str) -> tuple[bytes, str]:
    """The cache of this machine, or an empty one.

    Args:
        path: The file.
        key: Fingerprint of this machine.

    Returns:
        Bytes for TensorRT, and what is to be said of the file.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b"", f"timing cache: {path.name} is new"
    if not content.startswith(MAGIC):
        return b"", f"timing cache refused and rebuilt: {path.name} is of another format"
    digest, newline, rest = content[len(MAGIC) :].partition(b"\n")
    if not newline or digest.decode("ascii", "replace") != hashlib.sha256(rest).hexdigest():
        return b"", f"timing cache refused and rebuilt: {path.name} is damaged"
    found, _, timings = rest.partition(b"\n")
    if found.decode() != key:
        return b"", f"timing cache refused and rebuilt: {path.name} is of another machine or TensorRT"
    return timings, f"timing cache: {path.name}, {len(timings)} bytes"


def write_timings(path: Path, key: str, timings: bytes) -> None:
    """Write a cache with its key and digest, atomically.

    Args:
        path: The file.
        key: Fingerprint of this machine, in one line.
        timings: Bytes from TensorRT.
    """
    rest = key.encode() + b"\n" + timings
    write_bytes_atomic(path, MAGIC + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
