"""A LeRobot dataset made by someone else: its contract as far as it states one, "unknown" where it does not."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foreact.episodes.arrays import StoreError
from foreact.episodes.contract import (
    CONTRACT_VERSION,
    UNKNOWN,
    CameraSpec,
    FeatureSpec,
    LanguageSpec,
    PolicyContract,
)
from foreact.episodes.episode import Episode, Stream
from foreact.episodes.lerobot_reader import INDEX_COLUMNS, Feature, LeRobotEpisode, LeRobotReader
from foreact.episodes.outcome import JSON

if TYPE_CHECKING:
    import pyarrow as pa

_STREAMS = {"observation.state": "state", "next.reward": "reward", "next.success": "success"}


@dataclass(frozen=True)
class ForeignDataset:
    """Reads episodes of a dataset without `meta/foreact.json`; use `open`."""

    reader: LeRobotReader
    chunk_length: int

    @classmethod
    def open(cls, reader: LeRobotReader, chunk_length: int) -> "ForeignDataset":
        """Check that there is something to learn from.

        Raises:
            StoreError: no float32 "observation.state" or "action" vector.
        """
        for name in ("observation.state", "action"):
            feature = reader.features.get(name)
            if feature is None:
                raise StoreError(f"{reader.path} has no {name!r}; it has {sorted(reader.features)}")
            if feature.dtype != "float32" or len(feature.shape) != 1:
                raise StoreError(f"{reader.path}: {name} is {feature.dtype} {feature.shape}, expected a float32 vector")
        return cls(reader, chunk_length)

    @functools.cached_property
    def contract(self) -> PolicyContract:
        """Derived from info.json and the range of the values: what is not stated there is marked unknown."""
        state, action = (self._feature_spec(column) for column in ("observation.state", "action"))
        return PolicyContract(
            version=CONTRACT_VERSION,
            embodiment=self.reader.robot_type or UNKNOWN,
            control_rate_hz=self.reader.fps,
            chunk_length=self.chunk_length,
            state=state,
            action=action,
            cameras=tuple(self._camera_spec(name, kinds) for name, kinds in self._cameras().items()),
            language=LanguageSpec(),
            audio=None,
        )

    @property
    def attributes(self) -> dict[str, JSON]:
        """Where the episodes came from."""
        return {"source": "LeRobotDataset v3.0", "left_out": list(self._left_out())}

    @property
    def figures(self) -> dict[str, JSON]:
        """What is not known, which columns were not taken, and whether images went through a lossy video."""
        lossy = any(feature.dtype == "video" for feature in self.reader.features.values())
        unknown: list[JSON] = ["units", "frames of reference", "camera calibration", "seed"]
        if "next.success" not in self.reader.features:
            unknown.append("success")
        return {"unknown": unknown, "left_out": list(self._left_out()), "lossy_rgb": lossy}

    def key(self, episode: LeRobotEpisode) -> str:
        """Instruction in lower-case words, then the episode's index."""
        return f"{_slug(episode.instruction)}-{episode.index:05d}"

    def read(self, episode: LeRobotEpisode) -> Episode:
        """All streams on the one clock of the table; seed is the index, marked unknown."""
        table = self.reader.table(episode)
        rate = self.reader.fps
        time_ns = np.round(np.arange(episode.length) * (1e9 / rate)).astype(np.int64)
        streams = {name: Stream(data, time_ns, unit, rate) for name, data, unit in self._streams(episode, table)}
        unknown: list[JSON] = ["seed"] if "success" in streams else ["seed", "success"]
        success = bool(streams["success"].data.any()) if "success" in streams else False
        return Episode(
            streams=streams,
            task=_slug(episode.instruction),
            instruction=episode.instruction or UNKNOWN,
            seed=episode.index,
            success=success,
            metadata={"unknown": unknown, "source_episode": episode.index},
        )

    def _streams(self, episode: LeRobotEpisode, table: "pa.Table") -> Iterator[tuple[str, np.ndarray, str]]:
        for column, feature in self._numeric().items():
            data = self.reader.column(table, column)
            yield _stream_name(column), data[:, 0] if feature.shape == (1,) else data, UNKNOWN
        for camera, kinds in self._cameras().items():
            for kind, column in kinds.items():
                unit = "mm" if kind == "depth" else "1"
                yield f"camera.{camera}.{kind}", self.reader.images(episode, table, column), unit

    def _numeric(self) -> dict[str, Feature]:
        return {
            name: feature
            for name, feature in self.reader.features.items()
            if name not in INDEX_COLUMNS and not feature.is_image and feature.dtype not in ("string", "language")
        }

    def _cameras(self) -> dict[str, dict[str, str]]:
        """Column per kind per camera; a depth image "X_depth" belongs to the camera X of equal size."""
        columns = {
            name: feature
            for name, feature in self.reader.features.items()
            if feature.is_image and name not in self._left_out()
        }
        cameras = {_camera_name(name): {"rgb": name} for name, feature in columns.items() if not feature.is_depth}
        for name, feature in columns.items():
            if feature.is_depth:
                camera = _camera_name(name)
                owner = camera.removesuffix("_depth")
                same_size = (
                    owner in cameras and self.reader.features[cameras[owner]["rgb"]].image_size == feature.image_size
                )
                cameras.setdefault(owner if same_size else camera, {})["depth"] = name
        return cameras

    def _left_out(self) -> list[str]:
        """Columns that a store has no exact place for: text, and depth that was quantised into a video."""
        return [
            name
            for name, feature in self.reader.features.items()
            if feature.dtype in ("string", "language") or (feature.is_depth and feature.dtype == "video")
        ]

    def _feature_spec(self, column: str) -> FeatureSpec:
        feature = self.reader.features[column]
        low, high = self._range(column)
        count = feature.shape[0]
        named = len(set(feature.names)) == count == len(feature.names)
        return FeatureSpec(
            name=_stream_name(column),
            dtype="float32",
            elements=feature.names if named else tuple(f"{_stream_name(column)}_{i}" for i in range(count)),
            units=(UNKNOWN,) * count,
            frame=UNKNOWN,
            low=low,
            high=high,
            # The range seen in the data is not the physical range, so it must not become a normalisation unasked.
            normalisation="none",
        )

    def _range(self, column: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        lows, highs = [], []
        for episode in self.reader.episodes():
            values = self.reader.column(self.reader.table(episode), column)
            if not np.isfinite(values).all():
                raise StoreError(f"{self.reader.path}: episode {episode.index}: {column} holds NaN or infinity")
            lows.append(values.min(axis=0))
            highs.append(values.max(axis=0))
        return tuple(map(float, np.min(lows, axis=0))), tuple(map(float, np.max(highs, axis=0)))

    def _camera_spec(self, name: str, kinds: dict[str, str]) -> CameraSpec:
        height, width = self.reader.features[next(iter(kinds.values()))].image_size
        return CameraSpec(
            name=name,
            width=width,
            height=height,
            streams=tuple(kinds),
            fx=0.0,
            fy=0.0,
            cx=0.0,
            cy=0.0,
            mount=UNKNOWN,
            position=(0.0, 0.0, 0.0),
            orientation=(1.0, 0.0, 0.0, 0.0),
        )


def _stream_name(column: str) -> str:
    return _STREAMS.get(column) or re.sub(r"[^a-z0-9_.]", "_", column.lower())


def _camera_name(column: str) -> str:
    short = column.removeprefix("observation.images.").removeprefix("observation.")
    return re.sub(r"[^a-z0-9_]", "_", short.lower())


def _slug(instruction: str) -> str:
    words = re.findall(r"[a-z0-9]+", instruction.lower())
    return "-".join(words)[:60].strip("-") or "episode"
