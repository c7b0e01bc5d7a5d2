"""Figures and tables of re-enacted recordings.

Shape letters: n = recordings, T = actions, J = joints that are driven, K = tips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from foreact.episodes.outcome import JSON
from foreact.sim.reenact.door_score import DoorScore, door_figures
from foreact.sim.reenact.drive import Take
from foreact.sim.reenact.measures import Tracking, delay_s, rms
from foreact.sim.reenact.stage import Stage

__all__ = ["DOOR_COLUMNS", "JOINT_COLUMNS", "door_rows", "figures", "joint_rows"]

JOINT_COLUMNS = (
    "joint, RMS", "simulated - recorded", "most", "recorded - commanded", "simulated - commanded", "out of range",
    "torque at limit",
)  # fmt: skip
DOOR_COLUMNS = (
    "recording", "joints, RMS [deg]", "palm, RMS [mm]", "hinge, most [rad]", "recorded", "open", "recorded", "return",
    "recorded",
)  # fmt: skip
DIGITS = 6


def figures(
    stage: Stage, takes: Sequence[Take], found: Sequence[Tracking], scores: Sequence[DoorScore], engine: str
) -> dict[str, JSON]:
    """Everything that is told, as JSON; the same files give the same figures.

    Args:
        stage: What on.
        takes: n recordings.
        found: How far off each was.
        scores: Of doors; empty for robots.
        engine: That stepped.
    """
    told: dict[str, JSON] = {
        "kind": "re-enactment",
        "robot": stage.name,
        "engine": engine,
        "time_step_s": float(takes[0].opening.model.opt.timestep),
        "joints": _joints(stage, takes, found),
        "tips": {tip.name: _distances(found, place) for place, tip in enumerate(stage.tips)},
        "recordings": {
            take.key: _recording(stage, take, each, scores[place] if scores else None)
            for place, (take, each) in enumerate(zip(takes, found, strict=True))
        },
    }
    if scores:
        told["door"] = door_figures(scores)
    return told


def _joints(stage: Stage, takes: Sequence[Take], found: Sequence[Tracking]) -> dict[str, JSON]:
    """Over all recordings, by joint; in degrees, of slides in millimetres."""
    driven, told = stage.driven, {}
    saturated, substeps = sum(take.saturated for take in takes), sum(take.substeps for take in takes)
    pooled = {
        name: np.concatenate([getattr(each, name) for each in found]) for name in ("simulated", "recorded", "servo")
    }
    for joint, name in enumerate(driven.names):
        scale, force = float(driven.scale[joint]), float(driven.forces[joint])
        mine = {key: values[:, joint] * scale for key, values in pooled.items()}
        told[name] = {
            "unit": driven.units[joint],
            "simulated_off_recorded_rms": _round(rms(mine["simulated"])),
            "simulated_off_recorded_max": _most(mine["simulated"]),
            "recorded_off_command_rms": _round(rms(mine["recorded"])),
            "recorded_off_command_max": _most(mine["recorded"]),
            "simulated_off_command_rms": _round(rms(mine["servo"])),
            "simulated_off_command_max": _most(mine["servo"]),
            "commands_out_of_range": int(sum(each.outside[joint] for each in found)),
            "recorded_out_of_range": int(sum(each.recorded_outside[joint] for each in found)),
            "simulated_at_end_of_range": int(sum(each.at_end[joint] for each in found)),
            "samples": sum(len(take.times_ns) for take in takes),
            "force_limit": force if np.isfinite(force) else None,
            "substeps_at_force_limit": int(np.asarray(saturated)[joint]),
            "substeps": substeps,
        }
    return told


def _distances(found: Sequence[Tracking], place: int) -> dict[str, JSON]:
    distances = np.concatenate([each.tips[:, place] for each in found]) * 1000
    return {"unit": "mm", "rms": _round(rms(distances)), "max": _most(distances)}


def _recording(stage: Stage, take: Take, found: Tracking, score: DoorScore | None) -> dict[str, JSON]:
    driven = stage.driven
    turning = found.simulated[:, ~driven.slides] * (180 / np.pi)
    known = driven.servos
    told: dict[str, JSON] = {
        "actions": len(take.times_ns),
        "seconds": _round(take.seconds),
        "simulated_seconds": _round(take.substeps * float(take.opening.model.opt.timestep)),
        "substeps": take.substeps,
        "joints_rms_deg": _round(rms(turning)),
        "joints_max_deg": _most(turning),
        "tips": {tip.name: _distances([found], place) for place, tip in enumerate(stage.tips)},
        "recorded_delay_s": _round(
            delay_s(take.posed[:, driven.qpos[known]], take.targets[:, known], take.period_s)
        ),
        "simulated_delay_s": _round(
            delay_s(take.qpos[:-1][:, driven.qpos[known]], take.targets[:, known], take.period_s)
        ),
        "warnings": dict(take.warnings),
    }  # fmt: skip
    if score is not None:
        told |= {name: _round(value) if isinstance(value, float) else value for name, value in vars(score).items()}
    return told


def joint_rows(stage: Stage, told: Mapping[str, JSON]) -> tuple[tuple[str, ...], ...]:
    """A row for each joint, one for all of them, and one for each tip."""
    joints, tips = told["joints"], told["tips"]
    assert isinstance(joints, Mapping) and isinstance(tips, Mapping)
    keys = (
        "simulated_off_recorded_rms", "simulated_off_recorded_max", "recorded_off_command_rms",
        "simulated_off_command_rms",
    )  # fmt: skip
    rows = []
    for name, each in joints.items():
        assert isinstance(each, Mapping)
        share = f"{int(each['substeps_at_force_limit']) / max(int(each['substeps']), 1):.1%}"  # pyright: ignore
        outside = f"{each['commands_out_of_range']} of {each['samples']}"
        cells = (_cell(each[key]) for key in keys)
        rows.append((f"{name} [{each['unit']}]", *cells, outside, share if each["force_limit"] else "no limit"))
    for name, each in tips.items():
        assert isinstance(each, Mapping)
        rows.append((f"{name} [mm]", _cell(each["rms"]), _cell(each["max"]), "", "", "", ""))
    return tuple(rows)


def door_rows(told: Mapping[str, JSON]) -> tuple[tuple[str, ...], ...]:
    """A row for each demonstration, and one for all."""
    recordings, door = told["recordings"], told["door"]
    assert isinstance(recordings, Mapping) and isinstance(door, Mapping)
    rows = []
    for key, each in recordings.items():
        assert isinstance(each, Mapping) and isinstance(each["palm_rms"], float)
        rows.append((
            key, _cell(each["joints_rms_deg"]), _cell(1000 * each["palm_rms"]), _cell(each["hinge"], 3),
            _cell(each["recorded_hinge"], 3), _yes(each["success"]), _yes(each["recorded_success"]),
            _cell(each["value"], 1), _cell(each["recorded_value"], 1),
        ))  # fmt: skip
    count = door["demonstrations"]
    same = f"same in {door['same_outcome']}"
    rows.append((
        f"all {count}", "", "", "", "", f"{door['success']} {_span(door['success_interval'])}",
        f"{door['recorded_success']} {_span(door['recorded_success_interval'])}", same, "",
    ))  # fmt: skip
    return tuple(rows)


def _most(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return _round(float(np.abs(known).max())) if known.size else None


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _cell(value: JSON, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if isinstance(value, float) else ""


def _yes(value: JSON) -> str:
    return "yes" if value else "no"


def _span(interval: JSON) -> str:
    assert isinstance(interval, Sequence)
    low, high = (float(each) for each in interval)  # pyright: ignore
    return f"({low:.0%} to {high:.0%})"
