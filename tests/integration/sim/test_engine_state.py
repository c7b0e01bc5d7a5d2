"""A world's state is all that decides its future, what delayed actuators and sensors still hold back included."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest

from foreact.sim.backends import make_backend
from foreact.sim.classic import TASKS

PUSHED_LATE = """
<mujoco><option timestep="0.01"/><worldbody><body><joint name="x" type="slide" axis="1 0 0"/>
<geom size=".1" mass="1"/></body></worldbody><actuator><motor joint="x" delay="0.05" nsample="8"/></actuator>
<sensor><jointpos joint="x" delay="0.03" nsample="6"/></sensor></mujoco>"""
WORLDS = 3


def late(kind: Any) -> Any:
    return make_backend(kind, mujoco.MjModel.from_xml_string(PUSHED_LATE), WORLDS)


def pushed(backend: Any, seed: int, steps: int = 20, rows: Any = slice(None)) -> np.ndarray:
    """Where worlds are and what their sensors say, after every step."""
    rng, seen = np.random.default_rng(seed), []
    fields = [backend.view(name) for name in ("qpos", "sensordata")]
    for _ in range(steps):
        backend.view("ctrl")[:] = backend.xp.asarray(rng.uniform(-1, 1, (WORLDS, 1))[rows])
        backend.step(1)
        seen.append(np.concatenate([np.asarray(values).reshape(len(values), -1) for values in fields], axis=1))
    return np.stack(seen)


@pytest.mark.parametrize("kind", ["cpu", "ref", "warp"])
def test_what_is_delayed_is_part_of_a_snapshot_and_of_a_fork(kind: str) -> None:
    backend = late(kind)
    pushed(backend, 0)
    kept, fork = backend.snapshot(), backend.fork(np.array([2, 0]), 1)
    first = pushed(backend, 1)
    backend.restore(kept)
    np.testing.assert_array_equal(pushed(backend, 1), first)
    np.testing.assert_array_equal(pushed(fork, 1, rows=[2, 0]), first[:, [2, 0]])
    backend.reset()
    anew = pushed(backend, 1)
    np.testing.assert_array_equal(anew, pushed(late(kind), 1))
    # actions before the snapshot arrived after it
    assert (np.abs(np.diff(anew[:5, :, 0], axis=0)) == 0).all() and (np.abs(np.diff(first[:5, :, 0], axis=0)) > 0).all()


def test_engines_agree_where_actions_are_late() -> None:
    np.testing.assert_array_equal(pushed(late("cpu"), 0), pushed(late("ref"), 0))


@pytest.mark.parametrize("kind", ["cpu", "ref"])
@pytest.mark.parametrize("model", [TASKS["ant"]().compile(), mujoco.MjModel.from_xml_string(PUSHED_LATE)])
def test_a_snapshot_holds_as_much_as_the_engine_calls_its_state(kind: Any, model: mujoco.MjModel) -> None:
    state = make_backend(kind, model, WORLDS).snapshot().state
    size = sum(values.size for values in state.values())
    assert size == WORLDS * mujoco.mj_stateSize(model, int(mujoco.mjtState.mjSTATE_INTEGRATION))
