"""Topics of a bag as streams: which clock stamps them, what their messages mean, and how a value is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from foreact.episodes.outcome import JSON
from foreact.episodes.sources.encoded import Stills
from foreact.episodes.sources.parts import Part
from foreact.episodes.sources.protocol import SourceError, Stream, Value
from foreact.episodes.sources.rosbag_foxglove import FOXGLOVE, foxglove
from foreact.episodes.sources.rosbag_images import LEAD
from foreact.episodes.sources.rosbag_maps import POSE, Branch, branches, pose
from foreact.episodes.sources.rosbag_messages import ODD, TRIES, JsonMessages, Messages, event, plain
from foreact.episodes.sources.rosbag_names import hand_or_gaze, stream_name
from foreact.episodes.sources.rosbag_own import described, restored
from foreact.episodes.sources.rosbag_tracks import Track, Tracks
from foreact.episodes.sources.rosbag_types import DefinitionError

__all__ = ["Streams"]

TF = "tf2_msgs/msg/TFMessage"
INFO = "sensor_msgs/msg/CameraInfo"
OPAQUE = ("protobuf", "flatbuffer", "ros1", "cbor", "msgpack")


@dataclass
class Streams:
    """What a bag's topics give.

    Attributes:
        tracks: Of the bag.
        parts: The streams.
        log: Log times of each stream, int64 (n,) [ns].
        headers: Header stamps of each stream that has any, int64 (n,) [ns]; 0 where a message has none.
        cameras: The first camera description of each topic that holds them.
        notes: What was left out, and why.
        refused: Topics that cannot be decoded at all, and why.
        packed: Format and bytes of the pictures of streams that hold packed ones.
    """

    tracks: Tracks
    parts: list[Part] = field(default_factory=list)
    log: dict[str, np.ndarray] = field(default_factory=dict)
    headers: dict[str, np.ndarray] = field(default_factory=dict)
    cameras: dict[str, JSON] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    packed: dict[str, Callable[[int], tuple[str, bytes]]] = field(default_factory=dict)

    def enter(self, track: Track) -> None:
        """Make the streams of one topic."""
        if not len(track):
            self.notes.append(f"the topic {track.topic} has no messages")
        elif track.definition.encoding == "json":
            self._json(track, JsonMessages(self.tracks, track))
        elif track.definition.encoding in OPAQUE:
            self._bytes(track, f"its messages are encoded in {track.definition.encoding}, which is not decoded here")
        else:
            self._ros(track)

    def _json(self, track: Track, messages: JsonMessages) -> None:
        branch = None
        if not track.definition.stream and track.definition.type in FOXGLOVE:
            try:
                branch = foxglove(track.definition.type, messages.message(0))
            except ODD as error:
                self.notes.append(f"{track.topic} is given as events: {error}")
        if branch is None:
            self._add(track, messages.event, Branch("event", (), "str", _nothing))
        else:
            self._add(track, messages.reader(branch), branch)

    def _ros(self, track: Track) -> None:
        try:
            messages = Messages(self.tracks, track)
        except DefinitionError as error:
            self.refused[track.topic] = str(error)
            return
        first = messages.first()
        if first is None:
            self._bytes(track, f"none of its first {TRIES} messages is a {track.definition.type}")
        elif track.definition.type == TF:
            self._transforms(track, messages)
        else:
            self._mapped(track, messages, first)

    def _mapped(self, track: Track, messages: Messages, first: Mapping[str, Any]) -> None:
        if track.definition.type == INFO:
            self.cameras[track.topic] = plain(first)
        try:
            found = hand_or_gaze(track.topic, first) or branches(messages.name, first)
        except ODD as error:
            found = ()
            self.notes.append(f"{track.topic} is given as events: {error}")
        if not found and track.definition.type.endswith(("msg/Image", "msg/CompressedImage")):
            self._bytes(
                track, f"its pictures ({str(first.get('encoding', first.get('format')))[:60]}) are not decoded here"
            )
            return
        for branch in found or (Branch("event", (), "str", event),):
            self._add(track, messages.reader(branch), branch)
            if track.definition.type.endswith("msg/CompressedImage") and self.parts:
                self.packed[self.parts[-1].stream.name] = lambda index: _packed(messages.message(index))
                self.parts[-1] = replace(self.parts[-1], encoded=Stills(lambda index: _still(track, messages, index)))

    def _add(self, track: Track, read: Callable[[int], Value], branch: Branch) -> None:
        header, log = track.header, track.log
        if track.definition.stream:
            self._own(track, read, log)
            return
        stamped = bool(len(header)) and bool((header > 0).all())
        name = self._free(stream_name(track.topic) + branch.suffix, track.definition.type)
        if not stamped and (header > 0).any():
            count = int((header > 0).sum())
            self.notes.append(f"{name} is stamped by log time: {count} of {len(header)} messages have a header stamp")
        if track.frames_differ:
            self.notes.append(f"{name}: the frame of its headers changes; it is left empty")
        frame = "" if track.frames_differ or not track.frame else track.frame.decode("utf-8", "replace")
        says = "; ".join(filter(None, (f"{track.definition.type} on {track.topic}", branch.description)))
        stream = Stream(
            name,
            branch.kind,
            branch.shape,
            branch.dtype,
            branch.unit,
            "header" if stamped else "log",
            None,
            branch.elements,
            frame,
            branch.child,
            says,
        )
        self._keep(stream, header if stamped else log, read, log, header if (header > 0).any() else None)

    def _own(self, track: Track, read: Callable[[int], Value], log: np.ndarray) -> None:
        """A stream that our own writer described: its stamps are the log times."""
        try:
            stream = described(track.definition.stream)
        except (ValueError, RecursionError) as error:
            self.notes.append(f"{track.topic} is left out: its description is damaged: {error}")
            return
        stream = replace(stream, name=self._free(stream.name, track.topic))
        self._keep(stream, log, lambda index: restored(read(index), stream), log, None)

    def _keep(
        self,
        stream: Stream,
        stamps: np.ndarray,
        read: Callable[[int], Value],
        log: np.ndarray,
        header: np.ndarray | None,
    ) -> None:
        self.parts.append(Part(stream, stamps, read))
        self.log[stream.name] = log
        if header is not None:
            self.headers[stream.name] = header

    def _bytes(self, track: Track, why: str) -> None:
        self.notes.append(f"{track.topic} is given as bytes: {why}")
        self._add(track, lambda index: self.tracks.payload(track, index), Branch("bytes", (), "bytes", _nothing))

    def _transforms(self, track: Track, messages: Messages) -> None:
        """One stream for each pair of frames; a message can hold many transforms."""
        places: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
        lost = 0
        for index in range(len(track)):
            try:
                found = [_stamped(each) for each in messages.message(index)["transforms"]]
            except ODD:
                lost += 1
                continue
            for number, (stamp, *pair) in enumerate(found):
                places.setdefault((pair[0], pair[1]), []).append((stamp, index, number))
        if lost:
            self.notes.append(f"{track.topic}: {lost} messages are damaged and left out")
        for (frame, child), rows in places.items():
            self._transform(track, messages, frame, child, np.array(rows, np.int64))

    def _transform(self, track: Track, messages: Messages, frame: str, child: str, rows: np.ndarray) -> None:
        def read(row: int) -> np.ndarray:
            _, index, number = map(int, rows[row])
            try:
                return pose(messages.message(index)["transforms"][number]["transform"], "translation", "rotation")
            except ODD as error:
                raise SourceError(f"{track.topic}: message {index}: {error}") from None

        header, log = rows[:, 0].copy(), track.log[rows[:, 1]]
        stamped = bool((header > 0).all())
        name = self._free(f"{stream_name(track.topic)}.{child.strip('/').replace('/', '.')}", frame)
        says = f"{TF} on {track.topic}"
        clock = "header" if stamped else "log"
        stream = Stream(name, "pose", (7,), "float64", "m,m,m,1,1,1,1", clock, None, POSE, frame, child, says)
        self._keep(stream, header if stamped else log, read, log, header if (header > 0).any() else None)

    def _free(self, name: str, more: str) -> str:
        """A name that no stream has yet."""
        if name in self.log:
            name = f"{name}.{more.strip('/').replace('/', '.')}"
        number, free = 2, name
        while free in self.log:
            number, free = number + 1, f"{name}.{number}"
        return free


def _nothing(_: Mapping[str, Any]) -> Value:
    return ""


def _stamped(transform: Mapping[str, Any]) -> tuple[int, str, str]:
    """Stamp [ns], frame and child of a transform."""
    head = transform["header"]
    stamp = int(head["stamp"]["sec"]) * 1_000_000_000 + int(head["stamp"]["nanosec"])
    return stamp, str(head["frame_id"]), str(transform["child_frame_id"])


def _still(track: Track, messages: Messages, index: int) -> bytes:
    """The picture in a message, without the parameters that compressed depth has in front of it."""
    try:
        says, data = _packed(messages.message(index))
    except ODD as error:
        raise SourceError(f"{track.topic}: message {index}: {error}") from None
    return data[LEAD:] if "compressedDepth" in says else data


def _packed(message: Mapping[str, Any]) -> tuple[str, bytes]:
    return str(message["format"]), message["data"].tobytes()
