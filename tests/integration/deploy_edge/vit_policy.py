"""A vision transformer with a contract, untrained, and its static quantisation by onnxruntime's own tools."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, load_model, numpy_helper

from foreact.deploy_edge.model_file import describe, sealed_bytes
from foreact.deploy_edge.runtime.golden import GOLDEN_KEY, golden_bytes, golden_digest, write_golden
from foreact.episodes.contract import CameraSpec, FeatureSpec, PolicyContract

SIDE, PATCH, WIDTH, HEADS, LENGTH = 224, 16, 256, 4, 7
TOKENS = 2 * (SIDE // PATCH) ** 2
ATTENTION = ("score", "value")


def vit_contract() -> PolicyContract:
    names = ("x", "y", "z", "grip")
    ends = ((-1.0,) * 4, (1.0,) * 4)
    state = FeatureSpec("state", "float32", names, ("m",) * 4, "base", *ends, "none")
    action = FeatureSpec("action", "float32", names, ("m",) * 4, "base", *ends, "none")
    place = ("world", (0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0))
    cameras = tuple(
        CameraSpec(name, SIDE, SIDE, ("rgb",), 200.0, 200.0, 112.0, 112.0, *place) for name in ("front", "wrist")
    )
    return PolicyContract(1, "arm", 20.0, LENGTH, state, action, cameras, None, None)


class _Builder:
    """Nodes and constants of a transformer, added one after the other."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, np.ndarray] = {"split": np.array([1, TOKENS, HEADS, WIDTH // HEADS])}
        self.constants |= {"join": np.array([1, TOKENS, WIDTH]), "one": np.array([1])}
        self.constants |= {"scale": np.array((WIDTH // HEADS) ** -0.5, np.float32)}
        self.rng = np.random.default_rng(seed)

    def node(self, operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name, **attributes))
        return name

    def linear(self, source: str, taken: int, given: int, name: str, gain: float = 1.0) -> str:
        self.constants[f"{name}.w"] = self.rng.normal(0, gain / np.sqrt(taken), (taken, given)).astype(np.float32)
        self.constants[f"{name}.b"] = self.rng.normal(0, 0.02, given).astype(np.float32)
        return self.node("Add", [self.node("MatMul", [source, f"{name}.w"], f"{name}.m"), f"{name}.b"], name)

    def normed(self, source: str, name: str) -> str:
        self.constants |= {f"{name}.g": np.ones(WIDTH, np.float32), f"{name}.z": np.zeros(WIDTH, np.float32)}
        return self.node("LayerNormalization", [source, f"{name}.g", f"{name}.z"], name, axis=-1)

    def patches(self, camera: str) -> str:
        pixels = self.node("Cast", [f"camera.{camera}.rgb"], f"{camera}.float", to=TensorProto.FLOAT)
        planes = self.node("Transpose", [pixels], f"{camera}.planes", perm=[0, 3, 1, 2])
        shape = (WIDTH, 3, PATCH, PATCH)
        self.constants[f"{camera}.w"] = (self.rng.normal(0, 1, shape) / (128 * np.sqrt(3) * PATCH)).astype(np.float32)
        self.constants[f"{camera}.flat"] = np.array([1, WIDTH, TOKENS // 2])
        grid = self.node("Conv", [planes, f"{camera}.w"], f"{camera}.grid", strides=[PATCH, PATCH])
        flat = self.node("Reshape", [grid, f"{camera}.flat"], f"{camera}.reshaped")
        return self.node("Transpose", [flat], f"{camera}.tokens", perm=[0, 2, 1])

    def block(self, tokens: str, name: str) -> str:
        seen = self.normed(tokens, f"{name}.before")
        parts = []
        for part, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
            made = self.linear(seen, WIDTH, WIDTH, f"{name}.{part}")
            split = self.node("Reshape", [made, "split"], f"{name}.{part}.split")
            parts.append(self.node("Transpose", [split], f"{name}.{part}.heads", perm=order))
        score = self.node("MatMul", parts[:2], f"{name}.score")
        weights = self.node(
            "Softmax", [self.node("Mul", [score, "scale"], f"{name}.scaled")], f"{name}.weights", axis=-1
        )
        value = self.node("MatMul", [weights, parts[2]], f"{name}.value")
        joined = self.node("Transpose", [value], f"{name}.turned", perm=[0, 2, 1, 3])
        flat = self.node("Reshape", [joined, "join"], f"{name}.joined")
        tokens = self.node("Add", [tokens, self.linear(flat, WIDTH, WIDTH, f"{name}.o", 0.25)], f"{name}.attended")
        wide = self.linear(self.normed(tokens, f"{name}.between"), WIDTH, 4 * WIDTH, f"{name}.up")
        narrow = self.linear(self.node("Relu", [wide], f"{name}.relu"), 4 * WIDTH, WIDTH, f"{name}.down", 0.25)
        return self.node("Add", [tokens, narrow], f"{name}.out")


def vit_model(layers: int = 6, seed: int = 0) -> ModelProto:
    """Two pictures of 224 px to 392 tokens, `layers` blocks, and a chunk."""
    made = _Builder(seed)
    tokens = made.node("Concat", [made.patches("front"), made.patches("wrist")], "tokens", axis=1)
    for number in range(layers):
        tokens = made.block(tokens, f"block{number}")
    pooled = made.node("ReduceMean", [tokens, "one"], "pooled", keepdims=0)
    felt = made.node("Add", [made.linear("state", 4, WIDTH, "felt", 2.0), pooled], "all")
    made.constants["chunk"] = np.array([1, LENGTH, 4])
    flat = made.node("Tanh", [made.linear(felt, WIDTH, 4 * LENGTH, "head", 0.5)], "flat")
    made.node("Reshape", [flat, "chunk"], "action")
    picture = [
        helper.make_tensor_value_info(f"camera.{each}.rgb", 2, (1, SIDE, SIDE, 3)) for each in ("front", "wrist")
    ]
    graph = helper.make_graph(
        made.nodes, "vit", [*picture, helper.make_tensor_value_info("state", 1, (1, 4))],
        [helper.make_tensor_value_info("action", 1, (1, LENGTH, 4))],
        [numpy_helper.from_array(value, name) for name, value in made.constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def pictures(count: int, seed: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        # blocks of one colour: patches differ more than noise would let them
        seen = [np.kron(rng.integers(0, 256, (1, 14, 14, 3)), np.ones((1, 16, 16, 1))).astype(np.uint8) for _ in "ab"]
        state = rng.uniform(-1, 1, (1, 4)).astype(np.float32)
        rows.append({"camera.front.rgb": seen[0], "camera.wrist.rgb": seen[1], "state": state})
    return rows


def quantised(model: ModelProto, folder: Path, wanted: Callable[[str], bool]) -> ModelProto:
    """Chosen matrix products in u8s8 by Q/DQ nodes, ranges from calibration."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            rows = pictures(4, 1)
            for row, end in zip(rows, (-1, 1), strict=False):
                row["state"] = np.full((1, 4), end, np.float32)  # the ends of its range
            self.rows = iter(rows)

        def get_next(self) -> dict[str, np.ndarray] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
            return next(self.rows, None)

    source, result = folder / "float.onnx", folder / "quantised.onnx"
    source.write_bytes(model.SerializeToString())
    names = [node.name for node in model.graph.node if node.op_type == "MatMul" and wanted(node.name)]
    quantize_static(
        source, result, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, nodes_to_quantize=names,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return load_model(result)


def write_vit(path: Path, model: ModelProto, inputs: Sequence[Any], chunks: Sequence[np.ndarray]) -> Path:
    """Seal a model with golden inputs."""
    golden = golden_bytes(inputs, chunks)
    write_golden(path, golden)
    described = describe(vit_contract(), "0" * 64, {GOLDEN_KEY: golden_digest(golden)})
    path.write_bytes(sealed_bytes(model, described))
    return path
