"""`foreact replay PATH`: plays what lies there, a recording of any known format or the dump of a NaN guard."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.play import PlayConfig, play

__all__ = ["ReplayConfig", "replay"]

OF_DUMPS = ("frames", "worlds", "device")
OF_BOTH = ("path", "out")


@dataclass(frozen=True)
class ReplayConfig(PlayConfig):
    """What to play and where to: keys of recordings, see `PlayConfig`, and of dumps.

    Attributes:
        frames: Of a dump: draw the kept states, if there is an `out`.
        worlds: Of a dump: failed worlds drawn at most.
        device: Of a dump of `warp`: where it is stepped, cpu or cuda:0.
    """

    frames: bool = True
    worlds: int = 8
    device: str = "cpu"


def replay(config: ReplayConfig, progress: ProgressFn = quiet) -> Outcome:
    """Play what lies at a path.

    Args:
        config: What and where to.
        progress: Told of what is done.

    Raises:
        ValueError: A key that is for the other kind of thing; and what `foreact.episodes.play.play` and
            `foreact.sim.replay.replay` raise.
    """
    if _is_dump(config.path):
        from foreact.sim.replay import DumpConfig, replay_dump_folder

        given = _of(config, (*OF_BOTH, *OF_DUMPS), "the dump of a NaN guard")
        return replay_dump_folder(DumpConfig(**given), progress)
    recorded = tuple(each.name for each in fields(PlayConfig))
    return play(PlayConfig(**_of(config, recorded, "a recording")), progress)


def _is_dump(path: Path) -> bool:
    """Whether a folder is a dump, or holds dumps, of which the reader of dumps asks for one."""
    return path.is_dir() and ((path / "about.json").is_file() or any(path.glob("failure-*/about.json")))


def _of(config: ReplayConfig, names: tuple[str, ...], kind: str) -> dict[str, Any]:
    wrong = [
        each.name for each in fields(config) if each.name not in names and getattr(config, each.name) != each.default
    ]
    if wrong:
        raise ValueError(f"{config.path} is {kind}, which has no {', '.join(wrong)}")
    return {name: getattr(config, name) for name in names}
