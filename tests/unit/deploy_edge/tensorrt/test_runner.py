"""Plans on the GPU: refused before TensorRT sees them, run with and without a CUDA graph, and given back."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.deploy_edge.runtime.protocol import RuntimeFailure
from foreact.deploy_edge.runtime.tensorrt.cuda_device import CudaOutOfMemory
from foreact.deploy_edge.runtime.tensorrt.runner import TensorRtRuntime, load
from foreact.deploy_edge.runtime.tensorrt.sidecar import (
    BuildConfig,
    EngineRefused,
    graph_path,
    publish,
    read_plan,
    sha256,
    sidecar_path,
)

DEPTH, STATE = np.array([[1, 2, 60000]], np.uint16), np.array([[0.5, 1.5]], np.float32)
ANSWER = 2.0 * (60003 + 2.0)


def run(runtime: TensorRtRuntime) -> np.ndarray:
    outputs = {"action": np.zeros((1, 4), np.float32)}
    runtime.infer({"depth": DEPTH, "state": STATE}, outputs)
    return outputs["action"]


def test_every_generation_runs_its_plan_with_a_cuda_graph(each_machine: Any) -> None:
    runtime = load(each_machine.published())
    assert (runtime.name, runtime.version) == (each_machine.api.flavour, each_machine.api.version)
    assert runtime.inputs["depth"].dtype == "uint16" and runtime.metadata == {"foreact.contract_hash": "c"}
    runtime.warmup()
    launches = each_machine.cuda.launches
    assert (run(runtime) == ANSWER).all() and each_machine.cuda.launches == launches + 1
    stats = runtime.stats()
    assert stats.inferences == 4 and stats.failures == 0 and "CUDA graph: recorded 1 time(s)" in stats.notes
    runtime.close()
    runtime.close()
    assert not each_machine.cuda.live and not each_machine.cuda.streams and not each_machine.cuda.graphs
    with pytest.raises(RuntimeFailure, match="closed"):
        run(runtime)


def test_without_a_graph_nothing_is_recorded(machine: Callable[..., Any]) -> None:
    here = machine()
    runtime = load(here.published(), graph=False)
    runtime.warmup()
    assert (run(runtime) == ANSWER).all() and here.cuda.launches == 0 and "CUDA graph: none" in runtime.stats().notes


@pytest.mark.parametrize(("faults", "device"), [({"enqueue": True}, {}), ({}, {"fail_capture": True})])
def test_a_failed_capture_is_counted_and_kernels_run_plainly(
    machine: Callable[..., Any], faults: dict[str, Any], device: dict[str, Any]
) -> None:
    here = machine("10.16", faults, **device)
    runtime = load(here.published())
    runtime.warmup()
    assert (run(runtime) == ANSWER).all() and here.cuda.launches == 0 and here.cuda.recording is None
    (note,) = [note for note in runtime.stats().notes if note.startswith("CUDA graph")]
    assert "1 failed" in note and "one after the other" in note and ("capturing" in note or "Capture" in note)


def test_a_graph_that_stops_launching_is_dropped(machine: Callable[..., Any]) -> None:
    here = machine(fail_launches=17)  # 3 recordings are timed with 5 launches each, warm-up does 2
    runtime = load(here.published())
    runtime.warmup()
    assert (run(runtime) == ANSWER).all() and not here.cuda.graphs
    assert any("cudaErrorLaunchFailure" in note for note in runtime.stats().notes)


def test_the_processor_s_memory_is_used_in_place_where_it_is_shared(machine: Callable[..., Any]) -> None:
    here = machine(integrated=True)
    runtime = load(here.published())
    runtime.warmup()
    assert (run(runtime) == ANSWER).all() and here.cuda.copies == 0 and len(here.cuda.live) == 3


def test_arrays_of_another_type_are_refused(machine: Callable[..., Any]) -> None:
    runtime = load(machine().published())
    with pytest.raises(ValueError, match="depth: expected uint16"):
        runtime.infer({"depth": DEPTH.astype(np.int32), "state": STATE}, {"action": np.zeros((1, 4), np.float32)})


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "truncated or altered"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"2.0", b"3.0")), "truncated or altered"),
        (lambda path: path.unlink(), "no plan with a sidecar"),
        (lambda path: sidecar_path(path).unlink(), "no plan with a sidecar"),
        (lambda path: sidecar_path(path).write_text("{"), "is damaged"),
        (lambda path: sidecar_path(path).write_bytes(b"\xff\xfe"), "is no JSON"),
        (lambda path: sidecar_path(path).write_text('{"schema": 1}'), "is damaged.*missing keys"),
    ],
)
def test_a_plan_that_was_touched_is_never_deserialised(
    machine: Callable[..., Any], spoil: Callable[[Path], Any], says: str
) -> None:
    here = machine()
    path = here.published()
    spoil(path)
    with pytest.raises(EngineRefused, match=says):
        load(path)
    assert "deserialised" not in here.faults.seen


@pytest.mark.parametrize("place", range(0, 200, 13))
def test_any_altered_byte_of_a_plan_is_seen(machine: Callable[..., Any], place: int) -> None:
    path = machine().published()
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1
    path.write_bytes(content)
    with pytest.raises(EngineRefused, match="altered"):
        read_plan(path)


def test_a_plan_of_another_gpu_is_never_deserialised(machine: Callable[..., Any]) -> None:
    path = machine(name="Orin").published()
    other = machine(name="Thor", capability=(11, 0))
    with pytest.raises(
        EngineRefused, match="gpu: built for Orin, here is Thor; capability: built for 8.7, here is 11.0"
    ):
        load(path)
    assert "deserialised" not in other.faults.seen


def test_a_plan_of_another_tensorrt_is_never_deserialised(machine: Callable[..., Any]) -> None:
    path = machine("10.3").published()
    other = machine("10.16")
    with pytest.raises(EngineRefused, match="trt_version: built for 10.3.0.26, here is 10.16.2.10"):
        load(path)
    assert "deserialised" not in other.faults.seen


def test_a_plan_of_another_model_is_never_deserialised(machine: Callable[..., Any]) -> None:
    here = machine()
    path = here.published()
    with pytest.raises(EngineRefused, match="was built from another model"):
        load(path, onnx_sha256=sha256(b"another"))
    assert "deserialised" not in here.faults.seen
    assert load(path, onnx_sha256=sha256(b"policy")).stats().inferences == 0


def test_rtx_plans_run_on_the_gpus_that_were_named(machine: Callable[..., Any]) -> None:
    config = BuildConfig(compute=("8.6", "8.9"))
    built_for = machine("rtx", name="RTX 4090", capability=(8, 9)).published(config)
    load(built_for)
    machine("rtx", name="RTX A2000", capability=(8, 6))
    load(built_for)
    machine("rtx", name="H200", capability=(9, 0))
    with pytest.raises(EngineRefused, match="capability: built for 8.6, 8.9, here is 9.0"):
        load(built_for)


def test_other_drivers_and_clocks_are_remarked(machine: Callable[..., Any]) -> None:
    here = machine()
    elsewhere = dataclasses.replace(here.here, cuda_driver=12040, power_mode="MAXN")
    notes = load(here.published(fingerprint=elsewhere)).stats().notes
    assert "cuda_driver was 12040 when the plan was built, is 12060" in notes
    assert "power_mode was MAXN when the plan was built, is None" in notes


@pytest.mark.parametrize(
    ("faults", "error", "says"),
    [
        ({"deserialise": True}, EngineRefused, "does not load the plan: Version tag does not match"),
        ({"context": True}, RuntimeFailure, "not enough memory to run the engine: out of memory"),
        ({"address": "state"}, EngineRefused, "does not take an address for state"),
        ({"other_ports": True}, EngineRefused, "not that of its sidecar: action: expected .* got None; other"),
    ],
)
def test_what_tensorrt_refuses_is_an_error_and_nothing_stays_allocated(
    machine: Callable[..., Any], faults: dict[str, Any], error: type[Exception], says: str
) -> None:
    for generation in ("10.3", "11.4"):
        here = machine(generation, faults)
        with pytest.raises(error, match=says):
            load(here.published())
        assert not here.cuda.live and not here.cuda.streams


def test_too_little_memory_gives_back_what_was_taken(machine: Callable[..., Any]) -> None:
    here = machine()
    path = here.published()
    here.cuda.memory = 30
    with pytest.raises(CudaOutOfMemory, match="could not allocate|could not pin"):
        load(path)
    assert not here.cuda.live and here.cuda.memory == 30


def test_a_plan_without_weights_takes_them_from_the_graph_beside_it(machine: Callable[..., Any]) -> None:
    here = machine("10.16")
    path = here.published(BuildConfig(strip=True, refit=True))
    assert b'"weight": null' in path.read_bytes()
    runtime = load(path)
    assert (run(runtime) == ANSWER).all() and "weights taken from the graph" in runtime.stats().notes
    graph_path(path).write_bytes(json.dumps({"weight": 9.0}).encode())
    with pytest.raises(EngineRefused, match="refit: the graph's sha256 is"):
        load(path)
    graph_path(path).unlink()
    with pytest.raises(EngineRefused, match="has no weights"):
        load(path)


def test_a_refit_records_the_graph_anew(machine: Callable[..., Any]) -> None:
    here = machine("10.13")
    path = here.published(BuildConfig(strip=True, refit=True))
    runtime = load(path)
    runtime.warmup()
    runtime.refit(graph_path(path).read_bytes())
    assert "CUDA graph: recorded 2 time(s)" in runtime.stats().notes and (run(runtime) == ANSWER).all()
    here.faults.missing_weights = ("gemm.weight",)
    with pytest.raises(EngineRefused, match="missing: gemm.weight"):
        runtime.refit(graph_path(path).read_bytes())


@pytest.mark.parametrize("generation", ["10.13", "11.4"])
def test_the_table_of_layers(machine: Callable[..., Any], generation: str) -> None:
    runtime = load(machine(generation).published())
    gemm, move = runtime.layers(rounds=4)
    assert (gemm.name, gemm.kind, gemm.formats, gemm.mean_ms, gemm.share) == (
        "gemm",
        "gemm",
        "Row major FP32",
        0.3,
        0.75,
    )
    assert (move.name, move.formats, move.share) == ("move", "", 0.25)


def test_the_previous_plan_stays(machine: Callable[..., Any]) -> None:
    here = machine()
    path = here.published()
    first, sidecar = read_plan(path)
    publish(path, b"second", dataclasses.replace(sidecar, plan_sha256=sha256(b"second")))
    assert read_plan(path)[0] == b"second"
    previous = path.with_name("policy.plan.previous")
    assert previous.read_bytes() == first
    assert json.loads(path.with_name("policy.plan.json.previous").read_text())["plan_sha256"] == sha256(first)
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "policy.plan", "policy.plan.json", "policy.plan.json.previous", "policy.plan.previous",
    ]  # fmt: skip


def test_a_crash_between_plan_and_sidecar_is_seen(machine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from foreact.deploy_edge.runtime.tensorrt import sidecar as module

    path = machine().published()
    _, sidecar = read_plan(path)

    def full(path: Path, content: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_json_atomic", full)
    with pytest.raises(OSError, match="No space"):
        publish(path, b"second", dataclasses.replace(sidecar, plan_sha256=sha256(b"second")))
    with pytest.raises(EngineRefused, match="altered"):
        read_plan(path)
