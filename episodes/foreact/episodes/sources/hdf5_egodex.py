"""EgoDex: N.hdf5 with ARKit poses of camera, upper body and hands, and N.mp4 beside it, one frame a row.

    transforms/JOINT (n, 4, 4)   JOINT in the world   confidences/JOINT (n,)   camera/intrinsic (3, 3)

Source: Hoque et al. (2025), "EgoDex", arXiv 2505.11709, appendix A.3. Shape letters: n = steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from foreact.episodes.outcome import JSON
from foreact.episodes.sources.hdf5_file import Hdf5
from foreact.episodes.sources.parts import Part, PartsSource
from foreact.episodes.sources.protocol import SourceError, Stream
from foreact.episodes.sources.rigid import poses_of_matrices
from foreact.episodes.sources.steps import Steps, numbered

__all__ = ["open_egodex"]

SIDES = ("left", "right")
FINGERS = ("IndexFinger", "MiddleFinger", "RingFinger", "LittleFinger")
BONES = ("Knuckle", "IntermediateBase", "IntermediateTip", "Tip")
# wrist, thumb, then four of each finger: the metacarpals of ARKit are not among the 21
LANDMARKS = ("Hand", *(f"Thumb{bone}" for bone in BONES), *(f"{finger}{bone}" for finger in FINGERS for bone in BONES))
WORLD = "world"
POSE_UNIT = "m,m,m,1,1,1,1"


def open_egodex(key: str, file: Hdf5) -> PartsSource:
    """Open one episode.

    Raises:
        SourceError: No transforms that can be read, or the video beside is damaged.
    """
    joints = {name: table for name, table in file.tables("transforms").items() if table.shape[1:] == (4, 4)}
    if not joints:
        raise SourceError(f"{file.path} has no transforms (n, 4, 4) that can be read. {'; '.join(file.notes)}")
    count = len(next(iter(joints.values())))
    odd = [name for name, table in joints.items() if len(table) != count]
    if odd:
        raise SourceError(f"{file.path}: transforms/{odd[0]} has {len(joints[odd[0]])} rows, others have {count}")
    confidences = {name: table for name, table in file.tables("confidences").items() if table.shape == (count,)}
    clock = _Clock.of(file.path.with_suffix(".mp4"), count)
    body = _Body(file, joints)
    parts = [*clock.parts, *_poses(body, clock), *_hands(body, clock)]
    parts += _confidences(_Body(file, confidences), clock)
    if not confidences:
        clock.notes.append("there are no confidences")
    metadata, notes = file.attributes("/"), [*clock.notes, *file.notes]
    intrinsic = file.tables("camera").get("intrinsic")
    if intrinsic is not None and intrinsic.shape == (3, 3):
        metadata["camera.rgb.intrinsic"] = file.whole(intrinsic).tolist()

    def close() -> None:
        file.close()
        clock.close()

    return PartsSource(key, parts, task=_task(metadata), metadata=metadata, notes=notes, close=close)


class _Clock:
    """Stamps of the rows: of the video's frames where there are as many, otherwise step numbers."""

    def __init__(self, steps: Steps, stamps: np.ndarray, notes: list[str]) -> None:
        self.name, self.rate_hz, self.stamps, self.notes = steps.clock, steps.rate_hz, stamps, notes
        self.parts: list[Part] = []
        self.close = lambda: None

    @classmethod
    def of(cls, video: Path, count: int) -> _Clock:
        plain = numbered()
        if not video.is_file():
            missing = f"{video.name} is not beside the file: no pictures"
            return cls(plain, plain.stamps(count), [*plain.notes, missing])
        from foreact.episodes.sources.video import VideoPool
        from foreact.episodes.sources.video_part import video_part

        pool = VideoPool(1)
        index = pool.index(video)
        if len(index.stamps) == count:
            found = cls(
                Steps("video", index.rate_hz, ()), index.stamps, [f"row i is taken with frame i of {video.name}"]
            )
        else:
            odd = f"{video.name} has {len(index.stamps)} frames, the file {count} rows: they have two clocks"
            found = cls(plain, plain.stamps(count), [*plain.notes, odd])
        found.parts, found.close = [video_part("camera.rgb", pool, video)], pool.close
        return found


class _Body:
    """Arrays of the joints, each read once, when first asked for."""

    def __init__(self, file: Hdf5, tables: Mapping[str, Any]) -> None:
        self.tables, self._file = tables, file
        self._found: dict[str, np.ndarray] = {}
        self._lock = Lock()

    def rows(self, joint: str, start: int, stop: int) -> np.ndarray:
        with self._lock:
            if joint not in self._found:
                self._found[joint] = self._file.whole(self.tables[joint])
            return self._found[joint][start:stop]

    def poses(self, joint: str, start: int, stop: int) -> np.ndarray:
        try:
            return poses_of_matrices(self.rows(joint, start, stop))
        except SourceError:
            raise
        except ValueError as error:
            raise SourceError(f"{self._file.path}: transforms/{joint}: rows {start} to {stop}: {error}") from error

    def places(self, joints: tuple[str, ...], start: int, stop: int) -> np.ndarray:
        return np.stack([self.rows(joint, start, stop)[:, :3, 3] for joint in joints], axis=1)

    def values(self, joints: tuple[str, ...], start: int, stop: int) -> np.ndarray:
        return np.stack([self.rows(joint, start, stop) for joint in joints], axis=1)


def _part(stream: Stream, clock: _Clock, rows: Any) -> Part:
    return Part(stream, clock.stamps, lambda index: rows(index, index + 1)[0], rows)


def _poses(body: _Body, clock: _Clock) -> list[Part]:
    """Poses of all joints; the hands' own are the wrists."""
    parts = []
    for joint in body.tables:
        side = joint.removesuffix("Hand")
        name = f"hand.{side}.wrist" if side in SIDES else f"pose.{joint}"
        stream = Stream(
            name, "pose", (7,), "float64", POSE_UNIT, clock.name, clock.rate_hz, frame=WORLD, child=joint,
            description="of ARKit; NaN where the file has no pose",
        )  # fmt: skip
        parts.append(_part(stream, clock, partial(body.poses, joint)))
    return parts


def _hands(body: _Body, clock: _Clock) -> list[Part]:
    parts = []
    for side in SIDES:
        joints = tuple(f"{side}{landmark}" for landmark in LANDMARKS)
        missing = [joint for joint in joints if joint not in body.tables]
        if missing:
            clock.notes.append(f"no landmarks of the {side} hand: {missing[0]} is missing")
            continue
        stream = Stream(
            f"hand.{side}.landmarks", "hand", (21, 3), body.tables[joints[0]].dtype.name, "m", clock.name,
            clock.rate_hz, frame=WORLD, description="origins of 21 joints of ARKit, without the metacarpals",
        )  # fmt: skip
        parts.append(_part(stream, clock, partial(body.places, joints)))
    return parts


def _confidences(body: _Body, clock: _Clock) -> list[Part]:
    names = tuple(body.tables)
    wrists = [(f"hand.{side}.confidence", (f"{side}Hand",), ("confidence",)) for side in SIDES]
    shown = [each for each in wrists if each[1][0] in names]
    shown += [("confidence", names, names)] if names else []
    parts = []
    for name, joints, elements in shown:
        dtype = body.tables[joints[0]].dtype.name
        stream = Stream(name, "vector", (len(joints),), dtype, "1", clock.name, clock.rate_hz, elements)
        parts.append(_part(stream, clock, partial(body.values, joints)))
    return parts


def _task(metadata: Mapping[str, JSON]) -> str:
    """A reversible task has two descriptions, and says which was done; older files have one of another name."""
    second = metadata.get("llm_type") == "reversible" and str(metadata.get("which_llm_description")) == "2"
    text = metadata.get("llm_description2" if second else "llm_description") or metadata.get("description")
    return text if isinstance(text, str) else ""
