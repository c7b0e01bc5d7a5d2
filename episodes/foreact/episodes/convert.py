"""`foreact convert`: episode store to LeRobotDataset v3.0 and back; any recording to MCAP."""

from dataclasses import dataclass
from pathlib import Path

from foreact.episodes.lerobot_export import export_lerobot
from foreact.episodes.lerobot_import import import_lerobot
from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.store import EpisodeStore, StoreError

__all__ = ["ConvertConfig", "convert"]


@dataclass(frozen=True)
class ConvertConfig:
    """What to convert into what.

    Args:
        source: episode store (to=lerobot), LeRobotDataset v3.0 folder (to=store), or any recording (to=mcap).
        out: folder to write; must not exist.
        to: "lerobot", "store" or "mcap".
        video: to=lerobot only: rgb as AV1 video, which is small and lossy, instead of PNG.
        episodes: to=store only: indices to import; empty = all.
        chunk_length: to=store only: actions per policy call in the contract derived for a foreign dataset.
        recordings: to=mcap only: keys of the recordings; empty = all.
        drop: to=mcap only: streams to leave out, names or patterns such as audio*.
    """

    source: Path
    out: Path
    to: str
    video: bool = False
    episodes: tuple[int, ...] = ()
    chunk_length: int = 16
    recordings: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


def convert(config: ConvertConfig, progress: ProgressFn = quiet) -> Outcome:
    """Convert a dataset; stopped half-way, the same call goes on, and `out` appears only when it is whole.

    Raises:
        StoreError: `out` exists, or the source cannot be converted; the message says what and where.
    """
    if config.to != "mcap" and (config.recordings or config.drop):
        raise StoreError("recordings= and drop= work with to=mcap only")
    if config.to == "mcap":
        from foreact.episodes.convert_mcap import convert_mcap

        if config.video or config.episodes:
            raise StoreError("video= and episodes= do not work with to=mcap")
        figures = convert_mcap(config.source, config.out, config.recordings, config.drop, progress)
    elif config.to == "lerobot":
        if config.episodes:
            raise StoreError("episodes= works with to=store only")
        figures = export_lerobot(EpisodeStore.open(config.source), config.out, config.video, progress)
    elif config.to == "store":
        if config.video:
            raise StoreError("video= works with to=lerobot only")
        figures = import_lerobot(config.source, config.out, config.chunk_length, config.episodes, progress)
    else:
        raise StoreError(f"to={config.to!r}: expected to=lerobot, to=store or to=mcap")
    rows = tuple((name.replace("_", " "), _text(value)) for name, value in figures.items())
    return Outcome(config.out, figures, ("figure", "value"), rows)


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
