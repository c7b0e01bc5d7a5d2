"""`foreact export to=tensorrt` where there is a GPU: golden inputs through the engine, nothing written if wrong."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from foreact.deploy_edge.model_file import describe, sealed_bytes  # noqa: E402
from foreact.deploy_edge.runtime.engine import EngineError  # noqa: E402
from foreact.deploy_edge.runtime.golden import (  # noqa: E402
    GOLDEN_KEY,
    GoldenError,
    golden_bytes,
    golden_digest,
    write_golden,
)
from foreact.deploy_edge.runtime.protocol import RuntimeMissing  # noqa: E402
from foreact.deploy_edge.runtime.signature import input_formats  # noqa: E402
from foreact.deploy_edge.runtime.tensorrt.build import BuildFailed  # noqa: E402
from foreact.deploy_edge.runtime.tensorrt.runner import load  # noqa: E402
from foreact.deploy_edge.runtime.tensorrt.sidecar import graph_path, read_plan, sha256  # noqa: E402
from foreact.deploy_edge.tensorrt_export import TensorRtExportConfig, export_tensorrt  # noqa: E402
from foreact.episodes.contract import PolicyContract  # noqa: E402

WEIGHT = 1e-5


@pytest.fixture
def policy(tmp_path: Path, contract: PolicyContract) -> Path:
    """A sealed model that computes what the fake engine computes, with its golden inputs."""
    formats, rng = input_formats(contract), np.random.default_rng(0)
    types = {"uint8": 2, "uint16": 4, "int64": 7, "float32": 1}
    make = onnx.helper.make_node
    nodes = [make("Cast", [name], [f"{name}.float"], f"{name}.cast", to=1) for name in formats]
    nodes += [make("ReduceSum", [f"{name}.float"], [f"{name}.sum"], f"{name}.reduce", keepdims=0) for name in formats]
    nodes += [
        make("Sum", [f"{name}.sum" for name in formats], ["total"], "total"),
        make("Mul", ["total", "weight"], ["scaled"], "scaled"),
        make("Expand", ["scaled", "shape"], ["action"], "spread"),
    ]
    values = {"weight": np.asarray(WEIGHT, np.float32), "shape": np.array([1, 4, 2])}
    graph = onnx.helper.make_graph(
        nodes, "g",
        [onnx.helper.make_tensor_value_info(name, types[each.dtype], each.shape) for name, each in formats.items()],
        [onnx.helper.make_tensor_value_info("action", 1, (1, 4, 2))],
        [onnx.numpy_helper.from_array(value, name) for name, value in values.items()],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    inputs = [
        {
            name: (
                rng.uniform(0, 1, each.shape) if each.dtype == "float32" else rng.integers(0, 200, each.shape)
            ).astype(each.dtype)
            for name, each in formats.items()
        }
        for _ in range(3)
    ]
    sums = [sum(float(array.sum()) for array in each.values()) for each in inputs]
    chunks = [np.full((4, 2), WEIGHT * total, np.float32) for total in sums]
    path, golden = tmp_path / "policy.onnx", golden_bytes(inputs, chunks)
    write_golden(path, golden)
    path.write_bytes(sealed_bytes(model, describe(contract, "0" * 64, {GOLDEN_KEY: golden_digest(golden)})))
    return path


def config(policy: Path, **changed: Any) -> TensorRtExportConfig:
    values: dict[str, Any] = {"model": policy, "out": policy.with_name("policy.tensorrt.plan"), **changed}
    return TensorRtExportConfig(**values)


@pytest.mark.parametrize("generation", ["10.3", "11.4"])
def test_the_engine_answers_the_golden_inputs_before_it_is_published(
    machine: Callable[..., Any], policy: Path, generation: str
) -> None:
    machine(generation, integrated=True)
    before = policy.read_bytes()
    told: list[tuple[int, int, str]] = []
    outcome = export_tensorrt(config(policy, level=4), lambda *step: told.append(step))
    _, sidecar = read_plan(config(policy).out)
    engine: Any = sidecar.parity["engine"]
    assert engine["passed"] and engine["observations"] == 3 and engine["max_abs"] < 1e-6
    assert set(sidecar.parity["latency_ms"]) == {"p50", "p99"}  # type: ignore[arg-type]
    assert [row["name"] for row in sidecar.parity["layers"]] == ["gemm", "move"]  # type: ignore[union-attr,index]
    assert sidecar.fingerprint.gpu == "Orin" and sidecar.builder.level == 4 and told[-1] == (3, 3, "build")
    assert sidecar.onnx_sha256 == sha256(before) and policy.read_bytes() == before
    assert any(row[0] == "one inference" for row in outcome.rows)
    runtime = load(config(policy).out, onnx_sha256=sha256(before))
    assert runtime.inputs["camera.top.depth"].dtype == "uint16"


def test_an_engine_that_computes_something_else_is_not_published(machine: Callable[..., Any], policy: Path) -> None:
    here = machine("10.16", {"build": "wrong"})
    with pytest.raises(GoldenError, match="tensorrt engine does not compute on this machine"):
        export_tensorrt(config(policy))
    assert not config(policy).out.exists() and not here.cuda.live


def test_a_failed_build_leaves_the_plan_that_was_there(machine: Callable[..., Any], policy: Path) -> None:
    machine("10.13")
    export_tensorrt(config(policy))
    first = read_plan(config(policy).out)[0]
    machine("10.13", {"build": "none"})
    with pytest.raises(BuildFailed):
        export_tensorrt(config(policy))
    assert read_plan(config(policy).out)[0] == first and not list(policy.parent.glob("*.previous"))


def test_a_stripped_plan_has_its_graph_beside_it(machine: Callable[..., Any], policy: Path, monkeypatch: Any) -> None:
    here = machine("10.16")
    monkeypatch.setattr(here.api.module, "OnnxParserRefitter", lambda refitter, logger: Refit(refitter))
    out = config(policy).out
    export_tensorrt(config(policy, strip=True))
    plan, sidecar = read_plan(out)
    assert json.loads(plan)["weight"] is None and sha256(graph_path(out).read_bytes()) == sidecar.graph_sha256
    export_tensorrt(config(policy))
    assert not graph_path(out).exists()


class Refit:
    """Reads the weight of an ONNX model, as the fake's own does of JSON."""

    num_errors = 0

    def __init__(self, refitter: Any) -> None:
        self.refitter = refitter

    def refit_from_bytes(self, model: bytes) -> bool:
        values = {each.name: each for each in onnx.load_model_from_string(bytes(model)).graph.initializer}
        self.refitter.weight = float(onnx.numpy_helper.to_array(values["weight"]))
        return True


def test_a_plan_for_another_gpu_is_not_run_here(machine: Callable[..., Any], policy: Path) -> None:
    machine("rtx", name="H200", capability=(9, 0))
    export_tensorrt(config(policy, to="tensorrt-rtx", compute=(86,)))
    parity = read_plan(config(policy).out)[1].parity
    assert parity["engine"] == "not run here: this GPU is H200 (9.0); it is checked where it runs"


def test_models_without_seal_or_golden_inputs_are_refused(machine: Callable[..., Any], policy: Path) -> None:
    machine("10.13")
    policy.with_name("policy.golden.npz").unlink()
    with pytest.raises(GoldenError, match="is missing"):
        export_tensorrt(config(policy))
    policy.write_bytes(policy.read_bytes()[:-1])
    with pytest.raises(EngineError, match="truncated or altered"):
        export_tensorrt(config(policy))
    assert not config(policy).out.exists()


def test_without_tensorrt_nothing_else_is_tried(
    machine: Callable[..., Any], policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    machine("10.13")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(RuntimeMissing, match="tensorrt is not installed"):
        export_tensorrt(config(policy))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"out": Path("p.engine")}, "must end in .plan"),
        ({"compute": (8,)}, "without the dot"),
        ({"level": 9}, "level=9"),
    ],
)
def test_a_configuration_out_of_range_is_refused(policy: Path, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        config(policy, **wrong)


def test_strip_is_always_refittable(policy: Path) -> None:
    builder = config(policy, strip=True).builder
    assert builder.refit and builder.hash != dataclasses.replace(builder, refit=False).hash
