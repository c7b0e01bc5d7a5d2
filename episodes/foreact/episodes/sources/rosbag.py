"""MCAP files and rosbag2 bags (MCAP or SQLite, split or not) as recordings.

Opening walks every message once, because the stamps of ROS messages stand inside them; pictures are not decoded.
Reading is safe from several threads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.outcome import JSON
from foreact.episodes.sources.parts import PartsSource, Recordings
from foreact.episodes.sources.protocol import Collection, SourceError
from foreact.episodes.sources.rosbag_mcap import MAGIC, McapFile
from foreact.episodes.sources.rosbag_metadata import BagInfo, read_info
from foreact.episodes.sources.rosbag_own import RECORD
from foreact.episodes.sources.rosbag_sqlite import SqliteFile
from foreact.episodes.sources.rosbag_streams import Streams
from foreact.episodes.sources.rosbag_tracks import BagFile, Tracks, inflated

__all__ = ["BagSource", "need_packages", "open_collection"]

SUFFIXES = (".mcap", ".db3")
SQLITE = b"SQLite format 3\0"
NUMBER = re.compile(r"_(\d+)$")


class BagSource(PartsSource):
    """A bag: its streams, and beside their stamps the other clock that ROS bags have."""

    def __init__(self, key: str, streams: Streams, metadata: Mapping[str, JSON], notes: Sequence[str]) -> None:
        own, metadata = _own(streams), dict(metadata)
        task = own.get("task", "")
        if "metadata" in own:
            metadata = {**_object(own["metadata"]), "mcap": metadata}
        super().__init__(key, streams.parts, task=task, metadata=metadata, notes=notes, close=streams.tracks.close)
        self._log, self._headers, self._packed = streams.log, streams.headers, streams.packed

    def log_stamps(self, stream: str) -> np.ndarray:
        """When a stream's samples were written into the bag, int64 (n,) [ns].

        Raises:
            KeyError: No such stream.
        """
        return self._log[stream]

    def header_stamps(self, stream: str) -> np.ndarray | None:
        """The stamps in a stream's headers, int64 (n,) [ns], 0 where a message has none; None if none has one."""
        return self._headers.get(stream)

    def packed(self, stream: str, index: int) -> tuple[str, bytes] | None:
        """Format, in ROS's words, and bytes of a picture that is packed in the bag; None of others."""
        return self._packed[stream](index) if stream in self._packed else None


def open_collection(path: Path) -> Collection:
    """Open a `.mcap` or `.db3` file, a bag's folder, or a folder of such files.

    Without `metadata.yaml`, files that differ in the number at the end of their names are one split recording.

    Raises:
        SourceError: There is no such file, or `metadata.yaml` is damaged.
        ModuleNotFoundError: The packages for bags are lacking; the message says what to type.
    """
    need_packages()
    path = Path(path)
    if path.is_file():
        return Recordings(path, _format([path]), {path.stem: partial(_open, path.stem, [path], None, [])})
    if (path / "metadata.yaml").is_file():
        return _described(path)
    groups: dict[tuple[str, str], list[Path]] = {}
    for file in sorted(each for each in path.iterdir() if each.suffix.lower() in SUFFIXES and each.is_file()):
        groups.setdefault((NUMBER.sub("", file.stem), file.suffix), []).append(file)
    if not groups:
        raise SourceError(f"{path} holds no .mcap or .db3 file")
    openers: dict[str, Callable[[], BagSource]] = {}
    for (stem, suffix), files in groups.items():
        files.sort(key=_number)
        key = stem if stem not in openers else f"{stem}{suffix}"
        openers[key] = partial(_open, key, files, None, _gaps(files))
    return Recordings(path, _format([file for files in groups.values() for file in files]), openers)


def need_packages() -> None:
    """See that the packages for bags are there.

    Raises:
        ModuleNotFoundError: Some are not; the message says what to type.
    """
    from importlib.util import find_spec

    lacking = [name for name in ("mcap", "zstandard", "lz4", "rosbags") if find_spec(name) is None]
    if lacking:
        raise ModuleNotFoundError(f"bags need {', '.join(lacking)}: pip install 'foreact[data]'")


def _format(files: Sequence[Path]) -> str:
    return "rosbag2-sqlite" if all(file.suffix.lower() == ".db3" for file in files) else "mcap"


def _described(path: Path) -> Collection:
    info = read_info(path / "metadata.yaml")
    if info.mode == "FILE":
        raise SourceError(
            f"{path}: its files are compressed as a whole; unpack them first: ros2 bag convert, or zstd -d"
        )
    if info.mode not in ("", "MESSAGE") or (info.mode and info.compression != "zstd"):
        raise SourceError(
            f"{path}: its messages are compressed by {info.compression!r} {info.mode}, which is not known"
        )
    files = [path / name for name in info.files]
    present = [file for file in files if file.is_file()]
    if not present:
        raise SourceError(f"{path}: none of the files that metadata.yaml names is there: {', '.join(info.files[:5])}")
    notes = [f"{file.name} is named in metadata.yaml but lacking" for file in files if file not in present]
    others = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file not in files]
    notes += [f"{file.name} lies in the folder but is not named in metadata.yaml: left out" for file in sorted(others)]
    name = path.resolve().name
    return Recordings(path, _format(present), {name: partial(_open, name, present, info, notes)})


def _number(file: Path) -> tuple[int, str]:
    found = NUMBER.search(file.stem)
    return (int(found[1][:18]) if found else -1, file.name)


def _gaps(files: Sequence[Path]) -> list[str]:
    numbers = [_number(file)[0] for file in files]
    if len(files) > 1 and numbers != list(range(numbers[0], numbers[0] + len(files))):
        return [f"the numbers of the files have gaps: {', '.join(file.name for file in files[:10])}"]
    return []


def _open(key: str, files: Sequence[Path], info: BagInfo | None, notes: Sequence[str]) -> BagSource:
    packed = info is not None and info.mode == "MESSAGE"
    opened, faults = _files(files, packed)
    tracks = Tracks(opened, _unzstd if packed else None)
    try:
        tracks.scan()
        streams = Streams(tracks)
        for track in tracks.all():
            streams.enter(track)
        if not streams.parts:
            raise SourceError(f"{files[0].parent if len(files) > 1 else files[0]}: {_nothing(streams)}")
    except BaseException:
        tracks.close()
        raise
    said = [*notes, *faults, *tracks.notes, *streams.notes, *_refusals(streams.refused)]
    total = sum(map(len, tracks.all()))
    if info is not None and info.messages is not None and info.messages != total:
        said.append(f"metadata.yaml speaks of {info.messages} messages, the files hold {total}")
    return BagSource(key, streams, _metadata(streams, info, files), said)


def _files(paths: Sequence[Path], packed: bool) -> tuple[list[BagFile], list[str]]:
    """The files that are bags, and what is wrong with the others; an error if none is."""
    opened: list[BagFile] = []
    faults: list[str] = []
    for path in paths:
        try:
            opened.append(_file(path, packed))
        except SourceError as error:
            faults.append(str(error))
        except OSError as error:
            faults.append(f"{path} cannot be read: {error}")
    if not opened:
        raise SourceError("; ".join(faults[:5]))
    return opened, faults


def _file(path: Path, packed: bool) -> BagFile:
    """By its first bytes, not by its name."""
    with path.open("rb") as file:
        begin = file.read(len(SQLITE))
    if begin.startswith(MAGIC):
        return McapFile(path)
    if begin == SQLITE:
        return SqliteFile(path, whole=packed)
    if not begin:
        raise SourceError(f"{path} is empty")
    raise SourceError(f"{path} is neither an MCAP nor an SQLite file: it begins with {begin[:8]!r}")


def _unzstd(data: bytes) -> bytes:
    return inflated(data, "zstd", None)


def _refusals(refused: Mapping[str, str]) -> list[str]:
    return [f"the topic {topic} is left out: {why}" for topic, why in refused.items()]


def _own(streams: Streams) -> dict[str, str]:
    """What our own writer noted of the recording; empty in files of others."""
    says = [file.says.get(RECORD) for file in streams.tracks.files if isinstance(file, McapFile)]
    return next((each for each in says if each), {})


def _object(text: str) -> dict[str, JSON]:
    try:
        found = strictjson.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _nothing(streams: Streams) -> str:
    if streams.refused:
        return "no topic can be decoded: " + "; ".join(f"{topic}: {why}" for topic, why in streams.refused.items())
    return "; ".join(["it holds no messages", *streams.tracks.notes[:5]])


def _metadata(streams: Streams, info: BagInfo | None, files: Sequence[Path]) -> dict[str, JSON]:
    """Files, camera descriptions, and by how much the log times of stamped streams lie after their headers."""
    lags: dict[str, JSON] = {}
    for name, header in streams.headers.items():
        lag = (streams.log[name] - header)[header > 0]
        lags[name] = {"least": int(lag.min()), "median": int(np.median(lag)), "most": int(lag.max())}
    found: dict[str, JSON] = {"files": [file.name for file in files], "log_after_header_ns": lags}
    if streams.cameras:
        found["camera_info"] = streams.cameras
    return found | (dict(info.rest) if info is not None else {})
