"""LeRobotDataset v3.0, v2.1 and v2.0: a recording for each episode.

Shape letters: T = rows of an episode, H and W = image height and width.
"""

from __future__ import annotations

import functools
import importlib
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.episodes.arrays import StoreError
from foreact.episodes.lerobot_reader import (
    INDEX_COLUMNS,
    Feature,
    LeRobotEpisode,
    LeRobotReader,
    decode_image,
    read_json,
)
from foreact.episodes.sources.encoded import Clip, Stills
from foreact.episodes.sources.lerobot_own import SIDECAR, is_own, open_own, read_own
from foreact.episodes.sources.lerobot_v2 import LeRobotV2Reader, read_json_lines
from foreact.episodes.sources.parts import Part, PartsSource, Recordings, array_part
from foreact.episodes.sources.protocol import Collection, Source, SourceError, Stream
from foreact.episodes.sources.video import VideoPool
from foreact.episodes.sources.video_index import ticks_to_ns
from foreact.episodes.sources.video_part import describe_video

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["open_collection"]

READERS = {"v3.0": LeRobotReader, "v2.1": LeRobotV2Reader, "v2.0": LeRobotV2Reader}
NAMES = {"observation.state": "state", "next.reward": "reward", "next.done": "done"}
TEMPLATE = re.compile(r"(?:[^{}]|\{(?:chunk_index|file_index|episode_chunk|episode_index|video_key)(?::0?[1-9]d)?\})+")
GRID_S = 1e-4  # as far as a stamp may lie from frame / fps and still be taken for it
FRAME_S = 1e-3  # as far as a frame of a video may lie from its row
TEXT = ("string", "large_string")


def open_collection(path: Path) -> Collection:
    """Open a dataset folder.

    Raises:
        SourceError: Damaged, or of another version.
        ModuleNotFoundError: pyarrow is not installed.
    """
    _needs_pyarrow()
    with _source_errors(path):
        info = read_json(path / "meta" / "info.json")
        version = info.get("codebase_version")
        if version not in READERS:
            raise SourceError(f"{path} is a LeRobot dataset of version {version!r}; read are {', '.join(READERS)}")
        _check_info(info, path)
        reader = READERS[version](path, info)
        episodes = reader.episodes()
        tasks = _tasks(path)
        pool = VideoPool()
        said = read_json(path / SIDECAR) if (path / SIDECAR).is_file() else {}
        if is_own(said):
            return open_own(reader, read_own(said, path, len(episodes)), episodes, pool, _source_errors)
        openers: dict[str, Callable[[], Source]] = {
            f"episode_{episode.index:06d}": functools.partial(_open, reader, info, episode, tasks, pool)
            for episode in episodes
        }
    return Recordings(path, f"lerobot-{version[1:]}", openers, on_close=pool.close)


def _needs_pyarrow() -> None:
    try:
        importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("LeRobot datasets need pyarrow: pip install 'foreact[data]'") from error


@contextmanager
def _source_errors(where: Path | str) -> Iterator[None]:
    """What damaged tables raise, as one error."""
    import pyarrow as pa

    try:
        yield
    except SourceError:
        raise
    except StoreError as error:
        raise SourceError(str(error)) from error
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise SourceError(f"{where}: its tables lack or misname something: {error!r}") from error
    except (OSError, ValueError, OverflowError, RecursionError, pa.ArrowException) as error:
        raise SourceError(f"{where}: damaged: {error}") from error


def _check_info(info: dict[str, Any], path: Path) -> None:
    """Refuse a rate that is none and names that lead out of the folder."""
    where = f"{path}/meta/info.json"
    fps = info.get("fps")
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not math.isfinite(fps) or not 0 < fps < 1e6:
        raise SourceError(f"{where}: fps is {fps!r}")
    for key in ("data_path", "video_path"):
        template = info.get(key)
        if template is None and key == "video_path":
            continue
        if not isinstance(template, str) or not TEMPLATE.fullmatch(template) or _leads_out(template):
            raise SourceError(f"{where}: {key} is {template!r}, which names no file in the folder")
    if not isinstance(info.get("features"), dict) or any(map(_leads_out, info["features"])):
        raise SourceError(f"{where}: features are not objects by name, or a name leads out of the folder")


def _leads_out(name: str) -> bool:
    return name.startswith(("/", "\\", "~")) or ".." in re.split(r"[/\\]", name) or "\0" in name


def _tasks(path: Path) -> dict[int, str]:
    """What `task_index` means; empty if the dataset does not say."""
    parquet = importlib.import_module("pyarrow.parquet")
    meta = path / "meta"
    if (meta / "tasks.parquet").is_file():
        with parquet.ParquetFile(meta / "tasks.parquet") as file:
            rows = file.read().to_pylist()
        return {int(row["task_index"]): str(row.get("task", row.get("__index_level_0__"))) for row in rows}
    if (meta / "tasks.jsonl").is_file():
        return {int(row["task_index"]): str(row["task"]) for row in read_json_lines(meta / "tasks.jsonl")}
    return {}


def _open(
    reader: LeRobotReader, info: dict[str, Any], episode: LeRobotEpisode, tasks: dict[int, str], pool: VideoPool
) -> Source:
    where = f"{reader.path}: episode {episode.index}"
    with _source_errors(where):
        _check_row(episode, where)
        return _Episode(reader, episode, tasks, pool, where).source(info)


def _check_row(episode: LeRobotEpisode, where: str) -> None:
    """Numbers from which names of files are made are whole and not negative."""
    numbers = {key: value for key, value in episode.row.items() if key.endswith(("chunk_index", "file_index"))}
    numbers["length"] = episode.length
    wrong = {key: value for key, value in numbers.items() if not isinstance(value, int) or not 0 <= value < 1 << 40}
    if wrong:
        raise SourceError(f"{where}: not whole numbers: {wrong}")


class _Episode:
    """One episode while it is opened."""

    def __init__(
        self, reader: LeRobotReader, episode: LeRobotEpisode, tasks: dict[int, str], pool: VideoPool, where: str
    ) -> None:
        self.reader, self.episode, self.tasks, self.pool, self.where = reader, episode, tasks, pool, where
        self.notes: list[str] = []
        names = [name for name, feature in reader.features.items() if not feature.is_image]
        have = set(self._columns())
        self.table: pa.Table = reader.rows(episode, [name for name in names if name in have])
        self.stamps = self._stamps()

    def source(self, info: dict[str, Any]) -> Source:
        parts = [part for name, feature in self.reader.features.items() for part in self._part(name, feature)]
        parts += self._task_part()
        tasks = [str(task) for task in self.episode.row.get("tasks") or ()]
        metadata = {
            "codebase_version": info["codebase_version"],
            "robot_type": self.reader.robot_type,
            "fps": info["fps"],
            "episode_index": self.episode.index,
            "tasks": tasks,
        }
        key = f"episode_{self.episode.index:06d}"
        return PartsSource(key, parts, task=self.episode.instruction, metadata=metadata, notes=self.notes)

    def _columns(self) -> list[str]:
        parquet = importlib.import_module("pyarrow.parquet")
        file = self.reader.data_file(self.episode)
        with _source_errors(file):
            return parquet.read_schema(file).names

    def _stamps(self) -> np.ndarray:
        """Rows' times, int64 (T,) [ns] from the start of the episode."""
        seconds = self.reader.column(self.table, "timestamp").reshape(-1)
        frames = self.reader.column(self.table, "frame_index").reshape(-1)
        if not np.isfinite(seconds).all() or seconds.dtype.kind != "f" or frames.dtype.kind != "i":
            raise SourceError(f"{self.where}: timestamp or frame_index are not finite numbers")
        off = np.abs(seconds.astype(np.float64) - frames / self.reader.fps)
        if np.all(off <= GRID_S + np.spacing(np.abs(seconds))):
            return ticks_to_ns(frames, 1 / Fraction(str(self.reader.fps)))
        worst = float(off.max())
        self.notes.append(
            f"timestamps are up to {worst:.6g} s off frame_index / fps: they are taken as they are, "
            f"32-bit seconds, good to {float(np.spacing(np.abs(seconds).max())):.2g} s"
        )
        return np.array([round(float(second) * 1e9) for second in seconds], np.int64)

    def _part(self, name: str, feature: Feature) -> Iterator[Part]:
        """The part of a column; none, and a note, where it cannot be given."""
        if name in INDEX_COLUMNS:
            return
        try:
            if feature.dtype == "video":
                yield self._video(name, feature)
            elif feature.dtype == "image":
                yield self._images(name, feature)
            elif feature.dtype in TEXT:
                yield self._texts(NAMES.get(name, name), self.table.column(name).to_pylist())
            else:
                yield self._vector(name, feature)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:  # StoreError is a ValueError
            self.notes.append(f"{name} is left out: {error}")

    def _vector(self, name: str, feature: Feature) -> Part:
        values = self.reader.column(self.table, name)
        elements = feature.names if len(feature.names) == math.prod(feature.shape) else ()
        stream = Stream(
            NAMES.get(name, name.replace("/", ".")),
            "vector",
            feature.shape,
            str(values.dtype),
            clock="episode",
            rate_hz=self.reader.fps,
            elements=elements,
            description=f"column {name}",
        )
        return array_part(stream, self.stamps, values)

    def _texts(self, name: str, texts: list[Any]) -> Part:
        if not all(isinstance(text, str) for text in texts):
            raise SourceError(f"column {name} does not hold text throughout")
        stream = Stream(name.replace("/", "."), "text", (), "str", clock="episode", rate_hz=self.reader.fps)
        return Part(stream, self.stamps, texts.__getitem__, lambda start, stop: texts[start:stop])

    def _task_part(self) -> list[Part]:
        """Tasks row by row, where an episode has several."""
        if "task_index" not in self.table.column_names:
            return []
        which = self.reader.column(self.table, "task_index").reshape(-1)
        if len(np.unique(which)) < 2:
            return []
        return [self._texts("task", [self.tasks.get(int(number), "") for number in which])]

    def _images(self, name: str, feature: Feature) -> Part:
        def cells() -> Any:
            with _source_errors(self.where):
                return self.reader.rows(self.episode, [name]).column(name)

        column = functools.cache(cells)

        def read(index: int) -> np.ndarray:
            with _source_errors(self.where):
                pixels = decode_image(column()[index].as_py(), f"{self.where}: {name}, image {index}")
            if pixels.shape != shape:
                raise SourceError(f"{self.where}: {name}, image {index} is {pixels.shape}, not {shape}")
            return pixels

        shape = feature.image_size if feature.is_depth else (*feature.image_size, 3)

        def packed(index: int) -> bytes:
            with _source_errors(self.where):
                return bytes(column()[index].as_py()["bytes"])

        stream = self._camera(name, feature, shape, "uint16" if feature.is_depth else "uint8")
        return Part(stream, self.stamps, read, encoded=None if feature.is_depth else Stills(packed))

    def _camera(self, name: str, feature: Feature, shape: tuple[int, ...], dtype: str, description: str = "") -> Stream:
        short = name.removeprefix("observation.images.").removeprefix("observation.image.").removeprefix("observation.")
        return Stream(
            f"{'depth' if feature.is_depth else 'camera'}.{short.replace('/', '.')}",
            "depth" if feature.is_depth else "image",
            shape,
            dtype,
            unit="mm" if feature.is_depth else "",
            clock="episode",
            rate_hz=self.reader.fps,
            elements=() if feature.is_depth else ("r", "g", "b"),
            description=description or f"column {name}",
        )

    def _video(self, name: str, feature: Feature) -> Part:
        if feature.is_depth:
            raise SourceError("depth in a video, whose steps are not evenly spaced, is not read")
        path, start = self.reader.video_file(self.episode, name)
        index = self.pool.index(path)
        if index.size != feature.image_size:
            raise SourceError(f"{path} holds {index.size} images, info.json says {feature.image_size}")
        self.notes += [f"{name}: {note}" for note in index.notes]
        which = _nearest(index.stamps, self.stamps + round(start * 1e9), min(FRAME_S, 0.4 / self.reader.fps))
        if lost := int((which < 0).sum()):
            self.notes.append(f"{name}: {path} has no frame for {lost} of {len(which)} rows")
        stream = self._camera(name, feature, (*index.size, 3), "uint8", describe_video(index))
        pool = self.pool

        def read(number: int) -> np.ndarray:
            if which[number] < 0:
                raise SourceError(f"{path}: no frame for row {number}")
            with pool.video(path) as video:
                return video.read(int(which[number]))

        def read_range(begin: int, end: int) -> np.ndarray:
            asked = which[begin:end]
            if len(asked) and np.all(asked >= 0) and np.all(np.diff(asked) == 1):
                with pool.video(path) as video:
                    return video.read_range(int(asked[0]), int(asked[-1]) + 1)
            images = np.empty((end - begin, *index.size, 3), np.uint8)
            for place in range(end - begin):
                images[place] = read(begin + place)
            return images

        in_a_row = len(which) > 0 and which[0] >= 0 and bool(np.all(np.diff(which) == 1))
        packed = Clip(path, 0, int(which[0])) if in_a_row else None
        return Part(stream, self.stamps, read, read_range, packed)


def _nearest(stamps: np.ndarray, wanted: np.ndarray, tolerance_s: float) -> np.ndarray:
    """Number of the frame nearest to each time [ns], rising frames; -1 where none is near enough."""
    right = np.clip(np.searchsorted(stamps, wanted), 0, len(stamps) - 1)
    left = np.maximum(right - 1, 0)
    which = np.where(np.abs(stamps[left] - wanted) <= np.abs(stamps[right] - wanted), left, right)
    return np.where(np.abs(stamps[which] - wanted) <= tolerance_s * 1e9, which, -1)
