"""How the streams of an episode become the columns of a LeRobot table, and back.

LeRobot is one table with one rate; an episode has a control clock and a slower camera clock. One row is one camera
frame. With k control steps per frame, row i holds

    observation.state, action            the values at step i k, for LeRobot's own policies
    observation.images.CAMERA            rgb; CAMERA_depth and CAMERA_segmentation beside it
    steps.STREAM                         the k values at steps i k ... i k + k - 1, flattened: nothing is lost
    steps.time_ns                        the control clock of these steps
    frames.STREAM                        the value of another stream that ticks with the cameras, flattened

The last row repeats the final step; `meta/foreact.json` knows the true lengths.
Shape letters: T control steps, N rows (camera frames), k control steps per row.
"""

from dataclasses import dataclass

import numpy as np

from foreact.episodes.arrays import StoreError
from foreact.episodes.contract import PolicyContract
from foreact.episodes.episode import Episode, EpisodeHeader, Stream

TIME = "steps.time_ns"
_CLOCK_TOLERANCE = 0.1  # of a frame period


@dataclass(frozen=True)
class StreamColumn:
    """One stream in the table: dtype, shape of a sample, unit, rate [Hz], and the image column if it is a camera."""

    dtype: str
    shape: tuple[int, ...]
    unit: str
    rate_hz: float
    image: str | None


@dataclass(frozen=True)
class TableLayout:
    """Rows per second, control steps per row, and the streams by name."""

    fps: int
    steps_per_frame: int
    streams: dict[str, StreamColumn]

    @property
    def step_streams(self) -> list[str]:
        """Streams on the control clock, sorted."""
        return sorted(name for name, s in self.streams.items() if s.image is None and not self._on_frames(s))

    @property
    def frame_streams(self) -> list[str]:
        """Streams on the camera clock that are not pictures, sorted."""
        return sorted(name for name, s in self.streams.items() if s.image is None and self._on_frames(s))

    def _on_frames(self, stream: StreamColumn) -> bool:
        return self.steps_per_frame > 1 and stream.rate_hz == self.fps

    @property
    def image_streams(self) -> list[str]:
        """Streams on the camera clock, sorted."""
        return sorted(name for name, stream in self.streams.items() if stream.image is not None)


def image_column(stream: str) -> str:
    """Column of a camera stream: camera.front.rgb -> observation.images.front, depth -> ...front_depth."""
    _, camera, kind = stream.split(".")
    return f"observation.images.{camera}" + ("" if kind == "rgb" else f"_{kind}")


def plan_table(header: EpisodeHeader, contract: PolicyContract) -> TableLayout:
    """Derive the table from the first episode.

    Raises:
        StoreError: rates that no fixed-rate table can hold.
    """
    cameras = {name: s for name, s in header.streams.items() if name.startswith("camera.")}
    rates = {stream.rate_hz for stream in cameras.values()} or {contract.control_rate_hz}
    if len(rates) > 1:
        raise StoreError(f"cameras run at {sorted(rates)} Hz; a LeRobot table has one rate for all of them")
    fps = rates.pop()
    steps = contract.control_rate_hz / fps
    if fps != int(fps) or steps != int(steps):
        raise StoreError(
            f"LeRobot needs a whole frame rate that divides the control rate, "
            f"got {fps} Hz images and {contract.control_rate_hz} Hz control"
        )
    streams = {
        name: StreamColumn(s.dtype, s.shape[1:], s.unit, s.rate_hz, image_column(name) if name in cameras else None)
        for name, s in header.streams.items()
    }
    columns = [stream.image for stream in streams.values() if stream.image is not None]
    if len(set(columns)) != len(columns):
        raise StoreError(f"two camera streams would share a LeRobot column: {sorted(columns)}; rename a camera")
    return TableLayout(int(fps), int(steps), streams)


def check_episode_fits(layout: TableLayout, header: EpisodeHeader, key: str) -> None:
    """Refuse an episode whose streams differ from the table's.

    Raises:
        StoreError: names what differs.
    """
    found = {name: (s.dtype, s.shape[1:], s.unit, s.rate_hz) for name, s in header.streams.items()}
    wanted = {name: (s.dtype, s.shape, s.unit, s.rate_hz) for name, s in layout.streams.items()}
    differing = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    if differing:
        name = differing[0]
        raise StoreError(
            f"episode {key}: stream {name} is {found.get(name)}, in the first episode it is {wanted.get(name)}; "
            "a LeRobot table needs the same columns in all episodes"
        )


def table_rows(layout: TableLayout, episode: Episode, key: str) -> dict[str, np.ndarray]:
    """Columns of one episode, each with N rows.

    Raises:
        StoreError: clocks that do not lie on one fixed-rate grid.
    """
    control = episode.streams["action"].time_ns
    rows = -(-len(control) // layout.steps_per_frame)
    _check_clocks(layout, episode, control, rows, key)
    # steps of row i: i k, ..., i k + k - 1, the last step repeated where the episode ends inside a row
    steps = np.minimum(np.arange(rows * layout.steps_per_frame), len(control) - 1).reshape(rows, -1)
    columns = {
        "observation.state": episode.streams["state"].data[steps[:, 0]],
        "action": episode.streams["action"].data[steps[:, 0]],
        TIME: control[steps],
    }
    for name in layout.step_streams:
        columns[f"steps.{name}"] = episode.streams[name].data[steps].reshape(rows, -1)
    for name in layout.frame_streams:
        columns[f"frames.{name}"] = episode.streams[name].data.reshape(rows, -1)
    for name in layout.image_streams:
        column = layout.streams[name].image
        assert column is not None
        columns[column] = episode.streams[name].data
    return columns


def episode_streams(layout: TableLayout, columns: dict[str, np.ndarray], steps: int) -> dict[str, Stream]:
    """Inverse of `table_rows`.

    Args:
        layout: of the table.
        columns: as `table_rows` returns them.
        steps: true number of control steps T.
    """
    control = columns[TIME].reshape(-1)[:steps]
    frames = control[:: layout.steps_per_frame]
    streams: dict[str, Stream] = {}
    for name, about in layout.streams.items():
        if about.image is not None:
            streams[name] = Stream(columns[about.image], frames, about.unit, about.rate_hz)
        elif name in layout.frame_streams:
            data = columns[f"frames.{name}"].reshape(-1, *about.shape)
            streams[name] = Stream(np.ascontiguousarray(data), frames, about.unit, about.rate_hz)
        else:
            data = columns[f"steps.{name}"].reshape(-1, *about.shape)[:steps]
            streams[name] = Stream(np.ascontiguousarray(data), control, about.unit, about.rate_hz)
    return streams


def _check_clocks(layout: TableLayout, episode: Episode, control: np.ndarray, rows: int, key: str) -> None:
    frames = control[:: layout.steps_per_frame]
    for name, stream in episode.streams.items():
        expected = control if name in layout.step_streams else frames
        if not np.array_equal(stream.time_ns, expected):
            what = "control clock" if name in layout.step_streams else "every k-th control step"
            raise StoreError(f"episode {key}: stream {name} does not tick with the {what} (k={layout.steps_per_frame})")
    period = 1e9 / layout.fps
    late = np.abs(frames - np.arange(rows) * period).max()
    if late > _CLOCK_TOLERANCE * period:
        raise StoreError(f"episode {key}: frames are up to {late / 1e6:.2f} ms off a fixed {layout.fps} Hz rate")
