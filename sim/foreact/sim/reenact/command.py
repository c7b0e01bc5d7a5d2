"""`foreact replay PATH into=robot`: recorded actions drive a robot in simulation; the report says how far off it is."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import write_json_atomic
from foreact.episodes.sources import Source, SourceError, open_collection
from foreact.sim.reenact.adroit_door import AdroitDoor, door_model
from foreact.sim.reenact.door_score import DoorScore, door_score
from foreact.sim.reenact.drive import Chosen, Range, Take, drive
from foreact.sim.reenact.measures import tracking
from foreact.sim.reenact.movie import Footage, write_movie, write_sheet
from foreact.sim.reenact.picture import View
from foreact.sim.reenact.plot import draw_doors, draw_joints
from foreact.sim.reenact.report import DOOR_COLUMNS, JOINT_COLUMNS, door_rows, figures, joint_rows
from foreact.sim.reenact.robot import RobotStage, load_robot, robot_stage
from foreact.sim.reenact.stage import Stage
from foreact.sim.reenact.streams import chosen_streams, elements_of, require_plausible

__all__ = ["ReenactConfig", "reenact"]

DOOR = "adroit_door"


@dataclass(frozen=True)
class ReenactConfig:
    """What is re-enacted, and on what.

    Attributes:
        path: A recording, or a folder of some.
        into: "robot".
        robot: An MJCF file, a folder or an archive of one; or `adroit_door`, for DAPG's door demonstrations.
        model: Which model of the folder or archive; by default the robot itself.
        recordings: Which, by key; all if none is named.
        action: Stream of what was commanded; found if not named.
        state: Stream of what was measured; found if not named, `none` to go without.
        camera: Stream that is shown beside; the first camera if not named.
        joints: `ELEMENT:JOINT` each, where the rules find none or another.
        unit: Of the recorded angles, `rad` or `deg`.
        held: Joints that are not driven are `locked` at rest, or held there by their `servo`, which sags.
        start: For `adroit_door`: `recorded` begins at the first observation, `stated` at the `init_state_dict`.
        start_s: Begin so long after the first action [s].
        duration_s: Play so long [s]; 0 for all.
        rate: Times the speed of the recording.
        rate_hz: Actions a second, for recordings that count steps and tell no time; 0 if they tell it.
        offset_s: Added to the stamps of states and pictures [s].
        engine: `cpu`, or `ref` for plain steps of MuJoCo.
        films: Recordings that are filmed and drawn on the sheet, from the first; 0 for none.
        azimuth: Direction of the look around the vertical [deg], 0 along x; by default what suits the robot.
        elevation: Of the look [deg], negative from above; by default the same.
        out: Folder for `report.json`, plots, films and `sheet.png`; nothing is written without it.
    """

    path: Path
    into: str = "robot"
    robot: str = ""
    model: str = ""
    recordings: tuple[str, ...] = ()
    action: str = ""
    state: str = ""
    camera: str = ""
    joints: tuple[str, ...] = ()
    unit: Literal["rad", "deg"] = "rad"
    held: Literal["locked", "servo"] = "locked"
    start: Literal["recorded", "stated"] = "recorded"
    start_s: float = 0.0
    duration_s: float = 0.0
    rate: float = 1.0
    rate_hz: float = 0.0
    offset_s: float = 0.0
    engine: Literal["cpu", "ref"] = "cpu"
    films: int = 1
    azimuth: float | None = None
    elevation: float | None = None
    out: Path | None = None

    def __post_init__(self) -> None:
        for name in ("start_s", "duration_s", "rate_hz", "films"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)} is out of range; give 0 or more")
        if not 0.01 <= self.rate <= 100:
            raise ValueError(f"rate={self.rate} is out of range; give 0.01 to 100")
        if not self.robot:
            raise ValueError(
                "say what is driven: robot=unitree_g1.tar.xz (an archive, a folder or an MJCF file),"
                f" or robot={DOOR} for DAPG's door demonstrations"
            )
        if self.robot == DOOR and (self.joints or self.model or self.unit != "rad" or self.held != "locked"):
            raise ValueError(f"robot={DOOR} has no joints=, model=, unit= or held=")
        if self.robot != DOOR and self.start != "recorded":
            raise ValueError(f"start={self.start} is for robot={DOOR}")

    @property
    def part(self) -> Range:
        """Which part is played, and how."""
        period = 1 / self.rate_hz if self.rate_hz else None
        return Range(self.start_s, self.duration_s, self.rate, self.offset_s, period)


def reenact(config: ReenactConfig, progress: ProgressFn = quiet) -> Outcome:
    """Re-enact recordings, open loop.

    Args:
        config: What, and on what.
        progress: Told of recordings and frames.

    Returns:
        A row for each joint and tip; for doors one for each demonstration.

    Raises:
        FileNotFoundError: Nothing at a path.
        SourceError: No recording that can be re-enacted.
        ValueError: The recordings do not fit the robot, or it cannot be loaded.
        ModuleNotFoundError: The door's model is not installed.
    """
    with ExitStack() as stack:
        sources = _opened(config, stack)
        chosen = [chosen_streams(each, config.action, config.state, config.camera) for each in sources]
        stage = _stage(config, sources[0], chosen[0])
        takes: list[Take] = []
        for done, (source, streams) in enumerate(zip(sources, chosen, strict=True)):
            progress(done, len(sources), "re-enact")
            _require_alike(stage, source, streams, sources[0], chosen[0])
            takes.append(drive(stage, source, streams, config.part, config.engine))
        progress(len(sources), len(sources), "re-enact")
        found = [tracking(take, stage.driven, stage.tips) for take in takes]
        scores = _scores(stage, takes, sources, chosen)
        told = {**figures(stage, takes, found, scores, config.engine), **_mapping(stage), "notes": list(stage.notes)}
        if config.out is not None:
            _write(config, stage, sources, chosen, takes, told, progress)
    if isinstance(stage, AdroitDoor):
        return Outcome(config.out or config.path, told, DOOR_COLUMNS, (*door_rows(told), *_noted(stage, DOOR_COLUMNS)))
    return Outcome(
        config.out or config.path, told, JOINT_COLUMNS, (*joint_rows(stage, told), *_noted(stage, JOINT_COLUMNS))
    )


def _opened(config: ReenactConfig, stack: ExitStack) -> list[Source]:
    collection = open_collection(config.path)
    stack.callback(collection.close)
    keys = config.recordings or collection.keys()
    if unknown := [key for key in keys if key not in collection.keys()]:
        raise ValueError(f"there is no recording {', '.join(unknown)}; there are {', '.join(collection.keys()[:20])}")
    if not keys:
        raise SourceError(f"{config.path} holds no recording")
    return [stack.enter_context(collection.open(key)) for key in keys]


def _stage(config: ReenactConfig, source: Source, chosen: Chosen) -> Stage:
    if config.robot == DOOR:
        return AdroitDoor(door_model(), config.start)
    robot = load_robot(Path(config.robot), config.model)
    stage = robot_stage(robot, elements_of(source, chosen.action), config.joints, config.unit, config.held)
    require_plausible(source, chosen.action, stage.elements[~stage.driven.slides], stage.scale)
    return stage


def _require_alike(stage: Stage, source: Source, chosen: Chosen, first: Source, of_first: Chosen) -> None:
    if not isinstance(stage, RobotStage):
        return
    elements = elements_of(source, chosen.action)
    if elements != elements_of(first, of_first.action):
        raise SourceError(f"{source.key} has other elements of {chosen.action} than {first.key}; re-enact it alone")
    if chosen.state and elements_of(source, chosen.state) != elements:
        raise SourceError(
            f"{source.key}: {chosen.state} has other elements than {chosen.action}; name it by state=, or state=none"
        )


def _scores(
    stage: Stage, takes: list[Take], sources: list[Source], chosen: list[Chosen]
) -> list[DoorScore]:  # fmt: skip
    if not isinstance(stage, AdroitDoor):
        return []
    scores = []
    for take, source, streams in zip(takes, sources, chosen, strict=True):
        rewards = None
        if streams.reward:
            stamps = source.stamps(streams.reward)
            inside = np.flatnonzero(np.isin(stamps, take.times_ns))
            rewards = np.array([np.float64(np.asarray(source.read(streams.reward, int(row)))) for row in inside])
            rewards = rewards if len(rewards) == len(take.times_ns) and np.isfinite(rewards).all() else None
        scores.append(door_score(stage, take, rewards))
    return scores


def _mapping(stage: Stage) -> dict[str, JSON]:
    if not isinstance(stage, RobotStage):
        return {}
    fit = stage.fit
    return {
        "mapping": [{"element": each.element, "joint": each.joint, "rule": each.rule} for each in fit.pairs],
        "elements_without_joint": list(fit.spare),
        "joints_held": list(fit.held),
    }


def _noted(stage: Stage, columns: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Notes as rows; what they list by name is in the figures."""
    return tuple((f"note: {note.partition(': ')[0]}", *[""] * (len(columns) - 1)) for note in stage.notes)


def _write(
    config: ReenactConfig,
    stage: Stage,
    sources: list[Source],
    chosen: list[Chosen],
    takes: list[Take],
    told: dict[str, JSON],
    progress: ProgressFn,
) -> None:
    out = config.out
    assert out is not None
    if isinstance(stage, AdroitDoor):
        draw_doors(out / "doors.png", stage, takes)
    for take in takes[: max(config.films, 1)]:
        draw_joints(out / f"{_file_name(take.key)}.png", stage, take)
    view = View(
        stage.azimuth if config.azimuth is None else config.azimuth,
        stage.elevation if config.elevation is None else config.elevation,
    )
    footages = [
        Footage(stage, source, take, streams.camera, round(config.offset_s / take.tick_s), view)
        for source, take, streams in zip(sources, takes, chosen, strict=True)
    ][: config.films]
    films: dict[str, JSON] = {}
    for each in footages:
        name = f"{_file_name(each.take.key)}.mp4"
        films[each.take.key] = {"file": name, "frames": write_movie(out / name, each, progress)}
    if footages:
        write_sheet(out / "sheet.png", footages)
    told["films"] = films
    write_json_atomic(out / "report.json", told)


def _file_name(key: str) -> str:
    return "".join(each if each.isalnum() or each in "-_." else "_" for each in key).lstrip(".") or "recording"
