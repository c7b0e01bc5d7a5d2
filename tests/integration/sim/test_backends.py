"""Engines behind the seam: the fast one gives the bits of plain `mj_step`, Warp the same within float32."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest

from foreact.sim.backends import make_backend
from foreact.sim.classic import TASKS

WORLDS = 6


def model(name: str) -> mujoco.MjModel:
    return TASKS[name]().compile()


def drive(backend: Any, steps: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Different states, masses and controls in every world; some calls step only some worlds."""
    control, rng = backend.view("ctrl"), np.random.default_rng(seed)
    backend.model_field("body_mass")[:] *= np.linspace(0.8, 1.2, backend.nworld)[:, None]
    backend.view("qpos")[:, -1] += np.linspace(0, 0.1, backend.nworld)
    for step in range(steps):
        control[:] = rng.uniform(-1, 1, control.shape)
        ids = np.array([0, 2, 3]) if step % 4 == 3 else None
        backend.step(3, ids, ("none", "velocity", "acceleration", "position")[step % 4])
    return {name: np.array(backend.view(name)) for name in ("qpos", "qvel", "xpos", "time")}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_fast_backend_gives_the_bits_of_plain_steps(name: str, threads: int) -> None:
    compiled = model(name)
    fast = drive(make_backend("cpu", compiled, WORLDS, threads=threads), 40)
    plain = drive(make_backend("ref", compiled, WORLDS), 40)
    for field, values in plain.items():
        np.testing.assert_array_equal(fast[field], values, err_msg=field)


@pytest.mark.parametrize("kind", ["cpu", "ref"])
def test_restored_worlds_repeat_bit_for_bit(kind: Any) -> None:
    backend = make_backend(kind, model("ant"), WORLDS)
    drive(backend, 10)
    some = np.array([1, 4])
    kept, rest = backend.snapshot(some), backend.snapshot()
    first = drive(backend, 20, seed=1)
    backend.restore(rest)
    again = drive(backend, 20, seed=1)
    np.testing.assert_array_equal(first["qpos"], again["qpos"])
    backend.restore(kept, some)
    np.testing.assert_array_equal(backend.view("qpos")[some], rest_of(rest, kind)[some])


def rest_of(snapshot: Any, kind: str) -> np.ndarray:
    if kind == "ref":
        return snapshot.state["qpos"]
    nq = model("ant").nq
    return snapshot.state["rows"][:, 1 : 1 + nq]  # time comes first


@pytest.mark.parametrize("kind", ["cpu", "ref"])
def test_forks_start_where_their_worlds_are_and_go_on_alike(kind: Any) -> None:
    backend = make_backend(kind, model("half-cheetah"), WORLDS)
    drive(backend, 10)
    ids = np.array([1, 4])
    fork = backend.fork(ids, 3)
    np.testing.assert_array_equal(fork.view("qpos"), np.repeat(backend.view("qpos")[ids], 3, axis=0))
    np.testing.assert_array_equal(fork.model_field("body_mass")[3], backend.model_field("body_mass")[4])
    control = np.linspace(-1, 1, backend.model.nu)
    fork.view("ctrl")[:], backend.view("ctrl")[:] = control, control
    fork.step(20)
    backend.step(20)
    np.testing.assert_array_equal(fork.view("qpos"), np.repeat(backend.view("qpos")[ids], 3, axis=0))
    assert backend.fork(ids, 3, into=fork) is fork
    with pytest.raises(ValueError, match="into"):
        backend.fork(ids, 2, into=fork)


@pytest.mark.parametrize("name", ["half-cheetah", "ant"])
def test_derived_constants_are_those_of_plain_mujoco(name: str) -> None:
    compiled, ends = model(name), []
    for kind in ("cpu", "ref"):
        backend: Any = make_backend(kind, compiled, WORLDS)
        for field in ("body_mass", "body_inertia"):
            values = backend.model_field(field)
            values[:] *= np.linspace(0.5, 2, WORLDS).reshape(-1, *[1] * (values.ndim - 1))
        timestep = backend.model_field("opt.timestep")
        timestep[3] *= 0.5
        chosen = np.array([0, 2, 3])
        backend.derive_constants(chosen)
        weight = backend.model_field("body_invweight0")
        # weights are inverse masses, up to the armature of joints
        assert (weight[0, 1:] > compiled.body_invweight0[1:]).all()
        np.testing.assert_array_equal(weight[1], compiled.body_invweight0)  # not asked for
        backend.derive_constants(np.arange(WORLDS) == 5)
        assert (weight[5, 1:] < compiled.body_invweight0[1:]).all()
        fork = backend.fork(np.array([2, 5]), 2)
        np.testing.assert_array_equal(fork.model_field("body_invweight0"), weight[[2, 2, 5, 5]])
        rng = np.random.default_rng(0)
        for _ in range(30):
            backend.view("ctrl")[:] = rng.uniform(-1, 1, backend.view("ctrl").shape)
            backend.step(4)
        dt = compiled.opt.timestep
        np.testing.assert_allclose(backend.view("time"), 120 * dt * np.array([1, 1, 1, 0.5, 1, 1]))
        ends.append(np.concatenate([backend.view("qpos"), backend.view("qvel")], axis=1).copy())
    np.testing.assert_array_equal(ends[0], ends[1])


@pytest.mark.parametrize("kind", ["cpu", "ref"])
def test_model_fields_since_a_snapshot_or_in_an_earlier_fork_are_forgotten(kind: Any) -> None:
    backend: Any = make_backend(kind, model("cartpole"), 3)
    kept, fork = backend.snapshot(np.array([0, 2])), backend.fork(np.array([1]), 4)
    for each in (backend, fork):
        each.model_field("body_mass")[:] *= 3
        each.model_field("opt.timestep")[:] *= 3
    backend.restore(kept, np.array([0, 2]))
    mass = backend.model.body_mass
    np.testing.assert_array_equal(backend.model_field("body_mass"), mass * np.array([[1], [3], [1]]))
    plain: Any = make_backend(kind, backend.model, 3)
    plain.fork(np.array([1]), 4, into=fork)  # cannot be told from a fork of its own
    np.testing.assert_array_equal(fork.model_field("body_mass"), np.tile(mass, (4, 1)))
    np.testing.assert_array_equal(fork.model_field("opt.timestep"), [backend.model.opt.timestep] * 4)


def test_reset_brings_only_the_worlds_named_back() -> None:
    backend = make_backend("cpu", model("half-cheetah"), 4)
    backend.view("ctrl")[:] = 1
    backend.step(10)
    before = backend.view("qpos").copy()
    backend.reset(np.array([False, True, False, True]))
    np.testing.assert_array_equal(backend.view("qpos")[[1, 3]], np.tile(backend.model.qpos0, (2, 1)))
    np.testing.assert_array_equal(backend.view("qpos")[[0, 2]], before[[0, 2]])


def test_warnings_name_their_worlds() -> None:
    for kind in ("cpu", "ref"):
        backend: Any = make_backend(kind, mujoco.MjModel.from_xml_string(BALL), 3)
        backend.view("qvel")[2] = np.nan
        backend.step(1)
        assert backend.warnings()["bad_qvel"].tolist() == [0, 0, 1]
        backend.reset()
        backend.model_field("body_mass")  # worlds with values of their own are reset in another way
        backend.reset(np.array([2]))
        assert backend.warnings()["bad_qvel"].tolist() == [0, 0, 1]  # since the worlds were made


BALL = """
<mujoco><worldbody><body pos="0 0 1"><freejoint/><geom size="0.1"/></body><geom type="plane" size="1 1 1"/></worldbody>
</mujoco>"""


def test_unknown_fields_are_refused() -> None:
    for kind in ("cpu", "ref"):
        backend: Any = make_backend(kind, model("cartpole"), 2)
        with pytest.raises(ValueError, match="qposs"):
            backend.view("qposs")
        with pytest.raises(ValueError, match="body_weight"):
            backend.model_field("body_weight")
    with pytest.raises(ValueError, match="cpu, ref or warp"):
        make_backend("gpu", model("cartpole"), 2)  # pyright: ignore[reportArgumentType]
