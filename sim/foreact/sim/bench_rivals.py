"""The sides of a benchmark that are others': Gymnasium's vector environments and EnvPool, on the same model and terms.

They take the very model file, integrator included, and leave out what our tasks leave out: contact forces.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from foreact.sim import bench_envpool
from foreact.sim.bench_meter import Window, timed, window_steps
from foreact.sim.bench_served import ServedSide
from foreact.sim.bench_worlds import BURN_IN
from foreact.sim.task import SimTask

__all__ = ["SYNC_ENVS", "GymnasiumSide", "envpool_interpreter", "envpool_side", "has_rivals", "write_model"]

SYNC_ENVS = 8

ENVPOOL_ENVS = 64
"""Where its rate per CPU second is highest; it falls with more."""

GYMNASIUM: dict[str, tuple[str, dict[str, Any]]] = {
    "cartpole": ("InvertedPendulum-v5", {}),
    "reacher": ("Reacher-v5", {"reward_dist_weight": 1.0, "reward_control_weight": 1.0}),
    "half-cheetah": ("HalfCheetah-v5", {}),
    "ant": ("Ant-v5", {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0.0}),
    "humanoid": (
        "Humanoid-v5",
        {
            "include_cfrc_ext_in_observation": False,
            "contact_cost_weight": 0.0,
        },
    ),
}
ENVPOOL: dict[str, dict[str, Any]] = {
    "cartpole": {"post_constraint": False},
    "reacher": {"post_constraint": False},
    "half-cheetah": {"post_constraint": False},
    "ant": {"post_constraint": False, "use_contact_force": False},
    # its observation keeps contact-force terms that no option leaves out
    "humanoid": {"post_constraint": False, "use_contact_force": False},
}


def has_rivals(task: str) -> bool:
    """Whether others have this task."""
    return task in GYMNASIUM


def write_model(task: SimTask, folder: Path) -> Path:
    """Write a task's MJCF with the task's options, so that others step the same model.

    Raises:
        ValueError: The task has no file, or an option that is not known here.
    """
    import mujoco

    if not isinstance(task.model, str | Path) or task.options.keys() - {"integrator", "disableflags"}:
        raise ValueError(f"task {task.name}: others cannot be given its model")
    spec = mujoco.MjSpec.from_file(str(task.model))
    if "integrator" in task.options:
        spec.option.integrator = getattr(mujoco.mjtIntegrator, f"mjINT_{task.options['integrator'].upper()}")
    spec.option.disableflags = task.options.get("disableflags", spec.option.disableflags)
    spec.compile()
    file = folder / f"{task.name}.xml"
    file.write_text(spec.to_xml(), encoding="utf-8")
    return file


class GymnasiumSide:
    """A Gymnasium vector environment under random actions.

    Args:
        task: One that Gymnasium has.
        model: The MJCF file.
        kind: `async` with as many processes as cores, or `sync` with eight environments in this process.
        seconds: Length of a window [s].
    """

    def __init__(self, task: SimTask, model: Path, kind: Literal["async", "sync"], seconds: float) -> None:
        from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

        makers: list[Callable[[], Any]] = [partial(_plain, task.name, str(model), task.limit)]
        same_step: dict[str, Any] = {
            "autoreset_mode": AutoresetMode.SAME_STEP
        }  # as ours: every call is a step of physics
        if kind == "sync":
            self._env: Any = SyncVectorEnv(makers * SYNC_ENVS, **same_step)
            self._workers: list[Any] = []
        else:
            import psutil

            # forking a process that has threads can hang
            self._env = AsyncVectorEnv(makers * len(os.sched_getaffinity(0)), context="spawn", **same_step)
            self._workers = [psutil.Process(each.pid) for each in self._env.processes]
        self._env.reset(seed=0)
        self._env.action_space.seed(0)
        self._plans = [self._env.action_space.sample() for _ in range(64)]
        burn_in = _burn_in(task)
        self._run(burn_in)
        self._length = window_steps(self._timed(4 * burn_in), self._env.num_envs, seconds)

    def window(self) -> Window:
        """One stretch, timed; the CPU time of worker processes is known to 10 ms."""
        return self._timed(self._length)

    def close(self) -> None:
        """End the processes."""
        self._env.close()

    def _timed(self, steps: int) -> Window:
        return timed(lambda: self._run(steps), steps * self._env.num_envs, self._cpu)

    def _run(self, steps: int) -> None:
        for index in range(steps):
            self._env.step(self._plans[index % len(self._plans)])

    def _cpu(self) -> float:
        used = [worker.cpu_times() for worker in self._workers]
        return time.process_time() + sum(each.user + each.system for each in used)


def _plain(task: str, model: str, limit: int) -> Any:
    import gymnasium

    known, options = GYMNASIUM[task]
    return gymnasium.make(known, max_episode_steps=limit, disable_env_checker=True, xml_file=model, **options)


def envpool_interpreter(given: Path | None) -> Path | None:
    """The interpreter that has EnvPool: the one given, this one, or none.

    Raises:
        ValueError: The given one cannot be run, or cannot import it.
    """
    if given is None:
        return Path(sys.executable) if find_spec("envpool") else None
    try:
        done = subprocess.run([given, "-P", "-c", "import envpool"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise ValueError(f"envpool_python={given} cannot be run: {error.strerror}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"envpool_python={given} cannot import envpool ({last}); type: {given} -m pip install envpool")
    return given


def envpool_side(interpreter: Path, task: SimTask, model: Path, seconds: float) -> ServedSide:
    """Start EnvPool on one thread.

    Args:
        interpreter: One that has EnvPool.
        task: One that EnvPool has.
        model: The MJCF file.
        seconds: Length of a window [s].

    Raises:
        SideEnded: It could not start.
    """
    options = json.dumps({"max_episode_steps": task.limit, **ENVPOOL[task.name]})
    script = Path(bench_envpool.__file__).resolve()
    arguments = [GYMNASIUM[task.name][0], str(ENVPOOL_ENVS), str(_burn_in(task)), str(model.resolve()), options]
    return ServedSide([interpreter, "-P", script, *arguments], ENVPOOL_ENVS, seconds)


def _burn_in(task: SimTask) -> int:
    return max(2, round(BURN_IN / (task.compile().opt.timestep * task.substeps)))
