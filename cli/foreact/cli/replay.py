"""`foreact replay PATH`: plays what lies there, a recording of any known format or the dump of a NaN guard."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from foreact.episodes.outcome import Outcome, ProgressFn, quiet

__all__ = ["ReplayConfig", "replay"]

OF_DUMPS = ("frames", "worlds", "device")
OF_BOTH = ("path", "out")


@dataclass(frozen=True)
class ReplayConfig:
    """What to play and where to.

    Attributes:
        path: A recording, a folder of some, or the folder of a NaN guard's dump.
        recordings: Which recordings, by key; the first if none is named. Several play side by side.
        streams: Which streams; all if none is named. With several recordings `KEY/STREAM`.
        driver: A step at each sample of this stream, or so many steps a second; by default the first camera.
        start_s: Begin so long after the first step [s].
        duration_s: Play so long [s]; 0 for all.
        rate: Times real time; 0 plays as fast as possible.
        loop: Times to play.
        out: Folder for what is written; nothing is written without it.
        web: Serve a viewer on this machine only, and play into it until Ctrl-C.
        digest: Print a SHA-256 of all steps, which depends on the files alone.
        frames: Of a dump: draw the kept states, if there is an `out`.
        worlds: Of a dump: failed worlds drawn at most.
        device: Of a dump of `warp`: where it is stepped, cpu or cuda:0.
    """

    path: Path
    recordings: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    driver: str = ""
    start_s: float = 0.0
    duration_s: float = 0.0
    rate: float = 0.0
    loop: int = 1
    out: Path | None = None
    web: bool = False
    digest: bool = False
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
    from foreact.episodes.play import PlayConfig, play

    recorded = tuple(each.name for each in fields(config) if each.name not in OF_DUMPS)
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
