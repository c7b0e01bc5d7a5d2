"""Hostile and damaged model files are refused by our own reading of them, whatever their digest says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, load_model_from_string, numpy_helper, shape_inference

from foreact.deploy_edge.model_file import load_sealed
from foreact.deploy_edge.runtime.engine import EngineError, open_policy
from foreact.deploy_edge.runtime.model_guard import ModelRefused, inspect_model
from foreact.deploy_edge.runtime.seal import BLANK, SEAL_KEY, close_seal
from foreact.episodes.contract import PolicyContract

F32 = TensorProto.FLOAT


@pytest.fixture
def model(contract: PolicyContract, tiny: Any) -> ModelProto:
    return load_model_from_string(tiny.policy_bytes(contract))


def inspected(model: ModelProto) -> Any:
    return inspect_model(model.SerializeToString(), "it.onnx")


def test_a_policy_is_read_as_it_is(model: ModelProto, contract: PolicyContract) -> None:
    outline = inspected(model)
    assert outline.metadata["foreact.contract"] == contract.to_json() and outline.opset == 18
    assert list(outline.inputs) == list(contract.input_names)
    assert (outline.inputs["state"].dtype, outline.inputs["state"].shape) == ("float32", (1, 2))
    assert outline.outputs["action"].shape == (1, 4, 2) and outline.operators == {"Mul": 1, "Unsqueeze": 1, "Expand": 1}


def external(model: ModelProto, place: str) -> None:
    weights = model.graph.initializer[0]
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=place)
    weights.ClearField("raw_data")


def huge(model: ModelProto, *extents: int) -> None:
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend(extents)


def appended(model: ModelProto, operator: str, inputs: list[str], **attributes: Any) -> None:
    model.graph.node.append(helper.make_node(operator, inputs, ["extra"], "extra node", **attributes))


def constant(model: ModelProto, name: str, values: Any) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.array(values), name))
    return name


def branch(model: ModelProto) -> None:
    part = helper.make_graph([], "branch", [], [helper.make_tensor_value_info("state", F32, (1, 2))])
    constant(model, "yes", True)
    appended(model, "If", ["yes"], then_branch=part, else_branch=part)


def doubled(model: ModelProto) -> None:
    """A kilobyte that asks for 2^40 numbers."""
    for number in range(40):
        before = "state" if number == 0 else f"d{number - 1}"
        model.graph.node.append(helper.make_node("Concat", [before, before], [f"d{number}"], axis=1))


def function(model: ModelProto) -> None:
    body = [helper.make_node("Relu", ["a"], ["b"])]
    model.functions.append(helper.make_function("own", "f", ["a"], ["b"], body, [helper.make_opsetid("", 18)]))


def dynamic(model: ModelProto) -> None:
    model.graph.input[2].type.tensor_type.shape.dim[0].dim_param = "batch"


def sparse(model: ModelProto) -> None:
    model.graph.sparse_initializer.add()


def repeated(model: ModelProto) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


HOSTILE: dict[str, tuple[Callable[[ModelProto], object], str]] = {
    "external data": (lambda m: external(m, "weights.bin"), "external_data is not allowed"),
    "path traversal": (lambda m: external(m, "../../../etc/passwd"), "external_data is not allowed"),
    "location alone": (lambda m: setattr(m.graph.initializer[0], "data_location", 1), "outside the file"),
    "huge constant": (lambda m: huge(m, 1 << 40), r"'half' has the shape \(1099511627776,\)"),
    "overflowing constant": (lambda m: huge(m, 1 << 62, 4), "'half' has the shape"),
    "negative constant": (lambda m: huge(m, -1), r"shape \[-1\]"),
    "short constant": (lambda m: huge(m, 3), r"which is 12 bytes or numbers, but 4 are there"),
    "two kinds of data": (lambda m: m.graph.initializer[0].float_data.append(1.0), "bytes or numbers"),
    "texts": (lambda m: setattr(m.graph.initializer[0], "data_type", TensorProto.STRING), "data type 8"),
    "sparse constant": (sparse, "sparse_initializer is not allowed"),
    "repeated constant": (repeated, "initializer: a name occurs twice"),
    "subgraph": (branch, r"attribute\[0\].g \(a subgraph\) is not allowed"),
    "function": (function, "functions is not allowed"),
    "dynamic input": (dynamic, "input 'state' has a dynamic shape"),
    "unknown domain": (lambda m: m.opset_import.append(helper.make_opsetid("evil", 1)), "operator set 'evil'"),
    "old opset": (lambda m: setattr(m.opset_import[0], "version", 7), "of version 7"),
    "undeclared domain": (lambda m: setattr(m.graph.node[0], "domain", "evil"), "'evil', which the file does not name"),
    "unknown operator": (lambda m: appended(m, "RunShell", ["state"]), r"\(RunShell\): this operator is not allowed"),
    "loop": (lambda m: appended(m, "Loop", ["", "", "state"]), "Loop.*not allowed"),
    "random": (lambda m: appended(m, "RandomNormalLike", ["state"]), "RandomNormalLike.*not allowed"),
    "expand": (lambda m: appended(m, "Expand", ["state", constant(m, "big", [1 << 20, 1 << 20, 1, 2])]), "at most"),
    "expand by a result": (lambda m: appended(m, "Expand", ["state", "tokens"]), "small constant of whole numbers"),
    "tile": (lambda m: appended(m, "Tile", ["state", constant(m, "big", [1 << 20, 1 << 20])]), "at most"),
    "constant of shape": (lambda m: appended(m, "ConstantOfShape", [constant(m, "big", [1 << 40])]), "at most"),
    "range": (lambda m: appended(m, "Range", [constant(m, f"r{v}", v) for v in (0, 1 << 50, 1)]), "at most"),
    "pad": (lambda m: appended(m, "Pad", ["state", constant(m, "big", [0, 0, 0, 1 << 40])]), "at most"),
    "resize": (
        lambda m: appended(m, "Resize", ["state", "", "", constant(m, "big", [1 << 20, 1 << 20])]),
        "at most",
    ),
    "outer product": (
        lambda m: appended(m, "Mul", [constant(m, f"o{s}", np.zeros(s, np.int8)) for s in ((1 << 14, 1), 1 << 14)]),
        "at most",
    ),
    "doubling": (doubled, "at most"),
    "unknown tensor": (lambda m: appended(m, "Relu", ["nothing"]), "'nothing', which nothing before it makes"),
    "cycle": (lambda m: appended(m, "Relu", ["extra"]), "'extra', which nothing before it makes"),
    "made twice": (lambda m: m.graph.node.append(m.graph.node[0]), "'halved' exists already"),
    "division by zero": (lambda m: appended(m, "Conv", ["state", "half"], strides=[0]), "extra node"),
    "other result": (lambda m: setattr(m.graph.output[0].type.tensor_type.shape.dim[1], "dim_value", 5), "should be"),
    "key twice": (lambda m: m.metadata_props.add(key="foreact.version", value="9"), "metadata: a name occurs twice"),
    "deep shape": (lambda m: huge(m, *[1] * 99), "has the shape"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_before_any_engine_sees_them(model: ModelProto, kind: str) -> None:
    change, message = HOSTILE[kind]
    change(model)
    with pytest.raises(ModelRefused, match=rf"it.onnx was refused before any engine saw it: .*{message}"):
        inspected(model)


@pytest.mark.parametrize("kind", ["path traversal", "doubling", "subgraph"])
def test_a_hostile_file_with_a_new_digest_is_refused_too(
    model: ModelProto, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    HOSTILE[kind][0](model)
    for each in model.metadata_props:
        if each.key == SEAL_KEY:
            each.value = BLANK
    path = tmp_path / "policy.onnx"
    path.write_bytes(close_seal(model.SerializeToString()))

    def never(*_: object, **__: object) -> None:
        raise AssertionError("an engine saw it")

    monkeypatch.setattr("foreact.deploy_edge.runtime.engine.open_runtime", never)
    monkeypatch.setattr("onnx.load_model_from_string", never)
    with pytest.raises(EngineError, match="before any engine saw it"):
        open_policy(path, gate="none")
    with pytest.raises(EngineError, match="before any engine saw it"):
        load_sealed(path)


def test_empty_truncated_and_random_content_is_refused(model: ModelProto) -> None:
    content, rng = model.SerializeToString(), np.random.default_rng(0)
    noise = [rng.bytes(size) for size in (1, 10, 100, 1000)]
    for damaged in (b"", *noise, content[:-1], content[: len(content) // 2], content + b"\x01", b"\xff" * 500):
        with pytest.raises(ModelRefused):
            inspect_model(damaged, "it.onnx")


def test_600_damaged_copies_are_refused_or_mean_the_same(contract: PolicyContract, tiny: Any, tmp_path: Path) -> None:
    path = tiny.write_policy(tmp_path / "policy.onnx", contract)
    content = path.read_bytes()
    start = content.index(SEAL_KEY.encode()) + len(SEAL_KEY) + 2
    rng, opened = np.random.default_rng(0), 0
    for _ in range(600):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), int(rng.integers(1, 4))):
            if not start - 40 <= place < start + 64:  # the digest's own place must be found, to close it anew
                damaged[place] = int(rng.integers(0, 256))
        with pytest.raises(EngineError) if bytes(damaged) != content else _nothing():
            path.write_bytes(damaged)
            open_policy(path)
        path.write_bytes(close_seal(bytes(damaged[:start]) + BLANK.encode() + bytes(damaged[start + 64 :])))
        try:
            policy = open_policy(path)  # the golden inputs were answered as by the original
        except EngineError:
            continue
        assert policy.contract == contract and policy.gate is not None and policy.gate.passed
        opened += 1
    assert 0 < opened < 300


class _nothing:  # noqa: N801
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def cases() -> list[Any]:
    rng = np.random.default_rng(0)

    def node(operator: str, *shapes: tuple[int, ...], constants: Any = (), outputs: int = 1, **attributes: Any) -> Any:
        names = [f"x{index}" for index in range(len(shapes))]
        held = [numpy_helper.from_array(np.array(value), f"c{index}") for index, value in enumerate(constants)]
        taken, given = [*names, *(each.name for each in held)], [f"y{index}" for index in range(outputs)]
        values = [helper.make_tensor_value_info(name, F32, shape) for name, shape in zip(names, shapes, strict=True)]
        graph = helper.make_graph([helper.make_node(operator, taken, given, **attributes)], operator, values, [], held)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)

    return [
        node("Conv", (1, 4, 9, 8), (6, 2, 3, 3), group=2, strides=[2, 1], pads=[1, 0, 1, 2], dilations=[1, 2]),
        node("Conv", (1, 4, 9, 8), (6, 4, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
        node("MaxPool", (1, 4, 9, 8), kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1),
        node("AveragePool", (1, 4, 9, 8), kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("GlobalMaxPool", (1, 4, 9, 8)),
        node("MatMul", (2, 1, 3, 4), (5, 4, 6)),
        node("MatMul", (4,), (5, 4, 6)),
        node("MatMul", (5, 3, 4), (4,)),
        node("MatMul", (4,), (4,)),
        node("Gemm", (4, 3), (6, 4), (6,), transA=1, transB=1),
        node("Add", (3, 1, 4), (2, 1)),
        node("Max", (3, 1), (1, 4), (4,)),
        node("Reshape", (2, 3, 4), constants=[[0, -1]]),
        node("Flatten", (2, 3, 4, 5), axis=2),
        node("Flatten", (2, 3, 4, 5), axis=-1),
        node("Transpose", (2, 3, 4), perm=[1, 2, 0]),
        node("Transpose", (2, 3, 4)),
        node("Squeeze", (2, 1, 4, 1), constants=[[-1]]),
        node("Squeeze", (2, 1, 4, 1)),
        node("Unsqueeze", (2, 3), constants=[[0, -1]]),
        node("Expand", (3, 1), constants=[[2, 1, 4]]),
        node("Tile", (3, 2), constants=[[2, 4]]),
        node("Concat", (3, 2), (3, 5), axis=-1),
        node("Split", (3, 7), outputs=3, axis=1, num_outputs=3),
        node("Split", (3, 7), constants=[[2, 5]], outputs=2, axis=1),
        node("Slice", (9, 8, 7), constants=[[1, -1], [1 << 60, -(1 << 60)], [0, 2], [2, -3]]),
        node("Slice", (9, 8), constants=[[-3], [-1]]),
        node("Gather", (5, 6, 7), constants=[[[0, 1], [2, 3]]], axis=1),
        node("GatherElements", (5, 6), constants=[[[0, 1], [2, 3]]], axis=1),
        node("GatherND", (5, 6, 7), constants=[[[0, 1], [2, 3], [4, 5]]]),
        node("Pad", (3, 4), constants=[[1, 0, 2, 3]]),
        node("Resize", (1, 2, 4, 5), constants=[np.zeros(0, np.float32), np.array([1, 1, 2, 1.5], np.float32)]),
        node("ReduceMean", (2, 3, 4), constants=[[-1]], keepdims=0),
        node("ReduceMax", (2, 3, 4)),
        node("ReduceSum", (2, 3, 4), keepdims=0),
        node("ArgMax", (2, 3, 4), axis=1, keepdims=0),
        node("TopK", (2, 9), constants=[[3]], outputs=2),
        node("DepthToSpace", (1, 8, 2, 3), blocksize=2),
        node("Softmax", (2, 3)),
        node("LayerNormalization", (2, 3, 4), (4,), (4,)),
        node("Shape", (2, 3, 4), start=1),
        node("Attention", (1, 7, 8), (1, 9, 8), (1, 9, 8), q_num_heads=2, kv_num_heads=2),
        node("Attention", (1, 2, 7, 4), (1, 2, 9, 4), (1, 2, 9, 6)),
        node("Einsum", (2, 3, 4), (4, 5), equation="bij,jk->bik"),
        node("CumSum", (2, 3), constants=[np.int64(1)]),
        node("Identity", tuple(int(each) for each in rng.integers(1, 5, 3))),
    ]  # fmt: skip


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.graph.node[0].op_type)
def test_shapes_are_those_that_onnx_infers(case: ModelProto) -> None:
    from foreact.deploy_edge.runtime.graph_shapes import tensor_shapes
    from foreact.deploy_edge.runtime.onnx_outline import read_outline

    inferred = shape_inference.infer_shapes(case, strict_mode=True, data_prop=True).graph
    wanted = {
        each.name: tuple(extent.dim_value for extent in each.type.tensor_type.shape.dim) for each in inferred.value_info
    }
    found = tensor_shapes(read_outline(case.SerializeToString()))
    assert wanted and {name: found[name] for name in wanted} == wanted
