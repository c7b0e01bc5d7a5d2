"""Which format lies at a path. A reader is imported when its format is met, so that none costs what it needs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from foreact.episodes.remote import address
from foreact.episodes.sources.protocol import Collection, Source, SourceError

__all__ = ["FORMATS", "Format", "open_collection"]


@dataclass(frozen=True)
class Format:
    """One family of formats.

    Attributes:
        name: What people call it.
        module: Reader under `foreact.episodes.sources`, with `open_collection(path) -> Collection`.
        matches: Whether a path that exists looks like it; cheap, never raises on odd files.
        looks: By what it is known, in words, for the message when nothing matches.
    """

    name: str
    module: str
    matches: Callable[[Path], bool]
    looks: str


def open_collection(path: str | Path) -> Collection:
    """Open whatever lies at a path.

    Args:
        path: A file or folder, or an address such as `s3://bucket/store` of a store of ours.

    Raises:
        FileNotFoundError: Nothing is there.
        SourceError: No format is known by its looks, or it is damaged.
        ModuleNotFoundError: The reader needs a package that is not installed; the message says what to type.
    """
    if address(path) is not None and not Path(path).exists():
        return importlib.import_module("foreact.episodes.sources.store_source").open_collection(path)
    path = Path(path)
    path.stat()
    found = _format_of(path)
    if found is None and path.is_dir():
        inside = [each for each in sorted(path.iterdir()) if each.is_dir() and _format_of(each) is not None]
        if inside:
            return _folders(path, inside)
    if found is None:
        known = "; ".join(f"{each.name} ({each.looks})" for each in FORMATS)
        raise SourceError(f"{path}: no format is known that looks like this. Known are: {known}")
    return importlib.import_module(f"foreact.episodes.sources.{found.module}").open_collection(path)


def _format_of(path: Path) -> Format | None:
    return next((each for each in FORMATS if each.matches(path)), None)


def _folders(path: Path, inside: list[Path]) -> Collection:
    """Folders of recordings side by side; one that cannot be opened is told of and left out.

    Raises:
        SourceError: None of them can be opened.
    """
    from foreact.episodes.sources.parts import Recordings

    openers: dict[str, Callable[[], Source]] = {}
    opened = ExitStack()
    notes: list[str] = []
    for folder in inside:
        try:
            collection = open_collection(folder)
        except SourceError as error:
            notes.append(f"{folder.name} is left out: {error}")
            continue
        opened.callback(collection.close)
        notes += [f"{folder.name}: {note}" for note in collection.notes]
        openers |= {f"{folder.name}/{key}": partial(collection.open, key) for key in collection.keys()}
    if not openers:
        raise SourceError("; ".join(notes) or f"{path} holds no recording")
    return Recordings(path, "folders", openers, tuple(notes), opened.close)


def _suffix(*suffixes: str) -> Callable[[Path], bool]:
    return lambda path: path.is_file() and path.name.lower().endswith(suffixes)


def _holds(*names: str) -> Callable[[Path], bool]:
    """A folder with a file or folder of each of these names (patterns)."""
    return lambda path: path.is_dir() and all(any(path.glob(name)) for name in names)


def _either(*tests: Callable[[Path], bool]) -> Callable[[Path], bool]:
    return lambda path: any(test(path) for test in tests)


VIDEO = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".360")

# the first that matches wins: the more particular comes first
FORMATS: tuple[Format, ...] = (
    Format("foreact store", "store_source", _holds("zarr.json", "episodes"), "a folder with zarr.json and episodes/"),
    Format("LeRobotDataset", "lerobot", _holds("meta/info.json"), "a folder with meta/info.json"),
    Format("Project Aria or other VRS", "vrs", _either(_suffix(".vrs"), _holds("*.vrs")), "FILE.vrs or its folder"),
    Format(
        "Aria MPS",
        "mps",
        _either(*(_holds(f"{name}/*.csv") for name in ("trajectory", "slam", "eye_gaze", "hand_tracking"))),
        "a folder with trajectory/, slam/, eye_gaze/ or hand_tracking/",
    ),
    Format(
        "MCAP or rosbag2",
        "rosbag",
        _either(_suffix(".mcap", ".db3"), _holds("metadata.yaml"), _holds("*.mcap"), _holds("*.db3")),
        "FILE.mcap, FILE.db3 or a bag's folder",
    ),
    Format(
        "RLDS",
        "rlds",
        _either(_holds("*.tfrecord*"), _holds("*/*.tfrecord*"), _holds("*/*/*.tfrecord*")),
        "a folder with *.tfrecord-*, features.json and dataset_info.json",
    ),
    Format(
        "Zarr (UMI, Diffusion Policy, EgoVerse)",
        "zarr_buffer",
        _either(_suffix(".zarr.zip"), _holds("meta/episode_ends", "data"), _holds("zarr.json"), _holds("*/zarr.json")),
        "NAME.zarr or NAME.zarr.zip with data/ and meta/episode_ends, or episodes with zarr.json",
    ),
    Format(
        "HDF5 (robomimic, LIBERO, ALOHA, EgoDex)",
        "hdf5",
        _either(
            _suffix(".hdf5", ".h5"),
            *(_holds(f"{depth}*{end}") for depth in ("", "*/", "*/*/") for end in (".hdf5", ".h5")),
        ),
        "FILE.hdf5 or a folder of them",
    ),
    Format(
        "annotated video (Ego4D, EPIC-KITCHENS, HD-EPIC)",
        "annotated_video",
        _either(
            _holds("ego4d.json"),
            _holds("EPIC_100_*.csv"),
            _holds("EPIC_*.csv"),
            _holds("narrations-and-action-segments"),
        ),
        "a folder with ego4d.json, EPIC_100_*.csv or narrations-and-action-segments/",
    ),
    Format(
        "DexCap",
        "dexcap",
        _either(
            _holds("color_image.jpg", "pose.txt"),
            _holds("frame_*/color_image.jpg"),
            _holds("*/frame_*/color_image.jpg"),
        ),
        "frame folders",
    ),
    Format(
        "NumPy archive (DAPG, joints)", "npz", _either(_suffix(".npz"), _holds("*.npz")), "FILE.npz or a folder of them"
    ),
    Format(
        "video, GoPro",
        "video_files",
        _either(
            _suffix(*VIDEO),
            *(_holds(f"*{suffix}") for suffix in VIDEO),
            *(_holds(f"*{suffix.upper()}") for suffix in VIDEO),
        ),
        "a video file or a folder of them",
    ),
)
