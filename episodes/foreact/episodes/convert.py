"""`foreact convert`: any recording into our own store, into a LeRobotDataset v3.0 or into MCAP; and ours back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from foreact.episodes import arrays
from foreact.episodes.arrays import StoreError
from foreact.episodes.convert_work import Asked
from foreact.episodes.lerobot_reader import is_lerobot
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.remote import address

__all__ = ["ConvertConfig", "convert"]

TARGETS = ("store", "lerobot", "mcap")
ONLY = {"lerobot": ("video", "driver"), "store": ("episodes", "as_recorded", "chunk_length")}


@dataclass(frozen=True)
class ConvertConfig:
    """What to convert into what.

    Args:
        source: any recording or folder of recordings, an episode store, or the address of a store.
        out: folder to write; must not exist.
        to: "store", "lerobot" or "mcap".
        recordings: keys of the recordings; empty = all.
        drop: streams to leave out, names or patterns such as audio*; one that fits nothing is an error.
        anonymise: ONNX model that finds faces and plates: pictures are blurred there, sound and position left out.
        verify: open what was written and compare every sample and stamp with the source.
        workers: processes; the result is the same for any number.
        as_recorded: to=store only: keep the recordings of a LeRobotDataset v3.0 as they are, without a contract.
        driver: to=lerobot only: a row at each sample of this stream, or so many rows a second.
        video: to=lerobot only: rgb as AV1 video, which is small and lossy, instead of PNG.
        episodes: to=store of a LeRobotDataset v3.0 only: indices to import; empty = all.
        chunk_length: the same: actions per policy call in the contract derived for a foreign dataset.
    """

    source: Path
    out: Path
    to: str
    recordings: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    anonymise: Path | None = None
    verify: bool = True
    workers: int = 1
    as_recorded: bool = False
    driver: str = ""
    video: bool = False
    episodes: tuple[int, ...] = ()
    chunk_length: int = 16


def convert(config: ConvertConfig, progress: ProgressFn = quiet) -> Outcome:
    """Convert recordings; stopped half-way, the same call goes on, and `out` appears only when it is whole.

    Raises:
        StoreError: `out` exists, or the source cannot be converted; the message says what and where.
        SourceError: The source is damaged, or has no such recording.
        FileNotFoundError: No such source.
    """
    if config.to not in TARGETS:
        raise StoreError(f"to={config.to!r}: expected {', '.join(f'to={each}' for each in TARGETS)}")
    if address(config.out) is not None:
        raise StoreError(f"out={config.out}: write to a folder and copy it there")
    for target, names in ONLY.items():
        if config.to != target:
            _refuse(config, names, f"with to={target} only")
    figures = {"mcap": _to_mcap, "lerobot": _to_lerobot, "store": _to_store}[config.to](config, progress)
    rows = tuple((name.replace("_", " "), _text(value)) for name, value in figures.items())
    return Outcome(config.out, figures, ("figure", "value"), rows)


def _to_mcap(config: ConvertConfig, progress: ProgressFn) -> dict[str, JSON]:
    from foreact.episodes.convert_mcap import convert_mcap

    return convert_mcap(_asked(config), config.out, config.recordings, progress)


def _to_lerobot(config: ConvertConfig, progress: ProgressFn) -> dict[str, JSON]:
    if _is_episode_store(config.source) and not _given(config, ("recordings", "drop", "anonymise", "driver")):
        from foreact.episodes.lerobot_export import export_lerobot
        from foreact.episodes.store import EpisodeStore

        return export_lerobot(EpisodeStore.open(config.source), config.out, config.video, progress)
    from foreact.episodes.convert_lerobot import convert_lerobot

    return convert_lerobot(
        config.source,
        config.out,
        config.recordings,
        config.drop,
        driver=config.driver,
        video=config.video,
        verify=config.verify,
        workers=config.workers,
        anonymise=config.anonymise,
        progress=progress,
    )


def _to_store(config: ConvertConfig, progress: ProgressFn) -> dict[str, JSON]:
    if not config.as_recorded and _is_lerobot_3(config.source) and not _holds_recordings(config.source):
        return _imported(config, progress)
    from foreact.episodes.convert_store import convert_store

    _refuse(config, ("episodes",), "with a LeRobotDataset v3.0 only; recordings= names others")
    return convert_store(_asked(config), config.out, config.recordings, progress)


def _imported(config: ConvertConfig, progress: ProgressFn) -> dict[str, JSON]:
    """A LeRobotDataset v3.0 under a contract: which is a contract of all its streams, as they are."""
    from foreact.episodes.lerobot_import import import_lerobot

    _refuse(config, ("drop", "anonymise"), "with as_recorded=true only: under a contract all streams are kept")
    episodes = config.episodes
    if config.recordings:
        from foreact.episodes.convert_parts import chosen
        from foreact.episodes.sources import open_collection

        collection = open_collection(config.source)
        keys = chosen(collection, config.recordings)
        collection.close()
        episodes = (*episodes, *(int(key.rpartition("_")[2]) for key in keys))
    try:
        return import_lerobot(config.source, config.out, config.chunk_length, episodes, progress)
    except StoreError as error:
        if "observation.state" not in str(error):
            raise
        hint = "as_recorded=true keeps the recordings as they are, without a contract"
        raise StoreError(f"{error}; {hint}") from error


def _asked(config: ConvertConfig) -> Asked:
    return Asked(config.source, config.drop, config.anonymise, config.verify, config.workers)


def _is_episode_store(path: Path) -> bool:
    """Whether a path is a store under a contract, so far as its root can be read."""
    return _root(path) is not None and not _is_recordings(path)


def _root(path: Path) -> dict[str, JSON] | None:
    if address(path) is not None or not (path / arrays.HEADER).is_file() or not (path / "episodes").is_dir():
        return None
    return arrays.read_group(path)


def _is_recordings(path: Path) -> bool:
    from foreact.episodes.recording_store import holds_recordings

    root = _root(path)
    return root is not None and holds_recordings(root)


def _is_lerobot_3(path: Path) -> bool:
    """Whether it is a LeRobotDataset, and not one of version 2."""
    return is_lerobot(path) and not (path / "meta" / "episodes.jsonl").is_file()


def _holds_recordings(path: Path) -> bool:
    """Whether a LeRobot dataset was made of recordings by `convert_lerobot`."""
    from foreact.episodes.lerobot_reader import read_json
    from foreact.episodes.sources.lerobot_own import SIDECAR, is_own

    return (path / SIDECAR).is_file() and is_own(read_json(path / SIDECAR))


def _given(config: ConvertConfig, names: Sequence[str]) -> list[str]:
    default = ConvertConfig(config.source, config.out, config.to)
    return [name for name in names if getattr(config, name) != getattr(default, name)]


def _refuse(config: ConvertConfig, names: Sequence[str], why: str) -> None:
    if given := _given(config, names):
        raise StoreError(f"{' and '.join(f'{name}=' for name in given)} {'work' if given[1:] else 'works'} {why}")


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} ({why})" for name, why in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
