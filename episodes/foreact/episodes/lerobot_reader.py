"""Read a LeRobotDataset v3.0 folder with pyarrow, Pillow and PyAV alone.

Shape letters: T table rows of one episode, H image height, W image width.
"""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.arrays import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = "v3.0"
INDEX_COLUMNS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_TIME_TOLERANCE_S = 1e-3


@dataclass(frozen=True)
class Feature:
    """One column: dtype ("float32", "image", "video", ...), shape per row, element names, whether it is depth."""

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]
    is_depth: bool

    @property
    def is_image(self) -> bool:
        """Whether rows are images, in the table or in a video."""
        return self.dtype in ("image", "video")

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) [px], whichever axis order the dataset declares."""
        channels_first = bool(self.names) and self.names[0].startswith("channel")
        return (self.shape[1], self.shape[2]) if channels_first else (self.shape[0], self.shape[1])


@dataclass(frozen=True)
class LeRobotEpisode:
    """Where an episode lies and what the robot was told; `row` is its line of the episode table."""

    index: int
    length: int
    instruction: str
    row: dict[str, Any]


def is_lerobot(path: Path) -> bool:
    """Whether a folder looks like a LeRobot dataset of any version."""
    return (path / "meta" / "info.json").is_file()


class LeRobotReader:
    """Episodes of a LeRobotDataset v3.0 folder; use `open`."""

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path = path
        self._info = info
        self.fps = float(info["fps"])
        self.robot_type = info.get("robot_type") or ""
        self.features = {name: _feature(name, value, path) for name, value in info["features"].items()}

    @classmethod
    def open(cls, path: Path) -> "LeRobotReader":
        """Open a dataset folder.

        Raises:
            StoreError: not a LeRobot dataset, another version, or damaged metadata.
        """
        if not is_lerobot(path):
            raise StoreError(f"{path} is not a LeRobot dataset: it has no meta/info.json")
        info = read_json(path / "meta" / "info.json")
        version = info.get("codebase_version")
        if version != VERSION:
            hint = "; convert it with lerobot's convert_dataset_v21_to_v30" if version == "v2.1" else ""
            raise StoreError(f"{path} is a LeRobot dataset of version {version}, this reads {VERSION}{hint}")
        missing = [key for key in ("fps", "features", "data_path") if not info.get(key)]
        if missing:
            raise StoreError(f"{path / 'meta' / 'info.json'} lacks {missing}")
        return cls(path, info)

    def episodes(self) -> list[LeRobotEpisode]:
        """All episodes, by index.

        Raises:
            StoreError: the episode table is missing, damaged, or disagrees with info.json.
        """
        rows: list[dict[str, Any]] = []
        for path in sorted((self.path / "meta" / "episodes").glob("*/*.parquet")):
            columns = [name for name in _schema_names(path) if not name.startswith("stats/")]
            rows += _read_table(path, columns).to_pylist()
        rows.sort(key=lambda row: row["episode_index"])
        total = self._info.get("total_episodes")
        if [row["episode_index"] for row in rows] != list(range(len(rows))) or total != len(rows):
            raise StoreError(f"{self.path}/meta/episodes lists {len(rows)} episodes, info.json says {total}")
        return [LeRobotEpisode(row["episode_index"], row["length"], _first(row["tasks"]), row) for row in rows]

    def table(self, episode: LeRobotEpisode) -> "pa.Table":
        """All rows of an episode, with every column that lies in the table (not videos).

        Raises:
            StoreError: the file is missing, damaged, or holds another number of rows.
        """
        table = self.rows(episode)
        self._check_time(table, episode, self.data_file(episode))
        return table

    def rows(self, episode: LeRobotEpisode, columns: list[str] | None = None) -> "pa.Table":
        """Some columns of all rows of an episode, whatever their times; None for every column of the table.

        Raises:
            StoreError: the file is missing, damaged, or holds another number of rows.
        """
        path = self.data_file(episode)
        table = _read_table(path, columns, episode.index)
        if table.num_rows != episode.length:
            raise StoreError(f"{path}: episode {episode.index} has {table.num_rows} rows, expected {episode.length}")
        return table

    def data_file(self, episode: LeRobotEpisode) -> Path:
        """The file that holds an episode's rows."""
        row = episode.row
        place = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        return self.path / self._info["data_path"].format(**place)

    def video_file(self, episode: LeRobotEpisode, name: str) -> tuple[Path, float]:
        """The file that holds an episode's frames of a camera, and the time of its first frame in there [s]."""
        row, prefix = episode.row, f"videos/{name}/"
        place = {"chunk_index": row[f"{prefix}chunk_index"], "file_index": row[f"{prefix}file_index"]}
        path = self.path / self._info["video_path"].format(video_key=name, **place)
        return path, float(row[f"{prefix}from_timestamp"])

    def column(self, table: "pa.Table", name: str) -> np.ndarray:
        """A numeric column as (T, ...) of its declared dtype and shape.

        Raises:
            StoreError: absent, of another type or size, or with gaps.
        """
        if name not in table.column_names:
            raise StoreError(f"{self.path}: the table has no column {name!r}; it has {table.column_names}")
        values = table.column(name).combine_chunks()
        while hasattr(values, "flatten") and str(values.type).startswith(("list", "fixed_size_list", "extension")):
            values = values.storage if str(values.type).startswith("extension") else values.flatten()
        data = _numpy(values)
        feature = self.features[name]
        shape = (table.num_rows, *feature.shape)
        if values.null_count or data.dtype != np.dtype(feature.dtype) or data.size != math.prod(shape):
            raise StoreError(f"{self.path}: column {name!r} is not {feature.dtype} {shape} without gaps")
        return data.reshape(shape)

    def images(self, episode: LeRobotEpisode, table: "pa.Table", name: str) -> np.ndarray:
        """An image column as uint8 (T, H, W, 3), or uint16 (T, H, W) [mm] for depth.

        Raises:
            StoreError: missing frames, a damaged file, another size, or depth in a (lossy) video.
        """
        feature = self.features[name]
        if feature.dtype == "image":
            frames = [decode_image(cell, f"{self.path}: {name}") for cell in table.column(name).to_pylist()]
        elif feature.is_depth:
            raise StoreError(f"{self.path}: {name} is depth in a video, which is quantised; only depth images are read")
        else:
            frames = self._decode_video(episode, name)
        for frame in frames:
            if frame.shape[:2] != feature.image_size:
                raise StoreError(f"{self.path}: {name}: expected {feature.image_size} images, got {frame.shape[:2]}")
        return np.stack(frames)

    def nbytes(self) -> int:
        """Bytes of all files of the dataset."""
        return sum(path.stat().st_size for path in self.path.rglob("*") if path.is_file())

    def verify(self) -> list[str]:
        """Read every episode, decode every image; return the problems as text."""
        problems: list[str] = []
        for episode in self.episodes():
            try:
                table = self.table(episode)
                for name, feature in self.features.items():
                    self._verify_column(episode, table, name, feature)
            except StoreError as error:
                problems.append(str(error))
        return problems

    def _verify_column(self, episode: LeRobotEpisode, table: "pa.Table", name: str, feature: Feature) -> None:
        if feature.dtype == "video" and feature.is_depth:
            return
        if feature.is_image:
            self.images(episode, table, name)
        elif feature.dtype not in ("string", "language"):
            values = self.column(table, name)
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise StoreError(f"{self.path}: episode {episode.index}: column {name!r} holds NaN or infinity")

    def _check_time(self, table: "pa.Table", episode: LeRobotEpisode, path: Path) -> None:
        index = self.column(table, "frame_index").reshape(-1)
        seconds = self.column(table, "timestamp").reshape(-1)
        if not np.array_equal(index, np.arange(episode.length)):
            raise StoreError(f"{path}: episode {episode.index}: frame_index does not count 0, 1, 2, ...")
        worst = float(np.abs(seconds - index / self.fps).max())
        if worst > _TIME_TOLERANCE_S:
            raise StoreError(f"{path}: episode {episode.index}: timestamps are off the {self.fps} Hz grid by {worst} s")

    def _decode_video(self, episode: LeRobotEpisode, name: str) -> list[np.ndarray]:
        av = _require("av")
        path, start = self.video_file(episode, name)
        frames: list[np.ndarray] = []
        try:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                # seek lands on the key frame at or before the time; what comes too early is dropped
                container.seek(int(start / float(stream.time_base)), stream=stream)
                for frame in container.decode(stream):
                    late = float(frame.time) - start - len(frames) / self.fps
                    if late >= -_TIME_TOLERANCE_S and len(frames) < episode.length:
                        if late > _TIME_TOLERANCE_S:
                            raise StoreError(f"{path}: no frame at {start + len(frames) / self.fps:.4f} s")
                        frames.append(frame.to_ndarray(format="rgb24"))
                    if len(frames) == episode.length:
                        break
        except (OSError, ValueError) as error:
            raise error if isinstance(error, StoreError) else StoreError(f"{path}: cannot decode: {error}") from error
        if len(frames) != episode.length:
            raise StoreError(f"{path}: episode {episode.index}: {len(frames)} frames, expected {episode.length}")
        return frames


def read_json(path: Path) -> dict[str, Any]:
    """Parse a JSON file that holds an object.

    Raises:
        StoreError: missing or damaged.
    """
    try:
        content = strictjson.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, strictjson.StrictJsonError) as error:
        raise StoreError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise StoreError(f"{path} does not hold a JSON object")
    return content


def _require(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise StoreError(
            f"LeRobot datasets need {module}, which is missing: pip install 'foreact[train,viz]'"
        ) from error


def _schema_names(path: Path) -> list[str]:
    return _parquet(path, lambda parquet: parquet.read_schema(path).names)


def _read_table(path: Path, columns: list[str] | None, episode: int | None = None) -> "pa.Table":
    def read(parquet: Any) -> "pa.Table":
        with parquet.ParquetFile(path) as file:
            return file.read(columns) if episode is None else _rows_of(file, columns, episode)

    return _parquet(path, read)


def _rows_of(file: Any, columns: list[str] | None, episode: int) -> "pa.Table":
    """Rows of one episode.

    On some damaged files pyarrow's filters never come back and its statistics end the process: neither is asked.
    """
    pieces = []
    for group in range(file.num_row_groups):
        column = file.read_row_group(group, columns=["episode_index"])["episode_index"]
        owner = np.concatenate([_numpy(chunk) for chunk in column.chunks]) if column.num_chunks else np.empty(0)
        rows = np.flatnonzero(owner == episode)
        if len(rows):
            table = file.read_row_group(group, columns=columns)
            table = table if columns is None else table.select(columns)
            # slices, as arrow's own comparing and taking would import pandas, which takes a second
            runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
            pieces += [table.slice(int(run[0]), len(run)) for run in runs]
    if pieces:
        return _require("pyarrow").concat_tables(pieces)
    empty = file.schema_arrow.empty_table()
    return empty if columns is None else empty.select(columns)


def _numpy(values: Any) -> np.ndarray:
    """An arrow array; numbers by DLPack, as arrow's own way imports pandas, which takes a second."""
    kind = str(values.type)
    if values.null_count == 0 and kind.removeprefix("u").startswith(("int", "float", "double")):
        return np.from_dlpack(values)
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _parquet(path: Path, read: Any) -> Any:
    parquet = _require("pyarrow.parquet")
    try:
        return read(parquet)
    except (OSError, ValueError, KeyError, TypeError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise StoreError(f"{path} is missing, truncated or damaged: {error}") from error


def _feature(name: str, value: Any, path: Path) -> Feature:
    try:
        info = value.get("info") or value.get("video_info") or {}
        is_depth = bool(info.get("is_depth_map") or info.get("video.is_depth_map"))
        return Feature(str(value["dtype"]), tuple(map(int, value["shape"])), _flat_names(value.get("names")), is_depth)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}/meta/info.json: feature {name!r} is malformed: {error!r}") from error


def _flat_names(names: object) -> tuple[str, ...]:
    """LeRobot names come as a list, a list in a list, a dict of lists, or null."""
    if isinstance(names, dict):
        names = list(names.values())
    if isinstance(names, list):
        return tuple(name for item in names for name in _flat_names(item))
    return () if names is None else (str(names),)


def _first(tasks: list[str]) -> str:
    return tasks[0] if tasks else ""


def decode_image(cell: object, where: str) -> np.ndarray:
    """A cell of an image column as uint8 (H, W, 3), or uint16 (H, W) [mm] for depth.

    Raises:
        StoreError: not embedded, damaged, or of another form.
    """
    image_module = _require("PIL.Image")
    content = cell.get("bytes") if isinstance(cell, dict) else None
    if not isinstance(content, bytes):
        raise StoreError(f"{where}: an image is not embedded in the table")
    try:
        with image_module.open(io.BytesIO(content)) as image:
            pixels = np.asarray(image)
    except (OSError, ValueError, SyntaxError, image_module.DecompressionBombError) as error:
        raise StoreError(f"{where}: an image cannot be decoded: {error}") from error
    if (pixels.dtype, pixels.ndim) == (np.dtype(np.uint8), 3) and pixels.shape[2] == 3:
        return pixels
    if (pixels.dtype, pixels.ndim) == (np.dtype(np.uint16), 2):
        return pixels
    raise StoreError(f"{where}: expected RGB or 16-bit depth, got {pixels.dtype} {pixels.shape}")
