"""Steps of a timeline shown in Rerun: pictures, depth, hands, poses, plots and words, laid out by kind.

Each stream keeps its own stamps: what a step holds is shown at the time it was taken, not at the step's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from foreact.episodes.sources.protocol import Stream, Value
from foreact.episodes.timeline import COUNTED, Step

if TYPE_CHECKING:
    from rerun import RecordingStream

__all__ = ["RerunSink", "layout", "served_viewer"]

TIMELINE = "time"
LOOPBACK = "127.0.0.1"
START_S = 20.0
JPEG_QUALITY = 80
PLOTTED = ("vector", "imu", "gaze")
PICTURES = ("image", "depth", "segmentation")
MOST_LINES = 12  # of one plot: more cannot be told apart
TRAIL = 100_000  # places of a pose that its path keeps
# wrist and four joints of each finger, thumb first
FINGERS = tuple([0, *range(first, first + 4)] for first in range(1, 21, 4))


class RerunSink:
    """Logs steps to a Rerun recording.

    Args:
        stream: Where to; connected or saved by the caller.
        streams: What may come, by name.
    """

    def __init__(self, stream: RecordingStream, streams: Mapping[str, Stream]) -> None:
        self._stream, self._streams = stream, streams
        self._shown: dict[str, tuple[int, int]] = {}
        self._trails: dict[str, list[np.ndarray]] = {}
        for name, each in streams.items():
            self._describe(name, each)

    def show(self, step: Step) -> None:
        """Log what is new in a step; a held sample is logged once."""
        for name, picked in step.samples.items():
            if self._shown.get(name) == (picked.time_ns, picked.index):
                continue
            self._shown[name] = (picked.time_ns, picked.index)
            values = picked.value if isinstance(picked.value, list) else [picked.value]
            for value, taken in zip(values, picked.stamps_ns or (picked.time_ns,), strict=True):
                if self._streams[name].clock in COUNTED:
                    self._stream.set_time("step", sequence=taken)
                else:
                    self._stream.set_time(TIMELINE, duration=np.timedelta64(taken, "ns"))
                self._log(name, self._streams[name], value)

    def _describe(self, name: str, stream: Stream) -> None:
        import rerun as rr

        if stream.kind in PLOTTED and len(stream.shape) == 1 and stream.shape[0]:
            labels = stream.elements or tuple(str(index) for index in range(stream.shape[0]))
            units = stream.unit.split(",")
            units = units if len(units) == len(labels) else [stream.unit] * len(labels)
            shown = [f"{label} [{unit}]" if unit else label for label, unit in zip(labels, units, strict=True)]
            self._stream.log(_place(name), rr.SeriesLines(names=shown[:MOST_LINES]), static=True)

    def _log(self, name: str, stream: Stream, value: Value) -> None:
        shown = self._archetype(name, stream, value)
        for suffix, archetype in shown.items():
            self._stream.log(_place(name) + suffix, archetype)

    def _archetype(self, name: str, stream: Stream, value: Value) -> dict[str, Any]:
        import rerun as rr

        if isinstance(value, str):
            return {"": rr.TextLog(value)}
        if isinstance(value, bytes):
            return {"": rr.TextLog(f"{len(value)} bytes that are not understood")}
        if stream.kind == "image":
            return {"": rr.Image(value).compress(JPEG_QUALITY)}
        if stream.kind == "depth":
            return {"": rr.DepthImage(value, meter=1000.0 if stream.unit == "mm" else 1.0)}
        if stream.kind == "segmentation":
            return {"": rr.SegmentationImage(value.astype(np.uint16))}
        if stream.kind == "pose":
            return self._pose(name, value)
        if stream.kind == "hand":
            return {
                "": rr.Points3D(value, radii=0.004),
                "/bones": rr.LineStrips3D([value[finger] for finger in FINGERS], radii=0.002),
            }
        if stream.kind == "points":
            return {"": rr.Points3D(value[:, :3])}
        if stream.kind == "audio":
            return {"": rr.Scalars([float(np.abs(value.astype(np.float64)).max(initial=0.0))])}
        numbers = np.atleast_1d(value).astype(np.float64)
        return {"": rr.Scalars(numbers[:MOST_LINES])} if numbers.ndim == 1 else {"": rr.Tensor(value)}

    def _pose(self, name: str, value: np.ndarray) -> dict[str, Any]:
        import rerun as rr

        trail = self._trails.setdefault(name, [])
        if len(trail) < TRAIL:
            trail.append(value[:3].astype(np.float32))
        turn = rr.Quaternion(xyzw=value[[4, 5, 6, 3]])
        return {
            "": rr.Transform3D(translation=value[:3], quaternion=turn),
            "/axes": rr.TransformAxes3D(0.05),
            "_path": rr.LineStrips3D([np.stack(trail)] if len(trail) > 1 else []),
        }


def layout(streams: Mapping[str, Stream]) -> Any:
    """A blueprint: pictures on the left, space in the middle, plots and words on the right."""
    import rerun.blueprint as rrb

    def of(*kinds: str) -> list[str]:
        return [name for name, stream in streams.items() if stream.kind in kinds]

    spatial, told = of("pose", "hand", "points"), of("text", "event", "bytes")
    pictures = [rrb.Spatial2DView(origin=_place(name), name=name) for name in of(*PICTURES)]
    inside = [f"/{_place(name)}/**" for name in spatial] + [f"/{_place(name)}_path" for name in of("pose")]
    plots: list[Any] = [rrb.TimeSeriesView(origin=_place(name), name=name) for name in of(*PLOTTED, "audio")]
    words = rrb.TextLogView(origin="/", name="words", contents=[f"/{_place(name)}" for name in told])
    columns: list[Any] = []
    if pictures:
        columns.append(rrb.Grid(*pictures, name="pictures"))
    if spatial:
        columns.append(rrb.Spatial3DView(origin="/", name="space", contents=inside))
    if plots or told:
        columns.append(rrb.Grid(*plots, *([words] if told else []), name="plots and words"))
    return rrb.Blueprint(rrb.Horizontal(*columns), collapse_panels=True)


@contextlib.contextmanager
def served_viewer(port: int = 9876, web_port: int = 9090) -> Iterator[str]:
    """A viewer for browsers, served to this machine alone by a process of its own.

    Args:
        port: Where it takes what is logged.
        web_port: Where a browser finds it.

    Yields:
        Where to log to, for `RecordingStream.connect_grpc`.

    Raises:
        RuntimeError: It did not start, for instance because a port is taken.
    """
    command = [
        sys.executable, "-m", "rerun", "--serve-web", "--bind", LOOPBACK, "--port", str(port),
        "--web-viewer-port", str(web_port), "--hide-welcome-screen",
    ]  # fmt: skip
    if taken := [each for each in (port, web_port) if _answers(each)]:
        raise RuntimeError(f"port {taken[0]} is taken; end what listens there, for example another replay")
    # a session of its own: Ctrl-C ends the replay first, and the replay ends the viewer
    viewer = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        end = time.monotonic() + START_S
        while not (_answers(port) and _answers(web_port)):
            if viewer.poll() is not None or time.monotonic() > end:
                _end(viewer)
                last = (viewer.communicate()[1].strip().splitlines() or ["it said nothing"])[-1]
                raise RuntimeError(f"the viewer did not start: {last}")
            time.sleep(0.05)
        address = f"rerun+http://{LOOPBACK}:{port}/proxy"
        print(f"watch at http://{LOOPBACK}:{web_port}/?url={quote(address, safe='')} until Ctrl-C", flush=True)
        yield address
    finally:
        _end(viewer)


def _end(viewer: subprocess.Popen[str]) -> None:
    """End the process and the one it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(viewer.pid, signal.SIGTERM)
    viewer.wait(10)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((LOOPBACK, port)) == 0


def _place(name: str) -> str:
    """Where a stream stands: dots of its name are folders."""
    return name.replace(".", "/")
