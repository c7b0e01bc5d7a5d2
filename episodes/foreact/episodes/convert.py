"""`foreact convert`: episode store to LeRobotDataset v3.0 and back."""

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
        source: episode store (to=lerobot) or LeRobotDataset v3.0 folder (to=store).
        out: folder to write; must not exist.
        to: "lerobot" or "store".
        video: to=lerobot only: rgb as AV1 video, which is small and lossy, instead of PNG.
        episodes: to=store only: indices to import; empty = all.
        chunk_length: to=store only: actions per policy call in the contract derived for a foreign dataset.
    """

    source: Path
    out: Path
    to: str
    video: bool = False
    episodes: tuple[int, ...] = ()
    chunk_length: int = 16


def convert(config: ConvertConfig, progress: ProgressFn = quiet) -> Outcome:
    """Convert a dataset; stopped half-way, the same call goes on, and `out` appears only when it is whole.

    Raises:
        StoreError: `out` exists, or the source cannot be converted; the message says what and where.
    """
    if config.to == "lerobot":
        if config.episodes:
            raise StoreError("episodes= works with to=store only")
        figures = export_lerobot(EpisodeStore.open(config.source), config.out, config.video, progress)
    elif config.to == "store":
        if config.video:
            raise StoreError("video= works with to=lerobot only")
        figures = import_lerobot(config.source, config.out, config.chunk_length, config.episodes, progress)
    else:
        raise StoreError(f"to={config.to!r}: expected to=lerobot or to=store")
    rows = tuple((name.replace("_", " "), _text(value)) for name, value in figures.items())
    return Outcome(config.out, figures, ("figure", "value"), rows)


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
