"""How our own MCAP files describe streams, so that they come back as they were written."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.sources.protocol import SourceError, Stream, Value

__all__ = ["RECORD", "STREAM", "description", "described", "restored"]

STREAM = "foreact.stream"
"""Key of a channel's metadata under which the stream is described."""
RECORD = "foreact"
"""Name of the metadata record that holds what a recording says of itself."""
NUMBERS = "biuf"  # kinds of NumPy types


def description(stream: Stream) -> str:
    """A stream as JSON text."""
    return strictjson.canonical(asdict(stream))


def described(text: str) -> Stream:
    """The stream that a text describes.

    Raises:
        ValueError: It is damaged.
    """
    stream = strictjson.decode(Stream, strictjson.loads(text), "stream")
    try:
        known = stream.dtype in ("str", "bytes") or np.dtype(stream.dtype).kind in NUMBERS
    except TypeError:
        known = False
    if not known or (stream.dtype == "bytes") != (stream.kind == "bytes"):
        raise ValueError(f"{stream.kind} of {stream.dtype!r}")
    return stream


def restored(value: Value, stream: Stream) -> Value:
    """A value as its stream describes it, from what the ROS message holds.

    Raises:
        SourceError: The message holds something else.
    """
    if stream.dtype == "str" and isinstance(value, str):
        return value
    if isinstance(value, np.ndarray):
        if stream.dtype == "bytes":
            return value.tobytes()
        if stream.dtype != "str":
            value = _exactly(value, stream)
            return value.reshape(()) if stream.shape == () and value.size == 1 else value
    raise SourceError(f"{stream.name}: a message holds no {stream.dtype}")


def _exactly(value: np.ndarray, stream: Stream) -> np.ndarray:
    if value.dtype == stream.dtype:
        return value
    with np.errstate(all="ignore"):
        found = value.astype(stream.dtype)
        same = np.array_equal(found.astype(value.dtype), value, equal_nan=value.dtype.kind == "f")
    if not same:
        raise SourceError(f"{stream.name}: a message of {value.dtype} does not hold {stream.dtype}")
    return found
