"""A small ONNX model that fits a contract, and graphs made of a few nodes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from foreact.deploy_edge.model_file import describe, sealed_bytes
from foreact.deploy_edge.runtime.engine import NOISE
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


def policy_model(contract: PolicyContract, *, noise: bool = False, rename: str = "state") -> ModelProto:
    """action[h] = state / 2 (+ noise[h])."""
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
    constants: dict[str, Any] = {"half": np.array(0.5, np.float32), "one": np.array([1]), "shape": np.array(shape)}
    if noise:
        del constants["shape"]
    return model_of(nodes, inputs, {"action": shape}, constants)


def policy_bytes(contract: PolicyContract, **options: Any) -> bytes:
    return sealed_bytes(policy_model(contract, **options), describe(contract, "0" * 64))
