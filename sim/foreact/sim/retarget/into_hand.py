"""One recording's hand as a robot hand. Shape letters: n = frames, J = 20 joints, F = fingers, Q = robot's joints."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes.outcome import JSON
from foreact.episodes.sources import Source, SourceError
from foreact.sim.retarget.charts import Row, plot
from foreact.sim.retarget.config import HandConfig
from foreact.sim.retarget.dexterous import Dexterous, FingerErrors, HandPath, human_length, robot_length
from foreact.sim.retarget.film import Shown, draw
from foreact.sim.retarget.hand_track import HandTrack, hand_track
from foreact.sim.retarget.hands import hand_of, model_of, palm_of
from foreact.sim.retarget.joints import AT, FINGERS
from foreact.sim.retarget.palm import palm_axes
from foreact.sim.retarget.poses import finite_rows
from foreact.sim.retarget.retarget import Found
from foreact.sim.retarget.sights import sights
from foreact.sim.retarget.spread import seconds_of, spread
from foreact.sim.retarget.streams import Rows, write_streams
from foreact.sim.robot_archive import unpacked

__all__ = ["COLUMNS", "into_hand"]

COLUMNS = (
    "recording", "hand", "frames", "held", "scale", "CPU [ms]", "tips off [mm]", "fingers off [deg]", "pinch off [mm]",
    "at limits",
)  # fmt: skip
APART = 0.18  # [m] between the robot hand and the person's in pictures
AZIMUTH, ELEVATION = 0.0, -75.0  # [deg]


def into_hand(config: HandConfig, source: Source) -> Found:
    """Retarget one recording.

    Raises:
        SourceError: No hand that can be used, or none that is ever known.
        ValueError: The robot is no hand that is known.
    """
    track = hand_track(source, config.stream, config.side, config.order, config.mirrored)
    known = track.known(config.confidence)
    if not known.any():
        raise SourceError(f"{track.name}: the hand is never known with a confidence of {config.confidence} or more")
    assert config.robot is not None
    folder = unpacked(config.robot)
    hand = hand_of(folder)
    model = model_of(hand, folder, track.side)
    scale = config.scale or robot_length(hand, model, track.side) / human_length(track.joints[known])
    solver = Dexterous(hand, model, track.side, scale, smooth=config.smooth, solver=config.solver)
    path = solver.run(track.joints, known)
    errors = solver.errors(path)
    file = folder / hand.file(track.side)

    def write(place: Path) -> None:
        rows = _rows(track, model, path, errors, file.name)
        says: dict[str, JSON] = {"source": str(config.path), "recording": source.key, "hand": track.name}
        write_streams(place / "retargeted.mcap", source.key, rows, source.task, says, track.notes)
        _chart(place / "retargeted.png", track, path, errors)
        if config.frames:
            draw(_shown(config, source, track, solver, path, errors, file), place, config.frames)

    return Found(_figures(config, track, model, path, errors, scale), _row(track, path, errors, scale), write)


def _figures(
    config: HandConfig, track: HandTrack, model: Any, path: HandPath, errors: FingerErrors, scale: float
) -> dict[str, JSON]:
    known = finite_rows(errors.tips)
    names = [model.joint(each).name for each in range(model.njnt)]
    steps = np.abs(np.diff(path.qpos, axis=0))
    return {
        "hand": track.name,
        "side": track.side,
        "robot": config.robot.name if config.robot else "",
        "solver": config.solver,
        "smooth": config.smooth,
        "scale": round(scale, 5),
        "frames": len(known),
        "followed": int(known.sum()),
        "held": int((path.held & finite_rows(path.qpos)).sum()),
        "tips_mm": spread(1e3 * errors.tips),
        "directions_deg": spread(np.degrees(errors.directions)),
        "pinch_off_mm": spread(1e3 * np.abs(errors.pinch)),
        "by_finger": {
            finger: {
                "tip_mm": spread(1e3 * errors.tips[:, at]),
                "direction_deg": spread(np.degrees(errors.directions[:, at])),
            }
            for at, finger in enumerate(FINGERS)
        },
        "frames_at_limit": {
            name: int(count) for name, count in zip(names, errors.at_limit.sum(0), strict=True) if count
        },
        "largest_step_rad": round(float(steps[finite_rows(steps)].max(initial=0.0)), 4),
        "cpu_ms_per_frame": round(1e3 * path.cpu_s / max(int(known.sum()), 1), 4),
        "notes": list(track.notes),
    }


def _rows(track: HandTrack, model: Any, path: HandPath, errors: FingerErrors, file: str) -> Rows:
    rows = Rows(track, finite_rows(path.qpos))
    names = tuple(model.joint(each).name for each in range(model.njnt))
    rows.vector("action", path.qpos, "rad", names, about=f"joints of {file}")
    tips = tuple(f"{finger} tip" for finger in FINGERS)
    rows.vector("error.tips", 1e3 * errors.tips, "mm", tips)
    rows.vector("error.directions", np.degrees(errors.directions), "deg", FINGERS)
    rows.vector("error.pinch", 1e3 * errors.pinch[:, None], "mm", ("distance of thumb tip and index tip",))
    rows.vector("hand.held", path.held[:, None], "1", ("held",))
    return rows


def _chart(path: Path, track: HandTrack, found: HandPath, errors: FingerErrors) -> None:
    seconds, label = seconds_of(track)
    tips = {finger: 1e3 * errors.tips[:, at] for at, finger in enumerate(FINGERS)}
    directions = {finger: np.degrees(errors.directions[:, at]) for at, finger in enumerate(FINGERS)}
    wished = 1e3 * np.linalg.norm(found.targets[:, 0] - found.targets[:, 1], axis=-1)
    pinch = {"person, scaled": wished, "robot": wished + 1e3 * errors.pinch}
    rows: list[Row] = [
        ("tip off [mm]", tips, {}),
        ("finger off [deg]", directions, {}),
        ("thumb to index [mm]", pinch, {}),
    ]
    plot(path, seconds, rows, found.held, label)


def _shown(
    config: HandConfig,
    source: Source,
    track: HandTrack,
    solver: Dexterous,
    path: HandPath,
    errors: FingerErrors,
    file: Path,
) -> Shown:
    """The person's hand as large as the robot's, turned like it, beside it."""
    origin, axes = palm_of(solver.hand, solver.model, track.side)
    joints = track.joints
    corners = (joints[:, AT[name]] for name in ("wrist", "index knuckle", "middle knuckle", "little knuckle"))
    wrist, index, middle, little = corners
    with np.errstate(invalid="ignore", divide="ignore"):
        palm = palm_axes(wrist, index, middle, little, track.side)
    seen = solver.scale * (joints - wrist[:, None]) @ palm @ axes.T + origin
    away = axes[:, 0] * (APART if track.side == "left" else -APART)
    focus = np.concatenate([seen.reshape(-1, 3), (seen + away).reshape(-1, 3)])
    captions = tuple(
        f"tips off {1e3 * tips.mean():.1f} mm, fingers {np.degrees(each.mean()):.0f} deg"
        for tips, each in zip(errors.tips, errors.directions, strict=True)
    )
    beside = partial(sights, config.video, source, track)
    return Shown(file, path.qpos, seen + away, track.stamps, captions, beside, AZIMUTH, ELEVATION, focus)


def _row(track: HandTrack, path: HandPath, errors: FingerErrors, scale: float) -> tuple[str, ...]:
    known = finite_rows(errors.tips)
    tips, directions = 1e3 * errors.tips[known], np.degrees(errors.directions[known])
    return (
        track.name,
        str(len(known)),
        str(int((path.held & finite_rows(path.qpos)).sum())),
        f"{scale:.3f}",
        f"{1e3 * path.cpu_s / max(int(known.sum()), 1):.2f}",
        f"{np.median(tips):.2f}, p95 {np.quantile(tips, 0.95):.1f}",
        f"{np.median(directions):.1f}, p95 {np.quantile(directions, 0.95):.1f}",
        f"{1e3 * np.median(np.abs(errors.pinch[known])):.2f}",
        f"{100 * errors.at_limit[known].mean():.1f} %",
    )
