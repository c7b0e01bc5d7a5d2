"""One recording's hand as a gripper, and an arm that carries it. Shape letters: n = frames, K = steps ahead."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes.outcome import JSON
from foreact.episodes.sources import Source, SourceError
from foreact.sim.retarget.arms import Arm, arm_of, model_of
from foreact.sim.retarget.charts import Row, plot
from foreact.sim.retarget.config import GripperConfig
from foreact.sim.retarget.film import Shown, draw
from foreact.sim.retarget.gripper import Commands, Gripper, wrist_mount
from foreact.sim.retarget.hand_track import HandTrack, hand_track
from foreact.sim.retarget.poses import composed, finite_rows, rotated
from foreact.sim.retarget.reach import Placement, Reach, Reached, Reacher, place_before
from foreact.sim.retarget.relative import relative
from foreact.sim.retarget.retarget import Found
from foreact.sim.retarget.sights import sights
from foreact.sim.retarget.spread import seconds_of, spread
from foreact.sim.retarget.streams import POSE, POSE_UNIT, Rows, write_streams
from foreact.sim.robot_archive import unpacked

__all__ = ["COLUMNS", "into_gripper"]

COLUMNS = (
    "recording", "hand", "frames", "followed", "held", "clamped", "opening [mm]", "CPU [ms]", "reached",
    "off [mm]", "off [deg]",
)  # fmt: skip
OPENING = (0.0, 0.08)  # [m] without a robot
AZIMUTH, ELEVATION = 135.0, -20.0  # [deg]


def into_gripper(config: GripperConfig, source: Source) -> Found:
    """Retarget one recording.

    Raises:
        SourceError: No hand that can be used, or none that is ever known.
        ValueError: The robot is no arm that is known.
    """
    track = hand_track(source, config.stream, config.side, config.order, config.mirrored)
    carrier = _Carrier(config) if config.robot is not None else None
    commands, told, cpu_ms = _commands(config, track, carrier.arm.opening if carrier else OPENING)
    reached = carrier.follow(commands) if carrier else None
    actions = None if track.cameras is None else _actions(commands, track.cameras, config.ahead)
    if actions is not None and (short := int((commands.known & ~finite_rows(actions)).sum())):
        told.append(
            f"{short} of {len(actions)} frames have no action.relative: it takes {config.ahead} known frames (ahead=)"
        )
    notes = (*track.notes, *told)
    figures = _figures(config, track, commands, cpu_ms) | {
        "relative_actions": None if actions is None else {"ahead": config.ahead, "frame": "camera at the time"},
        "arm": None if carrier is None or reached is None else carrier.figures(reached),
        "notes": list(notes),
    }

    def write(folder: Path) -> None:
        rows = _rows(track, commands, actions, carrier, reached)
        says: dict[str, JSON] = {"source": str(config.path), "recording": source.key, "hand": track.name}
        write_streams(folder / "retargeted.mcap", source.key, rows, source.task, says, notes)
        _chart(folder / "retargeted.png", track, commands, reached, config)
        if carrier and reached and config.frames:
            draw(_shown(config, source, track, commands, carrier, reached), folder, config.frames)

    return Found(figures, _row(track, commands, cpu_ms, reached), write)


class _Carrier:
    """The arm, and where the recording lies before it."""

    def __init__(self, config: GripperConfig) -> None:
        assert config.robot is not None
        folder = unpacked(config.robot)
        self.arm: Arm = arm_of(folder)
        self.file = folder / self.arm.file
        self.model: Any = model_of(self.arm, folder)
        self._config = config
        self.placement = Placement(np.array(config.placement), "as given") if config.placement else None

    def follow(self, commands: Commands) -> Reached:
        config, known = self._config, commands.known
        if self.placement is None:
            self.placement = place_before(self.arm, self.model, commands.poses[known])
        reach = Reach(config.position_mm, config.orientation_deg, config.tries, config.seed)
        poses = composed(self.placement.pose, commands.poses)
        return Reacher(self.arm, self.model, reach).run(poses, commands.openings)

    def figures(self, reached: Reached) -> dict[str, JSON]:
        assert self.placement is not None
        known = np.isfinite(reached.position_mm)
        names = [self.model.joint(each).name for each in range(self.model.njnt)]
        steps = np.abs(np.diff(reached.qpos[known], axis=0)).max(initial=0.0)
        return {
            "model": self.file.name,
            "placement": {"how": self.placement.how, "pose": [round(float(each), 6) for each in self.placement.pose]},
            "thresholds": {"position_mm": self._config.position_mm, "orientation_deg": self._config.orientation_deg},
            "reached": round(float(reached.reached[known].mean()), 4),
            "position_reached": round(float(reached.near[known].mean()), 4),
            "position_mm": spread(reached.position_mm),
            "orientation_deg": spread(reached.orientation_deg),
            "frames_at_limit": {
                name: int(count) for name, count in zip(names, reached.at_limit.sum(0), strict=True) if count
            },
            "restarts": reached.restarts,
            "largest_step_rad": round(float(steps), 4),
            "cpu_ms_per_frame": round(1e3 * reached.cpu_s / max(int(known.sum()), 1), 4),
        }


def _commands(
    config: GripperConfig, track: HandTrack, opening: tuple[float, float]
) -> tuple[Commands, list[str], float]:
    """Commands of all frames, what there is to note, and CPU time of a frame [ms]."""
    mount, notes, turns = None, [], None
    if config.orientation == "wrist":
        if track.wrists is None:
            raise SourceError(f"{track.name}: the recording has no pose of the wrist; type orientation=palm")
        turns = track.wrists[:, 3:]
        mount, off = wrist_mount(turns, track.joints, track.side)
        notes.append(f"the wrist's orientation is within {np.degrees(np.nanmax(off)):.2f} deg of the palm's")
    limits = config.limits(opening)
    stamps = track.stamps
    if not track.timed:
        notes.append("the recording counts steps and tells no time: nothing is clamped to a speed, a step counts 1 s")
        stamps = (stamps - stamps[0]) * 1_000_000_000
    gripper = Gripper(track.side, limits, mount)
    start = time.process_time()
    commands = gripper.run(track.joints, stamps, track.confidence, turns, track.bases)
    spent = 1e3 * (time.process_time() - start) / len(stamps)
    if not commands.known.any():
        raise SourceError(f"{track.name}: the hand is never known with a confidence of {config.confidence} or more")
    if late := int((~commands.known).sum()):
        notes.append(f"{late} frames before the hand is known for the first time have no command")
    return commands, notes, spent


def _actions(commands: Commands, cameras: np.ndarray, ahead: int) -> np.ndarray:
    """Poses as seen from the camera and openings, (n, K, 8)."""
    seen = relative(commands.poses, cameras, ahead)
    padded = np.concatenate([commands.openings, np.full(ahead - 1, np.nan)])
    openings = np.lib.stride_tricks.sliding_window_view(padded, ahead)
    return np.concatenate([seen, openings[..., None]], axis=-1)


def _figures(config: GripperConfig, track: HandTrack, commands: Commands, cpu_ms: float) -> dict[str, JSON]:
    known = commands.known
    return {
        "hand": track.name,
        "side": track.side,
        "frame": track.world or "not said",
        "frames": len(track.stamps),
        "followed": int((known & ~commands.held).sum()),
        "held": int(commands.held.sum()),
        "clamped": dict(commands.clamped),
        "pinch_mm": spread(1e3 * commands.pinches),
        "opening_mm": spread(1e3 * commands.openings),
        "path_m": round(float(np.linalg.norm(np.diff(commands.poses[known, :3], axis=0), axis=1).sum()), 4),
        "gripper_cpu_ms_per_frame": round(cpu_ms, 5),
        "orientation": config.orientation,
    }


def _rows(
    track: HandTrack,
    commands: Commands,
    actions: np.ndarray | None,
    carrier: _Carrier | None,
    reached: Reached | None,
) -> Rows:
    rows = Rows(track, commands.known)
    frame = track.world
    rows.pose("pose.gripper", commands.poses, frame, f"{track.side} grasp", "z approach, y along the fingers' way")
    action = np.column_stack([commands.poses, commands.openings])
    rows.vector("action.gripper", action, f"{POSE_UNIT},m", (*POSE, "opening"), frame=frame)
    rows.vector("gripper.pinch", commands.pinches[:, None], "m", ("distance of thumb tip and index tip",))
    rows.vector("gripper.held", commands.held[:, None], "1", ("held",))
    if actions is not None:
        about = "rows: the grasp at this sample and the next ones, in the frame of the camera at this sample"
        rows.vector("action.relative", actions, f"{POSE_UNIT},m", (), frame="camera", about=about)
    if carrier and reached:
        names = tuple(carrier.model.joint(each).name for each in range(carrier.model.njnt))
        units = ",".join("m" if kind == 2 else "rad" for kind in carrier.model.jnt_type)
        rows.vector("action", reached.qpos, units, names, about=f"joints of {carrier.file.name}")
        off = np.column_stack([reached.position_mm, reached.orientation_deg, reached.reached])
        rows.vector("reach", off, "mm,deg,1", ("position off", "orientation off", "reached"))
    return rows


def _chart(path: Path, track: HandTrack, commands: Commands, reached: Reached | None, config: GripperConfig) -> None:
    seconds, label = seconds_of(track)
    widths = {"opening": 1e3 * commands.openings, "thumb to index": 1e3 * commands.pinches}
    rows: list[Row] = [("[mm]", widths, {})]
    first = commands.poses[commands.known][0, :3]
    places = {axis: 1e2 * (commands.poses[:, at] - first[at]) for at, axis in enumerate("xyz")}
    rows.append(("grasp, from its first place [cm]", places, {}))
    if reached:
        rows.append(("position off [mm]", {"arm": reached.position_mm}, {"counts as reached": config.position_mm}))
        rows.append(
            ("orientation off [deg]", {"arm": reached.orientation_deg}, {"counts as reached": config.orientation_deg})
        )
    plot(path, seconds, rows, commands.held | ~commands.known, label)


def _shown(
    config: GripperConfig,
    source: Source,
    track: HandTrack,
    commands: Commands,
    carrier: _Carrier,
    reached: Reached,
) -> Shown:
    assert carrier.placement is not None
    joints, pose = track.joints, carrier.placement.pose
    for each in (track.bases, pose):
        if each is not None:
            base = each if each.ndim == 1 else each[:, None]
            joints = base[..., :3] + rotated(base[..., 3:], joints)
    captions = tuple(
        f"opening {1e3 * width:.0f} mm, off {far:.1f} mm, {turn:.1f} deg"
        for width, far, turn in zip(commands.openings, reached.position_mm, reached.orientation_deg, strict=True)
    )
    beside = partial(sights, config.video, source, track)
    return Shown(carrier.file, reached.qpos, joints, track.stamps, captions, beside, AZIMUTH, ELEVATION)


def _row(track: HandTrack, commands: Commands, cpu_ms: float, reached: Reached | None) -> tuple[str, ...]:
    known = commands.known
    widths = 1e3 * commands.openings[known]
    clamped = ", ".join(f"{name} {count}" for name, count in commands.clamped.items() if count) or "none"
    arm = ("", "", "")
    if reached:
        seen = np.isfinite(reached.position_mm)
        arm = (
            f"{100 * reached.reached[seen].mean():.1f} %",
            f"{np.median(reached.position_mm[seen]):.2f}, most {reached.position_mm[seen].max():.1f}",
            f"{np.median(reached.orientation_deg[seen]):.2f}, most {reached.orientation_deg[seen].max():.1f}",
        )
    return (
        track.name, str(len(known)), str(int((known & ~commands.held).sum())), str(int(commands.held.sum())), clamped,
        f"{widths.min():.0f} to {widths.max():.0f}", f"{cpu_ms:.4f}", *arm,
    )  # fmt: skip
