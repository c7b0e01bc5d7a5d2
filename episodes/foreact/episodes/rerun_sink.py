"""Steps of a timeline shown in Rerun: pictures, depth, hands, gaze, poses, points, plots and words.

Each stream keeps its own stamps: what a step holds is shown at the time it was taken, not at the step's.
Shape letters: H and W = image height and width, n = points.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.episodes.rerun_layout import colours
from foreact.episodes.scene import Scene, Shown, hand_bones
from foreact.episodes.sources.protocol import Value
from foreact.episodes.timeline import COUNTED, Step

if TYPE_CHECKING:
    from rerun import RecordingStream

__all__ = ["RerunSink"]

TIMELINE = "time"  # since the first step
STAMPS = "stamp"  # as the recording says
JPEG_QUALITY = 80
LIVE_WIDEST = 960  # [px] of a picture that is shown while it plays
BIN_S = 0.01  # of the envelope of sound
GAZE_M = 1.0  # length of a ray whose depth is not known
LANDMARK_M, BONE_M = 0.004, 0.002
LEFT, RIGHT, GAZE, PATH = (64, 160, 255), (255, 144, 48), (255, 64, 192), (255, 208, 64)
WHOLE_PATH = (128, 128, 128)


class RerunSink:
    """Logs steps to a Rerun recording.

    Args:
        stream: Where to; connected or saved by the caller.
        scene: What may come, and where it stands.
        start_ns: Time of the first step [ns], from which `time` counts.
        live: Someone watches while it plays: pictures are made smaller instead of compressed, since a browser that has
            to decode each of 30 pictures a second shows none of them.
    """

    def __init__(self, stream: RecordingStream, scene: Scene, start_ns: int, *, live: bool) -> None:
        self._stream, self._scene, self._start, self._live = stream, scene, start_ns, live
        self._shift, self._now = 0, start_ns
        self._done: dict[str, tuple[int, int]] = {}
        self._last: dict[tuple[str, str], Any] = {}
        self._numbers: dict[str, dict[int, int]] = {}
        self._cameras = {
            recording: [each for each in scene.of(recording, "image") if each.lens is not None and each.lens.frame]
            for recording in scene.roots
        }
        self._describe()

    def show(self, step: Step) -> None:
        """Log what is new in a step; a held sample is logged once."""
        self._go_on(step.time_ns)
        for name, picked in step.samples.items():
            if self._done.get(name) == (picked.time_ns, picked.index):
                continue
            self._done[name] = (picked.time_ns, picked.index)
            shown = self._scene.shown[name]
            values = picked.value if isinstance(picked.value, list) else [picked.value]
            for value, taken in zip(values, picked.stamps_ns or (picked.time_ns,), strict=True):
                self._at(shown, taken)
                self._show(shown, value, taken)

    def _go_on(self, time_ns: int) -> None:
        """Someone who watches follows the newest time: what is played again comes after what was played before."""
        if self._live and time_ns < self._now:
            self._shift += self._now - time_ns
        self._now = time_ns

    def _at(self, shown: Shown, taken: int) -> None:
        if shown.stream.clock in COUNTED:
            self._stream.set_time("step", sequence=taken + self._shift)
            return
        self._stream.set_time(TIMELINE, duration=np.timedelta64(taken - self._start + self._shift, "ns"))
        self._stream.set_time(STAMPS, duration=np.timedelta64(taken, "ns"))

    def _describe(self) -> None:
        """What does not change: names and colours of lines, what the recordings say of themselves."""
        import rerun as rr

        for shown in self._scene.shown.values():
            for line in shown.lines:
                series = rr.SeriesLines(names=line.names, colors=colours(shown.name, line))
                self._stream.log(line.entity, series, static=True)
            if len(shown.path) > 1:
                whole = rr.LineStrips3D([shown.path], colors=WHOLE_PATH, radii=rr.Radius.ui_points(0.5))
                self._stream.log(f"{shown.space}_whole", whole, static=True)
        for recording, axis in self._scene.upward.items():
            for root in self._scene.roots[recording]:
                coordinates = getattr(rr.ViewCoordinates, f"RIGHT_HAND_{axis.upper()}_UP")
                self._stream.log(root, coordinates, static=True)
        for recording, text in self._scene.told.items():
            entity = f"{recording.replace('.', '_')}/about" if recording else "about"
            self._stream.log(entity, rr.TextDocument(text, media_type="text/markdown"), static=True)

    def _show(self, shown: Shown, value: Value, taken: int) -> None:
        import rerun as rr

        kind = shown.stream.kind
        if isinstance(value, str | bytes):
            self._words(shown, value)
        elif kind in ("image", "depth", "segmentation"):
            self._stream.log(shown.entity, self._picture(shown, value))
        elif kind == "pose":
            self._pose(shown, value, taken)
        elif kind == "hand":
            self._hand(shown, value)
        elif kind == "points":
            self._points(shown, value)
        elif kind == "audio":
            self._sound(shown, value, taken)
        elif shown.lines:
            if shown.space:
                self._gaze(shown, value)
            self._last[shown.recording, shown.name] = value
            numbers = np.atleast_1d(value).astype(np.float64)
            for line in shown.lines:
                self._stream.log(line.entity, rr.Scalars(numbers[list(line.elements)]))
        else:
            self._stream.log(shown.entity, rr.Tensor(value))

    def _words(self, shown: Shown, value: str | bytes) -> None:
        import rerun as rr

        text = value if isinstance(value, str) else f"{len(value)} bytes that are not understood"
        if shown.stream.kind == "text" and self._last.get((shown.recording, shown.name)) == text:
            return  # a sentence that is repeated at each step is told once
        self._last[shown.recording, shown.name] = text
        self._stream.log(shown.entity, rr.TextLog(text))

    def _picture(self, shown: Shown, value: np.ndarray) -> Any:
        import rerun as rr

        picture = np.rot90(value, -shown.turned)
        if self._live:
            step = self._thinned(value.shape)
            picture = picture[::step, ::step]
        picture = np.ascontiguousarray(picture)
        if shown.stream.kind == "depth":
            return rr.DepthImage(picture, meter=1000.0 if shown.stream.unit == "mm" else 1.0)
        if shown.stream.kind == "segmentation":
            return rr.SegmentationImage(self._numbered(shown, picture))
        return rr.Image(picture) if self._live else rr.Image(picture).compress(JPEG_QUALITY)

    def _thinned(self, shape: Sequence[int]) -> int:
        """Every how many pixels are shown."""
        return -(-max(shape[:2]) // LIVE_WIDEST) if self._live else 1

    def _numbered(self, shown: Shown, picture: np.ndarray) -> np.ndarray:
        """Numbers of things, which may be large, as small ones in order of appearance; 0 stays 0."""
        import rerun as rr

        known = self._numbers.setdefault(shown.recording, {0: 0})
        found, where = np.unique(picture, return_inverse=True)
        new = [int(each) for each in found if int(each) not in known]
        known.update({each: len(known) + place for place, each in enumerate(new)})
        if new:
            names = self._scene.names.get(shown.recording, {})
            classes = [rr.AnnotationInfo(small, names.get(large, str(large))) for large, small in known.items()]
            entity = shown.recording.replace(".", "_") or "/"
            self._stream.log(entity, rr.AnnotationContext(classes), static=True)
        return np.array([known[int(each)] for each in found], np.uint16)[where].reshape(picture.shape)

    def _pose(self, shown: Shown, value: np.ndarray, taken: int) -> None:
        import rerun as rr

        if not np.isfinite(value).all():
            for entity in filter(None, (shown.space, shown.carries)):
                self._stream.log(entity, rr.Clear(recursive=entity == shown.space))
            return
        moved = rr.Transform3D(translation=value[:3], quaternion=rr.Quaternion(xyzw=value[[4, 5, 6, 3]]))
        self._stream.log(shown.space, moved, rr.TransformAxes3D(0.05))
        if shown.carries:
            self._stream.log(shown.carries, moved)
        before = self._last.get((shown.recording, shown.name))
        self._last[shown.recording, shown.name] = (taken, value[:3])
        if (
            before is not None and before[0] < taken and not self._shift
        ):  # a path is made of pieces, so that none is logged twice
            piece = rr.LineStrips3D([np.stack([before[1], value[:3]])], colors=PATH, radii=rr.Radius.ui_points(1.0))
            self._stream.log(f"{shown.space}_path", piece)

    def _hand(self, shown: Shown, value: np.ndarray) -> None:
        import rerun as rr

        colour = LEFT if "left" in shown.name else RIGHT
        chains = hand_bones(shown.stream.elements)
        seen = bool(np.isfinite(value).all())
        points = value if seen else np.empty((0, 3))
        bones = [points[chain] for chain in chains] if seen else []
        self._stream.log(shown.space, rr.Points3D(points, radii=LANDMARK_M, colors=colour))
        self._stream.log(f"{shown.space}/bones", rr.LineStrips3D(bones, radii=BONE_M, colors=colour))
        for camera, pixels in self._projected(shown, points):
            pairs = [pixels[[one, next_one]] for chain in chains for one, next_one in pairwise(chain)] if seen else []
            lines = [pair for pair in pairs if np.isfinite(pair).all()]  # as far as they are in the picture
            entity = f"{camera.entity}/{shown.name.replace('.', '_')}"
            self._stream.log(entity, rr.LineStrips2D(lines, colors=colour, radii=rr.Radius.ui_points(1.5)))

    def _gaze(self, shown: Shown, value: np.ndarray) -> None:
        import rerun as rr

        origin = self._last.get((shown.recording, f"{shown.name}.origin"), np.zeros(3))
        length = float(value[3]) if len(value) > 3 and np.isfinite(value[3]) else GAZE_M
        seen = bool(np.isfinite(value[:3]).all())
        ends = [value[:3] * length] if seen else []
        arrow = rr.Arrows3D(vectors=ends, origins=[origin] if seen else [], colors=GAZE, radii=0.002)
        self._stream.log(shown.space, arrow)
        for camera, pixels in self._projected(shown, np.array([origin + each for each in ends]).reshape(-1, 3)):
            size = 0.02 * max(camera.stream.shape[0] or 0, camera.stream.shape[1] or 0)
            size /= self._thinned([each or 1 for each in camera.stream.shape])
            cross = [[pixel + each, pixel - each] for pixel in pixels for each in (np.array([size, 0]), [0, size])]
            drawn = rr.LineStrips2D(cross if np.isfinite(pixels).all() else [], colors=GAZE, radii=_thick())
            self._stream.log(f"{camera.entity}/{shown.name.replace('.', '_')}", drawn)

    def _projected(self, shown: Shown, points: np.ndarray) -> list[tuple[Shown, np.ndarray]]:
        """Points of a frame in the pictures of cameras whose place in it is known, upright (n, 2) [px]."""
        found = []
        for camera in self._cameras.get(shown.recording, ()):
            height, width = camera.stream.shape[:2]
            if camera.lens is None or camera.lens.frame != shown.stream.frame or height is None or width is None:
                continue
            pixels = camera.lens.project(camera.lens.from_frame(points))
            inside = ((pixels > -0.5) & (pixels < (width, height))).all(axis=1, keepdims=True)
            pixels = np.where(inside, pixels, np.nan)
            if camera.turned:  # a turn clockwise: what was at the bottom comes to the left
                pixels = np.stack([height - 1 - pixels[:, 1], pixels[:, 0]], axis=1)
            found.append((camera, pixels / self._thinned((height, width))))
        return found

    def _points(self, shown: Shown, value: np.ndarray) -> None:
        import rerun as rr

        columns = [shown.stream.elements.index(each) for each in ("r", "g", "b") if each in shown.stream.elements]
        good = np.isfinite(value[:, :3]).all(axis=1)
        tint = value[good][:, columns].astype(np.uint8) if len(columns) == 3 else None
        radius = rr.Radius.ui_points(1.5 if len(value) > 500 else 4.0)
        self._stream.log(shown.space, rr.Points3D(value[good, :3], colors=tint, radii=radius))

    def _sound(self, shown: Shown, value: np.ndarray, taken: int) -> None:
        """The loudest sample in each bin, of full scale where the type has one."""
        import rerun as rr

        rate = _samples_a_second(shown)
        each = max(1, round(rate * BIN_S)) if rate and shown.stream.clock not in COUNTED else len(value)
        full = float(np.iinfo(value.dtype).max) if np.issubdtype(value.dtype, np.integer) else 1.0
        loud = np.abs(value.astype(np.float64)).reshape(len(value), -1).max(axis=1, initial=0.0) / full
        for start in range(0, len(loud), each or 1):
            if rate:
                self._at(shown, taken + round(start / rate * 1e9))
            self._stream.log(shown.entity, rr.Scalars([loud[start : start + each].max()]))


def _thick() -> Any:
    import rerun as rr

    return rr.Radius.ui_points(2.0)


def _samples_a_second(shown: Shown) -> float | None:
    """As the reader tells it in words: the rate of a stream is that of its blocks."""
    found = re.search(r"(\d+) samples a second", shown.stream.description)
    return float(found[1]) if found else None
