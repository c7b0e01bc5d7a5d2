"""Worlds on Warp on a CUDA device: the same physics, captured graphs, torch's stream, no copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from foreact.sim.backends import make_backend
from foreact.sim.classic import TASKS
from foreact.sim.hidden import latency, scaled_mass
from foreact.sim.taskworlds import TaskWorlds

WORLDS = 64
ELLIPSE = 1  # mjtCone: Warp turns pyramids under steep capsules, see tests/integration/sim/test_warp.py


@pytest.mark.parametrize("name", ["cartpole", "reacher", "half-cheetah", "ant"])
def test_control_steps_are_those_of_plain_steps_within_float32(cuda: torch.device, name: str) -> None:
    task = TASKS[name]()
    model = task.compile()
    model.opt.cone = ELLIPSE
    plain: Any = make_backend("ref", model, WORLDS)
    warp: Any = make_backend("warp", model, WORLDS, device=str(cuda))
    rng = np.random.default_rng(0)
    plain.view("qpos")[:] += rng.normal(0, 0.05, (WORLDS, model.nq))
    beyond = 0
    for _ in range(20):
        plain.view("ctrl")[:] = rng.uniform(-1, 1, (WORLDS, model.nu))
        for field in ("qpos", "qvel", "qacc_warmstart", "ctrl"):
            warp.view(field)[:] = torch.as_tensor(plain.view(field))
            plain.view(field)[:] = warp.view(field).cpu().numpy()
        for each in (plain, warp):
            each.step(task.substeps)
        # the bounds of steps in contact
        for field, bound in (("qpos", 1e-4), ("qvel", 1e-3)):
            expected = plain.view(field)
            error = np.abs(warp.view(field).cpu().numpy() - expected).max(axis=1)
            beyond += int((error > bound * np.abs(expected).max()).sum())
    # a contact that begins within a rounding of its margin is there for one engine and not for the other
    assert beyond <= 0.005 * 20 * WORLDS


def test_a_graph_does_what_its_steps_do(cuda: torch.device) -> None:
    warp: Any = make_backend("warp", TASKS["cartpole"]().compile(), WORLDS, device=str(cuda))
    warp.view("qpos")[:, 1] = torch.linspace(-0.1, 0.1, WORLDS)
    kept = warp.snapshot()
    warp.step(4)
    together = warp.view("qpos").clone()
    warp.restore(kept)
    with warp._scope():
        warp._advance(4, "none")
    assert torch.equal(warp.view("qpos"), together)
    assert set(warp._graphs) == {(4, "none")}


def test_views_are_the_engines_own_memory(cuda: torch.device) -> None:
    warp: Any = make_backend("warp", TASKS["ant"]().compile(), 4, device=str(cuda))
    mass = warp.model_field("body_mass")
    assert warp.view("qpos").data_ptr() == warp._data.qpos.ptr and mass.data_ptr() == warp._model.body_mass.ptr
    assert warp.view("qpos").device.type == cuda.type


def test_kernels_run_in_the_stream_that_torch_is_in(cuda: torch.device) -> None:
    warp: Any = make_backend("warp", TASKS["cartpole"]().compile(), 4096, device=str(cuda))
    seen = []
    for stream in (torch.cuda.current_stream(cuda), torch.cuda.Stream(cuda), torch.cuda.Stream(cuda)):
        torch.cuda.synchronize(cuda)
        with torch.cuda.stream(stream):
            warp.reset()
            force = torch.linspace(-3, 3, 4096, device=cuda)
            for _ in range(4):
                warp.view("ctrl")[:, 0] = force  # read by the next step, without waiting
                warp.step(2)
            seen.append(warp.view("qpos").cpu())
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2])
    assert (seen[0][:, 0].diff() > 0).all()  # the harder the push, the further


def test_restored_and_masked_worlds(cuda: torch.device) -> None:
    warp: Any = make_backend("warp", TASKS["reacher"]().compile(), 8, device=str(cuda))
    warp.view("ctrl")[:] = 0.5
    warp.step(5)
    kept = warp.snapshot()
    warp.step(5)
    first = warp.view("qpos").clone()
    warp.restore(kept)
    warp.step(5)
    assert torch.equal(warp.view("qpos"), first)
    warp.step(5, np.array([1, 6]), "velocity")
    moved = (warp.view("qpos") != first).any(dim=1)
    assert moved.nonzero().flatten().tolist() == [1, 6]
    warp.reset(np.array([6]))
    assert (warp.view("qpos")[6, :2] == 0).all() and torch.equal(warp.view("qpos")[0], first[0])


@pytest.mark.parametrize("name", ["cartpole", "reacher"])
def test_a_task_is_the_same_on_cuda(cuda: torch.device, name: str) -> None:
    warp = TaskWorlds(TASKS[name](), WORLDS, "warp", seed=5, device=str(cuda))
    cpu = TaskWorlds(TASKS[name](), WORLDS, "cpu", seed=5)
    np.testing.assert_allclose(warp.reset().cpu(), cpu.reset(), atol=1e-6)
    rng, ended = np.random.default_rng(1), 0
    for _ in range(50):
        action = rng.uniform(cpu.low, cpu.high, (WORLDS, len(cpu.low))).astype(np.float32)
        ours, theirs = warp.step(torch.as_tensor(action, device=cuda)), cpu.step(action)
        for field in ("observation", "reward", "final"):
            np.testing.assert_allclose(getattr(ours, field).cpu(), getattr(theirs, field), rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(ours.ended, theirs.ended)
        ended += len(theirs.ended)
    assert ended >= WORLDS


def test_futures_differ_in_what_is_hidden(cuda: torch.device) -> None:
    futures = []
    for device in (str(cuda), "cpu"):
        worlds = TaskWorlds(TASKS["cartpole"](), 8, "warp", device=device)
        worlds.reset(seeds=np.arange(8))
        hidden = (scaled_mass(["pole"], 0.5, 2.0), latency(2))
        fork = worlds.fork(np.arange(8), 4, hidden=hidden, seed=1)
        for _ in range(10):
            step = fork.step(torch.ones((32, 1), device=fork.views.qpos.device))
            futures.append(step.observation.cpu().clone())
    np.testing.assert_allclose(futures[9], futures[19], rtol=1e-4, atol=1e-4)
    assert len(torch.unique(futures[9][:, 0])) == 32
