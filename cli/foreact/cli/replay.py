"""`foreact replay PATH`: plays what lies there, a recording of any known format or the dump of a NaN guard."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.play import PlayConfig, play
from foreact.episodes.ranges import require_at_least

__all__ = ["ReplayConfig", "replay"]

OF_DUMPS = ("frames", "worlds", "device")
OF_POINTS = ("voxel_m", "intrinsics", "depth_unit_m", "farthest_m", "clean")
OF_BOTH = ("path", "out")


@dataclass(frozen=True)
class ReplayConfig(PlayConfig):
    """What to play and where to: keys of recordings, see `PlayConfig`, and of dumps.

    Attributes:
        points: Show each depth stream as a point cloud too, and write `points.ply` where there is an `out`.
        voxel_m: Of clouds: edge of the cubes of which one point each is shown [m]; 0 shows all.
        intrinsics: Of clouds: fx, fy, cx, cy [px] where the recording does not tell.
        depth_unit_m: Of clouds: length of a unit of depth where the recording does not tell [m].
        farthest_m: Of clouds: points further away are left out [m]; 0 for none.
        clean: Of clouds: leave out points that are further from their neighbours than most.
        frames: Of a dump: draw the kept states, if there is an `out`.
        worlds: Of a dump: failed worlds drawn at most.
        device: Of a dump of `warp`: where it is stepped, cpu or cuda:0.
    """

    points: bool = False
    voxel_m: float = 0.01
    intrinsics: tuple[float, ...] = ()
    depth_unit_m: float = 0.0
    farthest_m: float = 0.0
    clean: bool = False
    frames: bool = True
    worlds: int = 8
    device: str = "cpu"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, voxel_m=0, depth_unit_m=0, farthest_m=0)
        if self.intrinsics and len(self.intrinsics) != 4:
            raise ValueError(f"intrinsics={list(self.intrinsics)}: give four numbers, intrinsics=[fx,fy,cx,cy]")


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
    if not config.points:
        return play(PlayConfig(**_of(config, recorded, "a recording, and without points=true")), progress)
    _of(config, (*recorded, "points", *OF_POINTS), "a recording")
    return _with_points(config, PlayConfig(**{name: getattr(config, name) for name in recorded}), progress)


def _with_points(config: ReplayConfig, played: PlayConfig, progress: ProgressFn) -> Outcome:
    from foreact.cli.replay_points import PointClouds

    clouds = PointClouds(**{name: getattr(config, name) for name in OF_POINTS})
    outcome = play(played, progress, clouds.derive)
    if config.out is None or not clouds.streams:
        return outcome
    file = config.out / "points.ply"
    count = clouds.write(file)
    row = (f"{count} points in {file}", "note", *[""] * (len(outcome.columns) - 2))
    return replace(outcome, figures={**outcome.figures, "points": count}, rows=(*outcome.rows, row))


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
