"""Classic control tasks on the models of the installed gymnasium wheel: cartpole, reacher, half-cheetah, ant, humanoid.

Observations, rewards and ends are those of Gymnasium's v5 environments without their contact-force terms.
Shape letters: N = worlds, n = selected worlds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from foreact.sim.random import WorldRandom
from foreact.sim.task import Field, Measure, SimTask, noisy_start
from foreact.sim.views import Views

__all__ = ["TASKS"]


def _asset(name: str) -> Path:
    import gymnasium

    return Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / name


def cartpole() -> SimTask:
    """Keep a pole upright on a cart; 25 Hz."""

    def fallen(views: Views) -> Any:
        return views.xp.abs(views.qpos[:, 1]) > 0.2

    return SimTask(
        name="cartpole",
        model=_asset("inverted_pendulum.xml"),
        substeps=2,
        limit=1000,
        observe=(Field("qpos"), Field("qvel")),
        reward=((1.0, lambda views: ~fallen(views)),),
        terminate=(_not_finite, fallen),
        start=(noisy_start(0.01, 0.01, gaussian_velocity=False),),
        # the model asks for Runge-Kutta at four evaluations a step; this is as stable and 3.6 times as fast
        options={"integrator": "implicitfast", **_nothing_collides()},
        instruction="keep the pole upright",
    )


def reacher() -> SimTask:
    """Bring the tip of a planar two-link arm to a target; 50 Hz."""

    def miss(views: Views) -> Any:
        return views.body("fingertip").xpos - views.body("target").xpos

    def distance(views: Views) -> Any:
        return (miss(views) ** 2).sum(-1) ** 0.5

    def target(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        draw = random.uniform(ids, 2)
        # uniform over a disc of 0.2 m: r = R sqrt(u)
        radius, angle = 0.2 * np.sqrt(draw[:, 0]), 2 * np.pi * draw[:, 1]
        place = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        views.qpos[ids, 2:] = views.like(place)
        views.qvel[ids, 2:] = 0

    return SimTask(
        name="reacher",
        model=_asset("reacher.xml"),
        substeps=2,
        limit=50,
        observe=(
            lambda views: views.xp.cos(views.qpos[:, :2]),
            lambda views: views.xp.sin(views.qpos[:, :2]),
            Field("qpos", 2),
            Field("qvel", 0, 2),
            lambda views: miss(views)[:, :2],
        ),
        reward=((-1.0, distance), (-1.0, _effort)),
        start=(noisy_start(0.1, 0.005, gaussian_velocity=False), target),
        options=_nothing_collides(),
        instruction="reach the target",
    )


def half_cheetah() -> SimTask:
    """Run forwards on two legs in a plane; 20 Hz."""
    return SimTask(
        name="half-cheetah",
        model=_asset("half_cheetah.xml"),
        substeps=5,
        limit=1000,
        observe=(Field("qpos", 1), Field("qvel")),
        reward=((1.0, _gained("x")), (-0.1, _effort)),
        remember={"x": _root},
        start=(noisy_start(0.1, 0.1),),
        instruction="run forwards",
    )


def ant() -> SimTask:
    """Walk forwards on four legs; 20 Hz."""
    return SimTask(
        name="ant",
        model=_asset("ant.xml"),
        substeps=5,
        limit=1000,
        observe=(Field("qpos", 2), Field("qvel")),
        reward=((1.0, _within(0.2, 1.0)), (1.0, _gained("x")), (-0.5, _effort)),
        terminate=(_not_finite, lambda views: ~_within(0.2, 1.0)(views)),
        remember={"x": _root},
        start=(noisy_start(0.1, 0.1),),
        instruction="walk forwards",
    )


def humanoid() -> SimTask:
    """Walk forwards on two legs; 67 Hz."""
    return SimTask(
        name="humanoid",
        model=_asset("humanoid.xml"),
        substeps=5,
        limit=1000,
        # inertia, velocity and force terms are those of the last engine step, as Gymnasium's are
        observe=(
            Field("qpos", 2),
            Field("qvel"),
            Field("cinert", 10),
            Field("cvel", 6),
            Field("qfrc_actuator", 6),
        ),
        reward=((5.0, _within(1.0, 2.0)), (1.25, _gained("x", _centre)), (-0.1, _effort)),
        terminate=(_not_finite, lambda views: ~_within(1.0, 2.0)(views)),
        remember={"x": _centre},
        start=(noisy_start(0.01, 0.01, gaussian_velocity=False),),
        instruction="walk forwards",
    )


TASKS: dict[str, Callable[[], SimTask]] = {
    "cartpole": cartpole, "reacher": reacher, "half-cheetah": half_cheetah, "ant": ant, "humanoid": humanoid,
}  # fmt: skip


def _nothing_collides() -> dict[str, Any]:
    """No two geoms of the model may touch: the same bits, 1.25 times as fast without looking for contacts."""
    import mujoco

    return {"disableflags": int(mujoco.mjtDisableBit.mjDSBL_CONTACT)}


def _effort(views: Views) -> Any:
    return (views.action**2).sum(-1)


def _root(views: Views) -> Any:
    """Where the first joint is along x [m]."""
    return views.qpos[:, 0]


def _centre(views: Views) -> Any:
    """Where the centre of mass is along x [m], at the last engine step as Gymnasium takes it."""
    return views.subtree_com[:, 0, 0]


def _gained(name: str, place: Measure = _root) -> Measure:
    """Speed [m/s] over the control step of a place that was remembered."""
    return lambda views: (place(views) - views.before[name]) / views.dt


def _within(low: float, high: float) -> Measure:
    """Whether the torso's height [m] is healthy."""
    return lambda views: (views.qpos[:, 2] >= low) & (views.qpos[:, 2] <= high)


def _not_finite(views: Views) -> Any:
    xp = views.xp
    # a sum is finite only if every part is
    return ~xp.isfinite(views.qpos.sum(-1) + views.qvel.sum(-1))
