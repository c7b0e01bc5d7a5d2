"""A small ONNX model that fits a contract, and graphs made of a few nodes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from foreact.deploy_edge.model_file import describe, sealed_bytes
from foreact.deploy_edge.runtime.engine import LONGEST_DELAY_KEY, NOISE
from foreact.deploy_edge.runtime.golden import GOLDEN_KEY, golden_bytes, golden_digest, write_golden
from foreact.deploy_edge.runtime.signature import DELAY, PREFIX, input_formats, optional_formats
from foreact.episodes.contract import PolicyContract

TYPES = {"uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16, "float32": TensorProto.FLOAT}
TYPES["int64"] = TensorProto.INT64


def model_of(
    nodes: Sequence[NodeProto],
    inputs: dict[str, tuple[str, tuple[int, ...]]],
    outputs: dict[str, tuple[int, ...]],
    constants: dict[str, np.ndarray],
) -> ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info(name, TYPES[dtype], shape) for name, (dtype, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run_model(model: ModelProto, **inputs: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


def policy_model(
    contract: PolicyContract, *, noise: bool = False, rename: str = "state", prefix: bool = False
) -> ModelProto:
    """action[h] = state / 2 (+ noise[h]); with a prefix its first `delay` rows."""
    inputs: dict[str, tuple[str, tuple[int, ...]]] = {}
    for camera in contract.cameras:
        for stream in camera.streams:
            dtype = "uint16" if stream == "depth" else "uint8"
            inputs[f"camera.{camera.name}.{stream}"] = (dtype, (1, *camera.stream_shape(stream)))
    inputs[rename] = ("float32", (1, *contract.state.shape))
    assert contract.language is not None
    inputs["tokens"] = ("int64", (1, contract.language.length))
    shape = (1, contract.chunk_length, *contract.action.shape)
    nodes = [
        helper.make_node("Mul", [rename, "half"], ["halved"]),
        helper.make_node("Unsqueeze", ["halved", "one"], ["row"]),
    ]
    if noise:
        inputs[NOISE] = ("float32", shape)
        nodes.append(helper.make_node("Add", ["row", NOISE], ["action"]))
    else:
        nodes.append(helper.make_node("Expand", ["row", "shape"], ["action"]))
    if prefix:
        inputs |= {PREFIX: ("float32", shape), DELAY: ("int64", (1,))}
        nodes[-1].output[0] = "free"
        nodes.append(helper.make_node("Less", ["numbers", DELAY], ["known"]))
        nodes.append(helper.make_node("Where", ["known", PREFIX, "free"], ["action"]))
    constants: dict[str, Any] = {"half": np.array(0.5, np.float32), "one": np.array([1]), "shape": np.array(shape)}
    if noise:
        del constants["shape"]
    if prefix:
        constants["numbers"] = np.arange(contract.chunk_length)[None, :, None]
    return model_of(nodes, inputs, {"action": shape}, constants)


def policy_bytes(contract: PolicyContract, **options: Any) -> bytes:
    extra = {LONGEST_DELAY_KEY: "2"} if options.get("prefix") else {}
    return sealed_bytes(policy_model(contract, **options), describe(contract, "0" * 64, extra))


def golden_inputs(contract: PolicyContract, names: Sequence[str], count: int = 4) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    formats = {**optional_formats(contract), **input_formats(contract)}
    rows: list[dict[str, np.ndarray]] = []
    for row in range(count):
        made = {name: np.full(formats[name].shape, row, formats[name].dtype) for name in names}
        for name in {"state", NOISE, PREFIX} & set(names):
            made[name] = rng.uniform(-1, 1, formats[name].shape).astype(np.float32)
        rows.append({**made, **({DELAY: np.array([row % 3])} if DELAY in names else {})})
    return rows


def write_policy(path: Path, contract: PolicyContract, gain: float = 1.0, **options: Any) -> Path:
    """A policy with golden inputs; with another gain than 1 it does not answer them as it should."""
    model = policy_model(contract, **options)
    inputs = golden_inputs(contract, [each.name for each in model.graph.input])
    chunks = [run_model(model, **each)[0] for each in inputs]
    golden = golden_bytes(inputs, chunks)
    for each in model.graph.initializer:
        if each.name == "half":
            each.CopyFrom(numpy_helper.from_array(np.array(0.5 * gain, np.float32), "half"))
    extra = {GOLDEN_KEY: golden_digest(golden), **({LONGEST_DELAY_KEY: "2"} if options.get("prefix") else {})}
    write_golden(path, golden)
    path.write_bytes(sealed_bytes(model, describe(contract, "0" * 64, extra)))
    return path
