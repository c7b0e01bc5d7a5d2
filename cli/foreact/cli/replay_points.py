"""Depth streams of a recording as point clouds beside them, and the cloud of all that was played.

Shape letters: n = points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from foreact.episodes.contract import CameraSpec
from foreact.episodes.lens import Lens, pinhole
from foreact.episodes.scene import lens_of
from foreact.episodes.sources import Source, Stream
from foreact.episodes.sources.parts import Part, PartsSource
from foreact.episodes.sync import Interpolate, Track

__all__ = ["PointClouds", "lens_of_contract"]

METRES = {"m": 1.0, "mm": 0.001}
ELEMENTS = ("x", "y", "z", "r", "g", "b")
MOST_PIXELS = 500_000  # of larger pictures each second, third, ... row and column is taken
MOST = 3_000_000  # points that are kept before they are thinned again


@dataclass
class PointClouds:
    """Gives recordings a cloud for each depth stream, and keeps what was asked for.

    Attributes:
        voxel_m: Edge of the cubes of which one point each is kept [m]; 0 keeps all.
        intrinsics: fx, fy, cx, cy [px] of pinhole cameras whose calibration the recording does not give; or none.
        depth_unit_m: Length of a unit of depth where the recording does not say [m]; 0 if it is not known.
        farthest_m: Points further away are left out [m]; 0 for none.
        clean: Leave out points that are further from their neighbours than most.
    """

    voxel_m: float
    intrinsics: tuple[float, ...]
    depth_unit_m: float
    farthest_m: float
    clean: bool
    streams: list[str] = field(default_factory=list)
    _kept: list[tuple[np.ndarray, np.ndarray | None]] = field(default_factory=list)
    _seen: set[tuple[str, int]] = field(default_factory=set)

    def derive(self, path: Path, source: Source) -> Source:
        """A recording with `points.CAMERA` beside each `depth.CAMERA`; notes say where there can be none.

        Args:
            path: Where it lies.
            source: It.
        """
        parts = [
            Part(stream, source.stamps(name), partial(source.read, name), partial(source.read_range, name))
            for name, stream in source.streams.items()
        ]
        notes = []
        depths = [stream for stream in source.streams.values() if stream.kind == "depth"]
        for stream in depths:
            made = self._part(path, source, stream)
            parts += [made] if isinstance(made, Part) else []
            notes += [made] if isinstance(made, str) else []
        notes += [] if depths else ["points: the recording has no depth"]
        self.streams += [part.stream.name for part in parts[len(source.streams) :]]
        return PartsSource(
            source.key,
            parts,
            task=source.task,
            metadata=source.metadata,
            notes=(*source.notes, *notes),
            close=source.close,
        )

    def write(self, path: Path) -> int:
        """Write all clouds that were read, in one frame, and tell how many points there are."""
        from foreact.perception.points import Cloud, downsample, merge, write_ply

        whole = merge([Cloud(points, colours) for points, colours in self._alike()])
        whole = downsample(whole, self.voxel_m) if self.voxel_m else whole
        write_ply(whole, path)
        return len(whole)

    def _part(self, path: Path, source: Source, stream: Stream) -> Part | str:
        """The stream of clouds, or why there is none."""
        camera = stream.name.partition(".")[2]
        height, width = stream.shape
        unit = METRES.get(stream.unit) or self.depth_unit_m
        if not unit:
            return f"points: {stream.name} does not say how long its unit is; type depth_unit_m=0.001 if it is 1 mm"
        lens = lens_of(source, stream) or _of_store(path, camera)
        if lens is None and len(self.intrinsics) == 4:
            lens = pinhole(*self.intrinsics)
        if lens is None:
            return f"points: the recording gives no calibration of camera {camera}; type intrinsics=[fx,fy,cx,cy]"
        if height is None or width is None:
            return f"points: pictures of {stream.name} are not all of one size"
        frame = lens.frame or f"camera {camera}"
        made = Stream(
            name=f"points.{camera}",
            kind="points",
            shape=(None, 6),
            dtype="float64",
            unit="m,m,m,1,1,1",
            clock=stream.clock,
            elements=ELEMENTS,
            frame=frame,
            description=f"{stream.name} by the calibration of its camera",
        )
        reader = _Reader(self, source, stream, lens, unit, _world(source, frame))
        return Part(made, source.stamps(stream.name), reader.read)

    def keep(self, name: str, index: int, points: np.ndarray, colours: np.ndarray | None) -> None:
        """Keep a cloud for the file, each once, thinned as soon as there are many."""
        from foreact.perception.points import Cloud, downsample, merge

        if (name, index) in self._seen:
            return
        self._seen.add((name, index))
        self._kept.append((points, colours))
        if self.voxel_m and len(self._kept) > 1 and sum(len(each) for each, _ in self._kept) > MOST:
            thin = downsample(merge([Cloud(*each) for each in self._alike()]), self.voxel_m)
            self._kept = [(thin.points, thin.colours)]

    def _alike(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """All with colours: those that have none are grey."""
        return [
            (points, np.full(points.shape, 128, np.uint8) if colours is None else colours)
            for points, colours in self._kept
        ]


@dataclass
class _Reader:
    """Reads the clouds of one depth stream."""

    clouds: PointClouds
    source: Source
    depth: Stream
    lens: Lens
    unit: float
    world: Track | None

    def read(self, index: int) -> np.ndarray:
        """x, y, z [m], red, green, blue of one picture, float64 (n, 6)."""
        from foreact.perception.points import Cloud, back_project, downsample, moved, without_outliers

        picture = np.asarray(self.source.read(self.depth.name, index))
        stamp = int(self.source.stamps(self.depth.name)[index])
        farthest = self.clouds.farthest_m or np.inf
        colour = self._colour(stamp, picture.shape)
        metres = picture.astype(np.float64) * self.unit
        every = math.ceil(math.sqrt(picture.size / MOST_PIXELS))
        cloud = back_project(metres, self.lens, colour, farthest=farthest, every=every)
        cloud = downsample(cloud, self.clouds.voxel_m) if self.clouds.voxel_m else cloud
        cloud = without_outliers(cloud) if self.clouds.clean else cloud
        cloud = Cloud(self.lens.to_frame(cloud.points), cloud.colours)
        placed = None if self.world is None else self.world.pick(stamp, None, Interpolate())
        whole = cloud if placed is None else moved(cloud, np.asarray(placed.value))
        self.clouds.keep(f"{id(self.source)} {self.depth.name}", index, whole.points, whole.colours)
        tint = np.full((len(cloud), 3), 160) if cloud.colours is None else cloud.colours
        return np.concatenate([cloud.points, tint], axis=1)

    def _colour(self, stamp: int, shape: tuple[int, ...]) -> np.ndarray | None:
        """The picture of the same camera that is nearest in time, if it has the same pixels."""
        name = f"camera.{self.depth.name.partition('.')[2]}"
        stream = self.source.streams.get(name)
        if stream is None or stream.shape[:2] != shape or not len(stamps := self.source.stamps(name)):
            return None
        return np.asarray(self.source.read(name, int(np.argmin(np.abs(stamps - stamp)))))


def _world(source: Source, frame: str) -> Track | None:
    """The pose that tells where a frame is, if one does."""
    found = [name for name, each in source.streams.items() if each.kind == "pose" and each.child == frame]
    found.sort(key=lambda name: -len(source.stamps(name)))
    return Track(source, found[0]) if found else None


def _of_store(path: Path, camera: str) -> Lens | None:
    """A camera of our own store, whose contract has what its recordings do not say."""
    from foreact.episodes.arrays import StoreError
    from foreact.episodes.store import EpisodeStore

    if not ((path / "zarr.json").is_file() and (path / "episodes").is_dir()):
        return None
    try:
        cameras = EpisodeStore.open(path).contract.cameras
    except StoreError:  # a store of recordings of any kind has no contract
        return None
    spec = next((each for each in cameras if each.name == camera), None)
    if spec is None or not spec.intrinsics_known:
        return None
    return lens_of_contract(spec)


def lens_of_contract(spec: CameraSpec) -> Lens:
    """A camera of a contract, whose pixel centres are at +0.5, and which looks along -z with y up."""
    lens = pinhole(spec.fx, spec.fy, spec.cx - 0.5, spec.cy - 0.5)
    if spec.mount == "unknown":
        return lens
    w, x, y, z = spec.orientation
    turn = (
        (1 - 2 * (y * y + z * z), -2 * (x * y - w * z), -2 * (x * z + w * y)),
        (2 * (x * y + w * z), -(1 - 2 * (x * x + z * z)), -2 * (y * z - w * x)),
        (2 * (x * z - w * y), -2 * (y * z + w * x), -(1 - 2 * (x * x + y * y))),
    )
    return replace(lens, place=spec.position, turn=turn, frame=spec.mount)
