"""DexCap recordings: one folder a frame, with a colour and a depth picture, tracker poses and glove joints as text.

    FOLDER/frame_0/color_image.jpg depth_image.png pose.txt pose_2.txt pose_3.txt {left,right}_hand_joint{,_ori}.txt

What the files mean is taken from the recorder (github.com/j96w/DexCap): pose.txt is the chest camera's tracker,
pose_2.txt the left wrist's, pose_3.txt the right wrist's; hand joints run from the wrist over thumb to little finger.
Reads are thread-safe. Shape letters: n = frames.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from foreact.episodes.sources.encoded import Stills
from foreact.episodes.sources.parts import Part, PartsSource, Recordings
from foreact.episodes.sources.protocol import SourceError, Stream
from foreact.episodes.sources.rigid import poses_of_matrices
from foreact.episodes.sources.steps import MAX_STEPS, natural
from foreact.episodes.sources.stills import decode_still, still_size

__all__ = ["open_collection"]

FRAME = re.compile(r"frame_(\d{1,9})")
COLOUR, DEPTH = "color_image.jpg", "depth_image.png"
TRACKERS = {"pose.txt": "chest", "pose_2.txt": "left_wrist", "pose_3.txt": "right_wrist"}
SIDES = ("left", "right")
MAX_TEXT, MAX_PICTURE = 1 << 16, 1 << 26  # bytes of a file
ABOUT_JOINTS = "from the glove, in its own frame: wrist, then four of each finger from thumb to little finger"
ABOUT_TRACKER = "of the tracker in its own frame, which starts where it was switched on"
ABOUT_TURN = "rotation of each joint from the glove; the recorder's tools read it as a quaternion xyzw"
NOTE_STEPS = "stamps are the numbers of the frame folders on the clock `step`: the files state neither times nor a rate"
NOTE_DEPTH = "depth is in the camera's own units: the files do not say how long one is"


def open_collection(path: Path) -> Recordings:
    """Open one frame folder, a folder of frame_N, or a folder of such folders.

    Raises:
        SourceError: There are no frames, or more than ten million.
    """
    path = Path(path)
    if (path / COLOUR).is_file():
        match = FRAME.fullmatch(path.name)
        frames = {path.name: {int(match[1]) if match else 0: path}}
    else:
        own = _frames(path)
        below = sorted((each for each in path.glob("*") if each.is_dir()), key=lambda each: natural(each.name))
        frames = {path.name: own} if own else {each.name: found for each in below if (found := _frames(each))}
    if not frames:
        raise SourceError(f"{path}: no frame_N/{COLOUR} in it or one folder below")
    return Recordings(path, "dexcap", {key: partial(_open, key, found) for key, found in frames.items()})


def _frames(path: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for folder in path.glob("frame_*"):
        match = FRAME.fullmatch(folder.name)
        if match and folder.is_dir():
            if int(match[1]) in found:
                raise SourceError(f"{folder}: {found[int(match[1])].name} has the same number")
            found[int(match[1])] = folder
    if len(found) > MAX_STEPS:
        raise SourceError(f"{path}: {len(found)} frames; {MAX_STEPS} are the most that are read")
    return dict(sorted(found.items()))


def _open(key: str, frames: dict[int, Path]) -> PartsSource:
    notes = [NOTE_STEPS]
    parts: list[Part] = []
    names = [COLOUR, DEPTH, *TRACKERS, *(f"{side}_hand_joint{turn}.txt" for side in SIDES for turn in ("", "_ori"))]
    for name in names:
        here = {number: folder / name for number, folder in frames.items() if (folder / name).is_file()}
        if len(here) < len(frames):
            notes.append(f"{name} is missing in {len(frames) - len(here)} of {len(frames)} frames")
        if here:
            parts.append(_part(name, list(here.values()), np.array(list(here), np.int64)))
    if any(part.stream.kind == "depth" for part in parts):
        notes.append(NOTE_DEPTH)
    return PartsSource(key, parts, notes=notes)


def _part(name: str, files: list[Path], stamps: np.ndarray) -> Part:
    if name in (COLOUR, DEPTH):
        return _pictures(name, files, stamps)
    if name in TRACKERS:
        child = TRACKERS[name]
        stream = Stream(
            f"pose.{child}", "pose", (7,), "float64", "m,m,m,1,1,1,1", "step", child=child, description=ABOUT_TRACKER
        )
        return Part(stream, stamps, lambda index: _pose(files[index]))
    side = name.partition("_")[0]
    if name.endswith("_ori.txt"):
        stream = Stream(f"hand.{side}.rotations", "vector", (21, 4), "float64", "1", "step", description=ABOUT_TURN)
        return Part(stream, stamps, lambda index: _numbers(files[index], (21, 4)))
    stream = Stream(f"hand.{side}.landmarks", "hand", (21, 3), "float64", "m", "step", description=ABOUT_JOINTS)
    return Part(stream, stamps, lambda index: _numbers(files[index], (21, 3)))


def _pictures(name: str, files: list[Path], stamps: np.ndarray) -> Part:
    size = still_size(_bytes(files[0], MAX_PICTURE), str(files[0]))
    shape, dtype = ((*size, 3), "uint8") if name == COLOUR else (size, "uint16")

    def read(index: int) -> np.ndarray:
        picture = decode_still(_bytes(files[index], MAX_PICTURE), str(files[index]))
        if picture.shape != shape or picture.dtype != dtype:
            raise SourceError(f"{files[index]} is {picture.dtype} {picture.shape}, the first is {dtype} {shape}")
        return picture

    packed = Stills(lambda index: _bytes(files[index], MAX_PICTURE))
    if name == COLOUR:
        return Part(Stream("camera.rgb", "image", shape, dtype, clock="step"), stamps, read, encoded=packed)
    return Part(Stream("depth.rgb", "depth", shape, dtype, clock="step"), stamps, read, encoded=packed)


def _pose(file: Path) -> np.ndarray:
    try:
        return poses_of_matrices(_numbers(file, (4, 4))[None])[0]
    except SourceError:
        raise
    except ValueError as error:
        raise SourceError(f"{file}: {error}") from error


def _numbers(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        values = np.array(
            [[float(word) for word in line.split()] for line in _bytes(file, MAX_TEXT).split(b"\n") if line.strip()]
        )
    except (ValueError, OverflowError) as error:
        raise SourceError(f"{file} is not a table of numbers: {error}") from error
    if values.shape != shape or not np.isfinite(values).all():
        raise SourceError(f"{file}: expected finite numbers {shape}, got {values.shape}")
    return values


def _bytes(file: Path, most: int) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error}") from error
    if len(data) > most:
        raise SourceError(f"{file} is larger than {most} bytes")
    return data
