"""CPU time of a frame from a hand to a gripper, to a robot hand and to an arm, and how far off they are.

The baseline of the robot hand is dex-retargeting's own solver, of the gripper the 30 frames a second of the recording.
Rounds are interleaved; each figure is the median over rounds. The recording and the robots are those of `--data`.

    nice .venv/bin/python -P benchmarks/retarget.py --data ../shared/data --out benchmarks/results
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from foreact.episodes.runfolder import describe_machine, write_json_atomic
from foreact.episodes.sources import open_collection
from foreact.sim.retarget.arms import ARMS, model_of
from foreact.sim.retarget.dexterous import Dexterous, human_length, robot_length
from foreact.sim.retarget.gripper import Gripper
from foreact.sim.retarget.hand_track import HandTrack, hand_track
from foreact.sim.retarget.hands import HANDS
from foreact.sim.retarget.hands import model_of as hand_model
from foreact.sim.retarget.poses import composed
from foreact.sim.retarget.reach import Reacher, place_before
from foreact.sim.robot_archive import unpacked

STANDING = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])


def recorded(data: Path) -> HandTrack:
    """621 frames of a hand before a camera."""
    collection = open_collection(data / "human_hand_retarget")
    with collection.open(collection.keys()[0]) as source:
        return hand_track(source)


def timed(work: Callable[[], Any], frames: int) -> tuple[float, Any]:
    """CPU time of a frame [ms], and what came of it."""
    start = time.process_time()
    found = work()
    return 1e3 * (time.process_time() - start) / frames, found


def rounds(
    jobs: dict[str, Callable[[], Any]], frames: int, count: int
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """All jobs one after the other, so often; the first round warms up and does not count."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    found: dict[str, Any] = {}
    for number in range(count + 1):
        for name, job in jobs.items():
            spent, found[name] = timed(job, frames)
            if number:
                times[name].append(spent)
    return times, found


def one_by_one(track: HandTrack, base: np.ndarray | None) -> None:
    gripper = Gripper(track.side)
    for joints, stamp in zip(track.joints, track.stamps.tolist(), strict=True):
        gripper.step(joints, stamp, base=base)


def quantiles(values: np.ndarray) -> dict[str, float]:
    return {name: round(float(np.quantile(values, q)), 3) for name, q in (("median", 0.5), ("p95", 0.95), ("most", 1))}


def hand_jobs(track: HandTrack, data: Path) -> dict[str, Callable[[], Any]]:
    """A robot hand by both solvers; each gives the solver and what it found."""
    hand, known = HANDS["shadow_hand"], track.known(0.0)
    model = hand_model(hand, unpacked(data / "robots/shadow_hand.tar.xz"), track.side)
    scale = robot_length(hand, model, track.side) / human_length(track.joints)
    jobs: dict[str, Callable[[], Any]] = {}
    for name, solver, smooth in (
        ("hand, gauss-newton", "gauss-newton", 1e-3),
        ("hand, gauss-newton, smooth as the package", "gauss-newton", 4e-3),
        ("hand, package", "package", 4e-3),
    ):
        made = Dexterous(hand, model, track.side, scale, smooth=smooth, solver=solver)  # type: ignore[arg-type]
        jobs[name] = lambda made=made: (made.reset(), made, made.run(track.joints, known))[1:]
    return jobs


def arm_jobs(track: HandTrack, data: Path) -> dict[str, Callable[[], Any]]:
    """Each arm after the gripper's poses."""
    commands = Gripper(track.side).run(track.joints, track.stamps)
    jobs: dict[str, Callable[[], Any]] = {}
    for name, arm in ARMS.items():
        body = model_of(arm, unpacked(data / "robots" / f"{name}.tar.xz"))
        placed = composed(place_before(arm, body, commands.poses).pose, commands.poses)
        reacher = Reacher(arm, body)
        jobs[f"arm, {name}"] = lambda reacher=reacher, placed=placed: reacher.run(placed, commands.openings)
    return jobs


def row_of(name: str, times: list[float], result: Any) -> dict[str, Any]:
    """Cost of a job, and how far off it was."""
    row: dict[str, Any] = {
        "cpu_ms_per_frame": round(statistics.median(times), 4),
        "range": [round(min(times), 4), round(max(times), 4)],
    }
    if name.startswith("hand"):
        errors = result[0].errors(result[1])
        row["tips_mm"], row["pinch_off_mm"] = quantiles(1e3 * errors.tips), quantiles(1e3 * np.abs(errors.pinch))
        row["directions_deg"] = quantiles(np.degrees(errors.directions))
    if name.startswith("arm"):
        row["position_mm"], row["orientation_deg"] = quantiles(result.position_mm), quantiles(result.orientation_deg)
        row["reached"] = round(float(result.reached.mean()), 4)
    return row


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with human_hand_retarget/ and robots/")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="folder of results")
    arguments = parser.parse_args()
    track = recorded(arguments.data)
    jobs: dict[str, Callable[[], Any]] = {
        "gripper, frame by frame": lambda: one_by_one(track, None),
        "gripper, frame by frame, in a moving frame": lambda: one_by_one(track, STANDING),
        "gripper, all at once": lambda: Gripper(track.side).run(track.joints, track.stamps),
        **hand_jobs(track, arguments.data),
        **arm_jobs(track, arguments.data),
    }
    times, found = rounds(jobs, len(track.stamps), arguments.rounds)
    rows = {name: row_of(name, times[name], found[name]) for name in jobs}
    ratio = rows["hand, package"]["cpu_ms_per_frame"] / rows["hand, gauss-newton"]["cpu_ms_per_frame"]
    report = {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "load": os.getloadavg(),
        "frames": len(track.stamps),
        "rounds": arguments.rounds,
        "rows": rows,
        "hand_package_over_own": round(ratio, 2),
    }
    print(json.dumps(report, indent=2))
    if arguments.out:
        write_json_atomic(arguments.out / f"{report['when'][:10]}-retarget.json", report)


if __name__ == "__main__":
    main()
