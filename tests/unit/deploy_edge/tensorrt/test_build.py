"""Plans of every generation of TensorRT, and every way in which a build fails."""

import ast
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import foreact.deploy_edge.runtime.tensorrt.api as api_module
from foreact.deploy_edge.runtime.protocol import RuntimeMissing
from foreact.deploy_edge.runtime.tensorrt.api import ApiMissing, load_api
from foreact.deploy_edge.runtime.tensorrt.build import (
    BuildFailed,
    BuildOutOfMemory,
    BuildTimeout,
    ParseFailed,
    workspace_bytes,
)
from foreact.deploy_edge.runtime.tensorrt.sidecar import BuildConfig

# What 11 removed, and what no version since 10.0 has.
REMOVED = {
    "FP16", "INT8", "BF16", "FP8", "INT4", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS",
    "int8_calibrator", "IInt8Calibrator", "algorithm_selector", "set_calibration_profile", "quantization_flags",
    "platform_has_fast_fp16", "platform_has_fast_int8", "EXPLICIT_BATCH", "max_workspace_size", "build_engine",
    "build_engine_with_config", "device_memory_size", "has_implicit_batch_dimension", "execute_async_v2", "execute_v2",
    "get_binding_index", "get_binding_shape", "num_bindings", "set_binding_shape", "supports_model",
}  # fmt: skip


def test_every_generation_builds_a_strongly_typed_plan(each_machine: Any) -> None:
    built = each_machine.build(BuildConfig(level=2, sparse=True, refit=True, tf32=False))
    seen = each_machine.faults.seen
    assert built.plan and seen["strongly_typed"] and seen["level"] == 2 and seen["verbosity"].name == "DETAILED"
    assert seen["flags"] == {"SPARSE_WEIGHTS", "REFIT"}
    assert [name for name, _, _ in built.ports] == ["depth", "state", "action"] and built.inputs == 2
    assert built.ports[0] == ("depth", "int32", (1, 3))


def test_a_network_without_the_flag_is_weak_in_10_and_strong_in_11(machine: Callable[..., Any]) -> None:
    for generation, strong in (("10.3", False), ("11.4", True)):
        here = machine(generation)
        here.api.module.Builder(here.api.module.ILogger()).create_network(0)
        assert here.faults.seen["strongly_typed"] is strong


@pytest.mark.parametrize(("generation", "expected"), [("10.13", ApiMissing), ("11.4", 0), ("rtx", 0)])
def test_only_10_needs_the_creation_flag(
    machine: Callable[..., Any],
    generations: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    generation: str,
    expected: Any,
) -> None:
    here = machine(generation)
    monkeypatch.delattr(here.api.module, "NetworkDefinitionCreationFlag")
    if expected is ApiMissing:
        with pytest.raises(ApiMissing, match="no NetworkDefinitionCreationFlag.STRONGLY_TYPED"):
            here.api.creation_flags()
    else:
        assert here.api.creation_flags() == expected


@pytest.mark.parametrize("name", ["FP16", "INT8"])
def test_a_removed_flag_is_caught(machine: Callable[..., Any], name: str) -> None:
    assert machine("10.3").api.member("BuilderFlag", name) is not None
    with pytest.raises(ApiMissing, match=f"tensorrt 11.4.1.5 has no BuilderFlag.{name}; it has: REFIT, "):
        machine("11.4").api.member("BuilderFlag", name)


def test_the_fakes_refuse_what_their_generation_does_not_have(machine: Callable[..., Any]) -> None:
    here = machine("11.4")
    builder = here.api.module.Builder(here.api.module.ILogger())
    with pytest.raises(AttributeError):
        _ = builder.platform_has_fast_int8
    with pytest.raises(AttributeError):
        builder.create_builder_config().int8_calibrator = None
    with pytest.raises(AttributeError):
        machine("10.3").api.module.Builder(here.api.module.ILogger()).create_builder_config().max_workspace_size = 1


def test_our_code_names_nothing_that_was_removed() -> None:
    folder = Path(api_module.__file__).parent
    found = {}
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = {
                getattr(node, "attr", None),
                getattr(node, "value", None) if isinstance(node, ast.Constant) else None,
            }
            inside = {name for name in names if isinstance(name, str)} & REMOVED
            # a member of DataType has the name of a removed flag
            if inside and not (path.name == "build.py" and inside == {"INT8"}):
                found[f"{path.name}:{getattr(node, 'lineno', 0)}"] = inside
    assert not found


def test_a_flag_that_is_absent_is_named(machine: Callable[..., Any], generations: ModuleType) -> None:
    kind = generations.GENERATIONS["10.3"]
    here = machine("10.3")
    less = dataclasses.replace(
        kind, builder_flags=tuple(f for f in kind.builder_flags if f not in ("STRIP_PLAN", "TF32"))
    )
    here = dataclasses.replace(
        here, api=dataclasses.replace(here.api, module=generations.module(less, here.faults, here.cuda))
    )
    with pytest.raises(ApiMissing, match="10.3.0.26 has no BuilderFlag.STRIP_PLAN"):
        here.build(BuildConfig(strip=True, refit=True, tf32=False))
    assert here.build(BuildConfig(tf32=False)).plan  # what is to be off need not be there


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("none", BuildFailed, "built no engine.*could not find any implementation for node gemm"),
        ("memory", BuildOutOfMemory, "OutOfMemory.*workspace_mb=512 level=2"),
        ("memory-error", BuildOutOfMemory, "ran out of memory"),
        ("runtime-error", BuildFailed, "_M_default_append"),
    ],
)
def test_a_build_that_fails_says_what_tensorrt_said(
    machine: Callable[..., Any], fault: str, error: type[Exception], says: str
) -> None:
    for generation in ("10.3", "11.4"):
        with pytest.raises(error, match=says):
            machine(generation, {"build": fault}).build()


def test_an_old_tensorrt_that_builds_nothing_is_named_as_old(machine: Callable[..., Any]) -> None:
    with pytest.raises(BuildFailed, match="complete from TensorRT 10.12 on"):
        machine("10.3", {"build": "none"}).build()


def test_every_node_that_the_parser_refuses_is_named(machine: Callable[..., Any]) -> None:
    graph = {"inputs": {}, "outputs": {}, "weight": 1.0, "refused": ["first", "second"]}
    with pytest.raises(ParseFailed, match="Sinh first: bad type; Sinh second: bad type"):
        machine().build(graph=graph)


def test_dynamic_shapes_are_refused(machine: Callable[..., Any]) -> None:
    graph = {"inputs": {"state": ["FLOAT", [-1, 2]]}, "outputs": {"action": ["FLOAT", [1]]}, "weight": 1.0}
    with pytest.raises(ParseFailed, match="state has the shape .-1, 2.; export with static shapes"):
        machine().build(graph=graph)


def test_a_build_stops_after_its_time(machine: Callable[..., Any]) -> None:
    here = machine("10.16", {"steps": 1000})
    with pytest.raises(BuildTimeout, match="timeout_s=SECONDS"):
        here.build(BuildConfig(timeout_s=1e-9))


def test_ctrl_c_inside_the_build_arrives_after_it(machine: Callable[..., Any]) -> None:
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        machine("10.13", {"steps": 5}).build(tell=tell)
    assert told == [(1, 5), (2, 5)]


def test_the_workspace_is_the_smaller_of_cap_and_part_of_the_free_memory(machine: Callable[..., Any]) -> None:
    here = machine()
    here.build(BuildConfig(workspace_mb=100, workspace_fraction=0.5), free_bytes=120 << 20)
    assert here.faults.seen["pools"] == {"WORKSPACE": 60 << 20}
    here.build(BuildConfig(workspace_mb=100, workspace_fraction=0.5), free_bytes=1 << 40)
    assert here.faults.seen["pools"] == {"WORKSPACE": 100 << 20}
    assert workspace_bytes(BuildConfig(workspace_mb=16), 1 << 20) == 16 << 20  # never more than the cap
    assert workspace_bytes(BuildConfig(), None) == 1 << 30


def test_rtx_builds_for_named_gpus_and_tensorrt_does_not(machine: Callable[..., Any]) -> None:
    named = BuildConfig(compute=("8.6", "12.0"))
    rtx = machine("rtx")
    nowhere = dataclasses.replace(rtx.here, gpu=None, capability=None)
    assert rtx.build(named, here=nowhere).plan and rtx.faults.seen["compute"] == {0: "SM86", 1: "SM120"}
    with pytest.raises(ApiMissing, match="no ComputeCapability.SM87"):
        rtx.build(BuildConfig(compute=("8.7",)))
    with pytest.raises(RuntimeMissing, match=r"no NVIDIA GPU here; name GPUs to build for, such as compute=\[86,89\]"):
        rtx.build(here=nowhere)
    with pytest.raises(RuntimeMissing, match="refit and strip need the GPU"):
        rtx.build(dataclasses.replace(named, refit=True), here=nowhere)
    with pytest.raises(BuildFailed, match="builds for the GPU at hand"):
        machine("10.13").build(named)


def test_a_missing_or_old_tensorrt_says_what_to_install(
    machine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = machine("10.13")
    monkeypatch.setattr(here.api.module, "__version__", "8.6.1")
    with pytest.raises(RuntimeMissing, match="8.6.1 is too old, 10.3 is the oldest"):
        load_api("tensorrt")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(RuntimeMissing, match="not installed|does not load"):
        load_api("tensorrt")
    for name in ("tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeMissing, match=r"pip install 'foreact\[tensorrt\]'"):
        load_api("tensorrt-rtx")


def test_libraries_that_do_not_load_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(RuntimeMissing, match="does not load: libnvinfer.so.10"):
        load_api("tensorrt")


@pytest.mark.parametrize(
    "wrong",
    [{"level": 6}, {"level": -1}, {"workspace_mb": 0}, {"workspace_fraction": 0.0}, {"timeout_s": float("nan")}],
)
def test_a_configuration_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BuildConfig(**wrong)
