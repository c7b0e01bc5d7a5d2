"""Where the streams of recordings stand in the viewer: which way up, in which frame, in which plot.

Knows nothing of Rerun. Shape letters: n = samples of a stream, d = elements of a vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foreact.episodes.lens import Lens, aria_lens, pinhole
from foreact.episodes.sources.protocol import Source, SourceError, Stream
from foreact.episodes.timeline import Timeline

__all__ = ["MOST_LINES", "Line", "Scene", "Shown", "hand_bones", "lens_of", "scene"]

MOST_LINES = 12  # of one plot: more cannot be told apart
LOOKED_AT = 60  # samples of a vector from which its moving elements are told
PLACES = 500  # of a path that is drawn as a whole
SPATIAL = ("pose", "hand", "points")
PICTURES = ("image", "depth", "segmentation")
SIDEWAYS = "upright after a turn of 90 degrees clockwise"  # what the VRS reader says of Aria's first generation
FINGERS = ("thumb", "index", "middle", "ring", "pinky")
# a frame that several poses carry: one that was optimised afterwards is better than one estimated on the way
BEST_POSES = ("trajectory", "closed", "vio")


@dataclass(frozen=True)
class Line:
    """Elements of a vector that share a unit: one set of lines in a plot.

    Attributes:
        entity: Where it is logged.
        elements: Which, by number.
        names: Of the lines.
        unit: Of all of them; empty if it is not known.
        left_out: Elements of this unit that are not drawn.
    """

    entity: str
    elements: tuple[int, ...]
    names: tuple[str, ...]
    unit: str
    left_out: int = 0


@dataclass(frozen=True)
class Shown:
    """One stream in the viewer.

    Attributes:
        stream: What it is.
        recording: Key of its recording; empty if there is one alone.
        name: Of the stream in its recording.
        entity: Where it is logged.
        space: Where it stands in 3-D; empty if it does not.
        carries: Frame (its place in 3-D) that moves with this pose; empty if none does.
        turned: Quarter turns clockwise until a picture is upright.
        lens: Camera of a picture, if its calibration is known.
        lines: Of a vector.
        path: Places of a pose that stands in no frame that moves, from the first to the last, (k, 3) [m].
    """

    stream: Stream
    recording: str
    name: str
    entity: str
    space: str = ""
    carries: str = ""
    turned: int = 0
    lens: Lens | None = None
    lines: tuple[Line, ...] = ()
    path: np.ndarray = field(default_factory=lambda: np.empty((0, 3)))


@dataclass(frozen=True)
class Scene:
    """All streams in the viewer.

    Attributes:
        shown: By the names on the timeline.
        roots: Places in 3-D that no pose connects, by recording.
        names: Of numbers in segmentations, by recording.
        upward: Which axis points away from the ground, `x`, `y` or `z`, by recording; missing where nothing says so.
        told: What each recording says of itself, by recording.
    """

    shown: Mapping[str, Shown]
    roots: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    upward: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)

    def of(self, recording: str, *kinds: str) -> list[Shown]:
        """Streams of a recording of these kinds; all if none is named."""
        return [each for each in self.shown.values() if each.recording == recording and _is(each.stream, kinds)]


def scene(sources: Mapping[str, Source], timeline: Timeline) -> Scene:
    """Find a place for each stream of a timeline.

    Args:
        sources: By key, as the timeline was made of them.
        timeline: Of them.
    """
    alone = len(sources) == 1
    shown: dict[str, Shown] = {}
    roots: dict[str, tuple[str, ...]] = {}
    names: dict[str, Mapping[int, str]] = {}
    upward: dict[str, str] = {}
    told: dict[str, str] = {}
    for key, source in sources.items():
        recording = "" if alone else key
        own = {
            name: name if alone else f"{key}/{name}"
            for name in source.streams
            if (name if alone else f"{key}/{name}") in timeline.tracks
        }
        placed, roots[recording] = _frames(recording, source, list(own))
        for name, full in own.items():
            shown[full] = _shown(recording, source, name, placed, roots[recording])
        names[recording] = _instances(source.metadata)
        told[recording] = _told(source)
        if (axis := _upward(source)) is not None:
            upward[recording] = axis
    return Scene({name: shown[name] for name in timeline.tracks}, roots, names, upward, told)


def hand_bones(elements: Sequence[str]) -> list[list[int]]:
    """Chains of landmarks to draw as bones, each from the wrist to a finger's tip.

    Args:
        elements: Names of 21 landmarks, such as `thumb tip`; empty for wrist, then four of each finger, thumb first.
    """
    if "wrist" not in elements:
        return [[0, *range(first, first + 4)] for first in range(1, 21, 4)]
    joints = ("proximal", "intermediate", "distal", "tip")
    return [
        [elements.index(each) for each in ("wrist", *(f"{finger} {joint}" for joint in joints)) if each in elements]
        for finger in FINGERS
    ]


def _is(stream: Stream, kinds: Sequence[str]) -> bool:
    return not kinds or stream.kind in kinds


def _shown(
    recording: str, source: Source, name: str, placed: Mapping[str, tuple[str, str]], roots: Sequence[str]
) -> Shown:
    stream = source.streams[name]
    space, carries = placed.get(name, ("", ""))
    stands = stream.kind == "pose" and space.rpartition("/")[0] in roots
    return Shown(
        stream,
        recording,
        name,
        entity=_under(recording, name.replace(".", "/")),
        space=space,
        carries=carries,
        turned=1 if stream.kind in PICTURES and _is_sideways(source, name) else 0,
        lens=lens_of(source, stream) if stream.kind in PICTURES and len(stream.shape) >= 2 else None,
        lines=tuple(_lines(recording, source, stream)),
        path=_path(source, name) if stands else np.empty((0, 3)),
    )


def _path(source: Source, name: str) -> np.ndarray:
    """Where a pose has been, (k, 3) [m], at so many places that it can be seen."""
    try:
        order = np.argsort(source.stamps(name), kind="stable")
        few = order[np.unique(np.linspace(0, len(order) - 1, min(PLACES, len(order))).astype(int))]
        places = np.array([np.asarray(source.read(name, int(each)))[:3] for each in few], np.float64).reshape(-1, 3)
    except SourceError:  # what is damaged is told when it is played
        return np.empty((0, 3))
    return places[np.isfinite(places).all(axis=1)]


def _is_sideways(source: Source, name: str) -> bool:
    """Whether the recording says so of a picture, or of the camera that it belongs to."""
    camera = source.streams.get(f"camera.{name.partition('.')[2]}")
    return any(SIDEWAYS in each.description for each in (source.streams[name], camera) if each is not None)


def _under(recording: str, entity: str) -> str:
    return f"{recording.replace('.', '_')}/{entity}" if recording else entity


def _frames(recording: str, source: Source, names: Sequence[str]) -> tuple[dict[str, tuple[str, str]], tuple[str, ...]]:
    """Place in 3-D and frame carried, by stream; and the places that no pose connects.

    A frame that a pose tells the place of stands inside the pose's own frame, so that what is in it moves along.
    """
    streams = {name: source.streams[name] for name in names}
    spatial = {name: each for name, each in streams.items() if each.kind in SPATIAL or _is_direction(each)}
    parents: dict[str, tuple[str, str]] = {}  # frame -> the frame it moves in, and the pose that moves it
    poses = [name for name, each in spatial.items() if each.kind == "pose" and each.frame and each.child]
    for name in sorted(poses, key=lambda name: (_rank(name), -len(source.stamps(name)))):
        frame, child = streams[name].frame, streams[name].child
        if child not in parents and child not in _above(frame, parents):
            parents[child] = (frame, name)
    used = {each.frame for each in spatial.values()}
    parents = {child: parent for child, parent in parents.items() if child in used}

    def place(frame: str) -> str:
        above = [*reversed(_above(frame, parents))]
        return _under(recording, "/".join(["space", *(_word(each) for each in above)]))

    placed: dict[str, tuple[str, str]] = {}
    for name, each in spatial.items():
        carried = next((child for child, (_, pose) in parents.items() if pose == name), "")
        stands = f"{place(each.frame)}/{name.replace('.', '_')}"
        placed[name] = (stands, place(carried) if carried else "")
    tops = dict.fromkeys(place(_above(each.frame, parents)[-1]) for each in spatial.values())
    return placed, tuple(tops)


def _above(frame: str, parents: Mapping[str, tuple[str, str]]) -> list[str]:
    """A frame, the one it moves in, and so on."""
    found = [frame]
    while found[-1] in parents:
        found.append(parents[found[-1]][0])
    return found


def _rank(name: str) -> int:
    return next((place for place, word in enumerate(BEST_POSES) if word in name), len(BEST_POSES))


def _word(frame: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in frame) or "of_no_known_frame"


def _is_direction(stream: Stream) -> bool:
    """Whether a gaze can be drawn: a direction in a frame; yaw and pitch are in one that recordings do not place."""
    return stream.kind == "gaze" and bool(stream.frame) and stream.elements[:1] == ("direction.x",)


def lens_of(source: Source, stream: Stream) -> Lens | None:
    """The camera of a picture: of an Aria, or pinhole where the recording gives a matrix."""
    height, width = stream.shape[:2]
    if height is None or width is None:
        return None
    camera = stream.name.partition(".")[2]
    calibration: Any = source.metadata.get("calibration")
    if isinstance(calibration, Mapping):
        return aria_lens(calibration, camera, height, width)
    matrix: Any = source.metadata.get(f"camera.{camera}.intrinsic")
    if matrix is not None:
        return pinhole(matrix[0][0], matrix[1][1], matrix[0][2], matrix[1][2])
    return None


def _instances(metadata: Mapping[str, Any]) -> dict[int, str]:
    said: Any = metadata.get("instances")
    if not isinstance(said, Mapping):
        return {}
    return {int(number): str(each.get("instance_name", number)) for number, each in said.items()}


def _upward(source: Source) -> str | None:
    """The axis against which gravity points, if a stream tells it in a world that does not move."""
    for name, stream in source.streams.items():
        if name.endswith(".gravity") and stream.frame == "world" and len(source.stamps(name)):
            gravity = np.asarray(source.read(name, 0), np.float64)
            axis = int(np.argmax(np.abs(gravity)))
            return "xyz"[axis] if gravity.shape == (3,) and gravity[axis] < 0 else None
    return None


def _told(source: Source) -> str:
    lines = [f"# {source.key}", source.task or "The recording does not say what was to be done."]
    return "\n\n".join([*lines, *(f"- {note}" for note in source.notes)])


def _lines(recording: str, source: Source, stream: Stream) -> Iterator[Line]:
    """A vector's elements by unit; of too many those that move most."""
    if stream.kind not in ("vector", "imu", "gaze") or len(stream.shape) > 1:
        return
    size = stream.shape[0] if stream.shape else 1
    if not size:
        return
    names = stream.elements or (("x", "y", "z") if size == 3 else tuple(str(each) for each in range(size)))
    units = stream.unit.split(",") if stream.unit.count(",") == size - 1 else [stream.unit] * size
    side = next((f"{word} " for word in stream.name.split(".") if word in ("left", "right")), "")
    base = _under(recording, f"plots/{stream.name.replace('.', '/')}")
    for number, unit in enumerate(dict.fromkeys(units)):
        all_of_it = [place for place, each in enumerate(units) if each == unit]
        drawn = _moving(source, stream, all_of_it)
        labels = tuple(f"{side}{names[place]}" if size > 1 or stream.elements else stream.name for place in drawn)
        yield Line(f"{base}/{number}", tuple(drawn), labels, unit, len(all_of_it) - len(drawn))


def _moving(source: Source, stream: Stream, places: list[int]) -> list[int]:
    """The elements that move most, in their order; all where they fit one plot. An action's are its state's."""
    if len(places) <= MOST_LINES:
        return places
    other = source.streams.get("state")
    if stream.name == "action" and other is not None and other.shape == stream.shape:
        stream = other
    count = len(source.stamps(stream.name))
    numbers = sorted({int(each) for each in np.linspace(0, count - 1, min(LOOKED_AT, count))})
    try:
        rows = np.stack([np.asarray(source.read(stream.name, each), np.float64) for each in numbers])
        spread = np.nan_to_num(np.nanmax(rows, 0) - np.nanmin(rows, 0))
    except (SourceError, ValueError):  # what is damaged or empty is told when it is played
        return places[:MOST_LINES]
    most = sorted(places, key=lambda place: -spread[place])[:MOST_LINES]
    return sorted(most)
