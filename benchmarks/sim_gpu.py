"""How many control steps a second do worlds on MuJoCo Warp make, and how much of a step is not the engine?

Each task runs complete, with observation, reward, ends and new episodes, after a burn-in of one second of simulated
time. The share of the environment layer is what is left of a step beside the engine's own time in the same steps,
measured between CUDA events in torch's stream. `NAME+pixels` also draws every world after each step: colours, depth and
segmentation of its first camera at 64 px, all worlds in one launch. What others publish is printed beside.

    .venv/bin/python -P benchmarks/sim_gpu.py --worlds 8192 --out benchmarks/results
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foreact.episodes.runfolder import describe_machine
from foreact.sim.pictures import WorldPictures, camera_specs
from foreact.sim.registry import sim_task
from foreact.sim.taskworlds import TaskWorlds

TIMED = ("cartpole", "ant", "humanoid", "arm-push", "quadruped-velocity", "arm-push+pixels")
PIXELS = "+pixels"
SIDE = 64  # [px]
NEWTON = 2  # mjtSolver
# control steps a second of Isaac Lab with PhysX on an RTX 4090, stepping alone: its documentation's performance page
PUBLISHED = {
    "cartpole": "Isaac Lab, Cartpole-Direct, RTX 4090, 4096 worlds: 1,100,000",
    "humanoid": "Isaac Lab, Velocity-Rough-G1, RTX 4090, 4096 worlds: 94,000",
    "arm-push+pixels": "Isaac Lab, Cartpole-RGB-Camera, RTX 4090, 1024 worlds: 50,000",
}


class Stopwatch:
    """Times calls on a device: between events on CUDA, by the clock on the CPU."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: list[tuple[Any, Any]] = []

    def mark(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def wrap(self, call: Callable[..., None]) -> Callable[..., None]:
        def timed(*arguments: Any) -> None:
            start = self.mark()
            call(*arguments)
            self._marks.append((start, self.mark()))

        return timed

    def total(self) -> float:
        """Seconds in the calls since the last total."""
        if self._cuda:
            torch.cuda.synchronize()
        seconds = sum(a.elapsed_time(b) / 1e3 if self._cuda else b - a for a, b in self._marks)
        self._marks.clear()
        return seconds


def measure(name: str, worlds: int, steps: int, repeats: int, device: str) -> dict[str, Any]:
    """Rates of one task: median and quartiles over the repeats."""
    began = time.perf_counter()
    task = sim_task(name.removesuffix(PIXELS))
    if task is None:
        raise SystemExit(f"{name} is no simulated task; foreact tasks lists them")
    task = replace(task, options={**task.options, "solver": NEWTON})  # the humanoid asks for PGS, which Warp has not
    envs = TaskWorlds(task, worlds, "warp", device=device)
    envs.reset()
    pictures = _pictures(envs, device) if name.endswith(PIXELS) else None
    engine: Any = envs.backend
    place = envs.views.qpos.device
    low, high = (torch.as_tensor(each, device=place) for each in (envs.low, envs.high))
    watch, count = Stopwatch(place), len(envs.low)
    engine.step = watch.wrap(engine.step)

    def run(number: int) -> tuple[float, float]:
        plan = low + (high - low) * torch.rand(number, worlds, count, device=place)
        watch.total()
        start = time.perf_counter()
        for action in plan:
            envs.step(action)
            if pictures is not None:
                pictures.draw(envs.backend)
        inside = watch.total()
        return time.perf_counter() - start, inside

    run(max(3, round(1 / envs.views.dt)))  # burn-in; compiles and captures too
    ready = time.perf_counter() - began
    spans = np.array([run(steps) for _ in range(repeats)])
    overflow = {kind: int(counts.sum()) for kind, counts in engine.warnings().items() if counts.any()}
    return {
        "worlds": worlds,
        "control_steps_per_second": quartiles(worlds * steps / spans[:, 0]),
        "substeps": envs.task.substeps,
        "share_beside_the_engine": quartiles(1 - spans[:, 1] / spans[:, 0]),
        "seconds_until_ready": round(ready, 2),
        "worlds_with_overflow": overflow,
    }


def _pictures(envs: TaskWorlds, device: str) -> WorldPictures:
    model = envs.backend.model
    cameras = camera_specs(model, envs.task.cameras[:1], SIDE, SIDE)
    return WorldPictures(model, cameras, len(envs), device=device, launch=len(envs))


def quartiles(values: np.ndarray) -> dict[str, float]:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(middle), "low": float(low), "high": float(high)}


def main() -> int:
    """Print one line per task; append all to a dated file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ...; cpu tries the script, not the speed")
    parser.add_argument("--tasks", nargs="+", default=list(TIMED), help=f"simulated tasks, NAME or NAME{PIXELS}")
    parser.add_argument("--worlds", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=200, help="control steps of a repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="folder of the dated results file to append to")
    asked = parser.parse_args()
    if asked.device.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device: torch finds none here, so nothing was timed", file=sys.stderr)
        return 1
    tasks = {}
    for name in asked.tasks:
        tasks[name] = found = measure(name, asked.worlds, asked.steps, asked.repeats, asked.device)
        rate, share = found["control_steps_per_second"]["median"], found["share_beside_the_engine"]["median"]
        layer = "pictures and environment" if name.endswith(PIXELS) else "environment"
        print(f"{name:19} {rate:12,.0f} control steps/s   {layer} {share:.0%} of a step", flush=True)
        if name in PUBLISHED:
            print(f"{'':19} published: {PUBLISHED[name]}", flush=True)
    gpu = torch.cuda.get_device_name() if asked.device.startswith("cuda") else None
    figures = {
        "benchmark": "sim-gpu",
        "device": asked.device,
        "gpu": gpu,
        "machine": describe_machine(),
        "tasks": tasks,
        "published": PUBLISHED,
    }
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        path = asked.out / f"{datetime.now(UTC).date()}-sim-gpu.jsonl"
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": datetime.now(UTC).isoformat(timespec="seconds"), **figures}) + "\n")
        print(f"appended to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
