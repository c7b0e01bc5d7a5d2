"""Messages of a topic, decoded when they are asked for."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.outcome import JSON
from foreact.episodes.sources.protocol import SourceError, Value
from foreact.episodes.sources.rosbag_cdr import CdrError, decode
from foreact.episodes.sources.rosbag_maps import Branch
from foreact.episodes.sources.rosbag_tracks import Track, Tracks
from foreact.episodes.sources.rosbag_types import full_name

__all__ = ["ODD", "TRIES", "JsonMessages", "Messages", "event", "plain"]

ODD = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, MemoryError)
"""What a definition of another form under a known name leads to."""
TRIES = 5  # first messages that are looked at to learn what a topic is


class Messages:
    """Messages of a track in ROS's encoding; the last one is kept, for topics that give several streams.

    Raises:
        DefinitionError: What they are is not known.
    """

    def __init__(self, tracks: Tracks, track: Track) -> None:
        self._tracks, self._track = tracks, track
        self.name = full_name(track.definition.type, track.definition.type)
        self._types = track.definition.types()
        self._last: tuple[int, Mapping[str, Any]] | None = None

    def first(self) -> Mapping[str, Any] | None:
        """The first message that can be decoded; None if none of the first few can."""
        for index in range(min(TRIES, len(self._track))):
            try:
                return self.message(index)
            except SourceError:
                continue
        return None

    def message(self, index: int) -> Mapping[str, Any]:
        """One message.

        Raises:
            SourceError: It is damaged.
        """
        last = self._last  # one look: another thread may put another message there
        if last is not None and last[0] == index:
            return last[1]
        payload = self._tracks.payload(self._track, index)
        try:
            found = decode(payload, self.name, self._types)
        except CdrError as error:
            raise SourceError(f"{self._track.topic}: message {index} is {error}") from None
        self._last = (index, found)
        return found

    def reader(self, branch: Branch) -> Callable[[int], Value]:
        """How samples of one of the topic's streams are read."""

        def read(index: int) -> Value:
            try:
                value = branch.pick(self.message(index))
            except SourceError:
                raise
            except ODD as error:
                raise SourceError(f"{self._track.topic}: message {index}: {error}") from None
            return value.copy() if isinstance(value, np.ndarray) and not value.flags.writeable else value

        return read


@dataclass(frozen=True)
class JsonMessages:
    """Messages that are JSON texts."""

    tracks: Tracks
    track: Track

    def event(self, index: int) -> str:
        """One message as the text that it is, which is valid JSON."""
        return self._parsed(index)[0]

    def message(self, index: int) -> object:
        """One message as what its text says.

        Raises:
            SourceError: It is no JSON.
        """
        return self._parsed(index)[1]

    def reader(self, branch: Branch) -> Callable[[int], Value]:
        """How samples of the topic's stream are read."""

        def read(index: int) -> Value:
            message: Any = self.message(index)
            try:
                return branch.pick(message)
            except ODD as error:
                raise SourceError(f"{self.track.topic}: message {index}: {error}") from None

        return read

    def _parsed(self, index: int) -> tuple[str, object]:
        payload = self.tracks.payload(self.track, index)
        try:
            text = payload.decode("utf-8")
            return text, strictjson.loads(text)
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{self.track.topic}: message {index} is no JSON: {error}") from None


def event(message: Mapping[str, Any]) -> str:
    """A message as JSON text."""
    return json.dumps(plain(message), allow_nan=False, separators=(",", ":"))


def plain(value: Any) -> JSON:
    """As JSON: bytes as base64 text, numbers that JSON lacks as `NaN`, `Infinity` and `-Infinity`."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        if value.dtype == np.uint8:
            return base64.b64encode(value.tobytes()).decode("ascii")
        return [plain(item) for item in value.tolist()]
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
