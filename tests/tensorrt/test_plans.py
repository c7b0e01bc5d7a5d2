"""Real plans, built by TensorRT-RTX on a machine without a GPU from the very files that onnxruntime runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foreact.deploy_edge.model_file import load_sealed
from foreact.deploy_edge.runtime.protocol import RuntimeFailure, RuntimeMissing
from foreact.deploy_edge.runtime.tensorrt.build import BuildFailed, BuildTimeout, ParseFailed, build_plan
from foreact.deploy_edge.runtime.tensorrt.build_process import build_apart
from foreact.deploy_edge.runtime.tensorrt.fingerprint import Fingerprint, read_fingerprint
from foreact.deploy_edge.runtime.tensorrt.runner import load
from foreact.deploy_edge.runtime.tensorrt.sidecar import BuildConfig, EngineRefused, read_plan, sha256
from foreact.deploy_edge.tensorrt_export import TensorRtExportConfig, export_tensorrt
from foreact.deploy_edge.tensorrt_graph import NotForTensorRt, for_tensorrt

FOR = BuildConfig(compute=("8.6",))


def build(api: Any, content: bytes, config: BuildConfig = FOR, **given: Any) -> Any:
    return build_plan(content, config, api, read_fingerprint(api, None), None, **given)


def check_published(model: Path, plan: Path) -> Any:
    """What is true of every plan that was published."""
    content, sidecar = read_plan(plan)
    assert content[:4] and sidecar.plan_bytes == len(content) > 10_000 and sidecar.build_s > 0
    assert sidecar.onnx_sha256 == sha256(model.read_bytes())  # the file itself, untouched
    assert sidecar.fingerprint.trt_version.startswith("1.7.1") and sidecar.builder.compute == ("8.6", "8.9")
    graph: Any = sidecar.parity["graph"]
    assert graph["passed"] and str(sidecar.parity["engine"]).startswith("not run here")
    _, contract = load_sealed(model)
    assert sidecar.metadata["foreact.contract_hash"] == contract.hash
    depths = [port for port in sidecar.inputs if port.name.endswith("depth")]
    assert {(port.dtype, port.engine_dtype) for port in depths} <= {("uint16", "int32")}
    return sidecar


@pytest.mark.parametrize("opset", [18, 23])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_main_policy_becomes_a_plan(
    rtx: Any, exported: Callable[..., Path], tmp_path: Path, opset: int, precision: str
) -> None:
    model = exported(opset=opset, precision=precision)
    config = TensorRtExportConfig(model, tmp_path / "policy.plan", "tensorrt-rtx", compute=(86, 89))
    outcome = export_tensorrt(config)
    assert outcome.path == config.out
    check_published(model, config.out)


@pytest.mark.timeout(170)
@pytest.mark.parametrize("architecture", ["transformer", "mlp"])
def test_other_architectures_become_plans_by_the_same_command(
    rtx: Any, exported: Callable[..., Path], tmp_path: Path, architecture: str
) -> None:
    model = exported(architecture, 23)
    config = TensorRtExportConfig(model, tmp_path / "policy.plan", "tensorrt-rtx", compute=(86, 89))
    export_tensorrt(config)
    check_published(model, config.out)


def test_trained_policies_become_plans(rtx: Any, trained: Path, tmp_path: Path) -> None:
    config = TensorRtExportConfig(trained, tmp_path / "policy.plan", "tensorrt-rtx", compute=(86, 89))
    figures = export_tensorrt(config).figures
    check_published(trained, config.out)
    print(json.dumps({"model": trained.name, "plan_bytes": figures["plan_bytes"], "build_s": figures["build_s"]}))


def test_int8_weights_stay_int8_in_the_plan(rtx: Any, exported: Callable[..., Path]) -> None:
    sizes = [
        len(build(rtx, for_tensorrt(load_sealed(exported(precision=each))[0]).content).plan)
        for each in ("float32", "int8")
    ]
    assert sizes[1] < 0.75 * sizes[0]


def test_the_file_as_exported_is_refused_by_the_parser(rtx: Any, exported: Callable[..., Path]) -> None:
    """The control of `tensorrt_graph`: without it nothing is built."""
    with pytest.raises(ParseFailed, match=r"camera\.front\.depth.*camera\.wrist\.depth"):
        build(rtx, exported().read_bytes())


def test_zero_points_would_build_and_are_refused_before(rtx: Any) -> None:
    """TensorRT only warns of uint8 numbers and builds a plan that computes something else."""
    import onnx
    from onnx import helper, numpy_helper

    made = []
    for zero in (128, 0):
        scale, point = (numpy_helper.from_array(v, n) for v, n in ((_f32(0.02), "s"), (_u8(zero), "z")))
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ]
        ports = [helper.make_tensor_value_info(name, 1, (1, 4)) for name in ("x", "y")]
        graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [scale, point])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.checker.check_model(model)
        with pytest.raises(NotForTensorRt, match="zero point"):
            for_tensorrt(model)
        made.append(model.SerializeToString())
    built = build(rtx, made[1])
    assert built.plan and any("Defaulting to INT8" in note for note in built.notes)


def test_one_attention_node_is_no_plan(rtx: Any) -> None:
    """Why `tensorrt_graph` writes attention as products and a softmax; in a process of its own: it may crash."""
    from onnx import helper

    ports = [helper.make_tensor_value_info(name, 1, (1, 2, 16, 32)) for name in "qkvy"]
    graph = helper.make_graph([helper.make_node("Attention", list("qkv"), ["y"])], "g", ports[:3], ports[3:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    here = read_fingerprint(rtx, None)
    with pytest.raises(BuildFailed, match="Attention operation was not supported|ended its process by SIG"):
        build_apart(model.SerializeToString(), FOR, here, None, None, lambda done, total: None)
    plain = for_tensorrt(model)
    assert build_apart(plain.content, FOR, here, None, None, lambda done, total: None).plan


def test_a_build_can_be_stopped_and_the_next_one_works(rtx: Any, exported: Callable[..., Path]) -> None:
    content = for_tensorrt(load_sealed(exported())[0]).content
    with pytest.raises(BuildTimeout):
        build(rtx, content, BuildConfig(compute=("8.6",), timeout_s=1e-6))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(rtx, content, tell=stop)
    assert build(rtx, content).plan


def test_turing_cannot_multiply_floats_and_says_so(rtx: Any, exported: Callable[..., Path]) -> None:
    with pytest.raises(BuildFailed, match="Turing .SM75.: FP32 GEMM is not supported"):
        build(rtx, for_tensorrt(load_sealed(exported())[0]).content, BuildConfig(compute=("7.5",)))


def test_rubbish_is_refused(rtx: Any) -> None:
    for content in (b"", b"rubbish", bytes(64)):
        with pytest.raises(RuntimeFailure):
            build(rtx, content)


def test_without_a_gpu_the_plan_is_not_loaded(rtx: Any, exported: Callable[..., Path], tmp_path: Path) -> None:
    config = TensorRtExportConfig(exported(), tmp_path / "policy.plan", "tensorrt-rtx", compute=(86,))
    export_tensorrt(config)
    fingerprint: Fingerprint = read_plan(config.out)[1].fingerprint
    if fingerprint.gpu is None:
        with pytest.raises(RuntimeMissing, match="no NVIDIA GPU|cuda-python"):
            load(config.out)
    with config.out.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(EngineRefused, match="truncated or altered"):
        load(config.out)


def _f32(value: float) -> Any:
    import numpy as np

    return np.asarray(value, np.float32)


def _u8(value: int) -> Any:
    import numpy as np

    return np.asarray(value, np.uint8)
