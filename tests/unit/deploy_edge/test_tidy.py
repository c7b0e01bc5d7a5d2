from functools import partial
from typing import Any

import numpy as np
from onnx import helper

from foreact.deploy_edge.tidy import pack_constants, row_products_to_sums, strip

f32 = partial(np.array, dtype=np.float32)


def test_row_products_become_sums_with_the_same_result(tiny: Any) -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, 5, 1, 7)).astype(np.float32), rng.normal(size=(2, 5, 7, 1)).astype(np.float32)
    model = tiny.model_of(
        [helper.make_node("MatMul", ["left", "right"], ["out"], "product")],
        {"left": ("float32", left.shape), "right": ("float32", right.shape)},
        {"out": (2, 5, 1, 1)},
        {},
    )
    before = tiny.run_model(model, left=left, right=right)
    assert row_products_to_sums(model) == 1
    assert "MatMul" not in {node.op_type for node in model.graph.node}
    np.testing.assert_allclose(tiny.run_model(model, left=left, right=right), before, rtol=1e-5, atol=1e-6)


def test_other_products_stay(tiny: Any) -> None:
    model = tiny.model_of(
        [helper.make_node("MatMul", ["left", "right"], ["out"], "product")],
        {"left": ("float32", (2, 3, 4)), "right": ("float32", (2, 4, 3))},
        {"out": (2, 3, 3)},
        {},
    )
    assert row_products_to_sums(model) == 0 and model.graph.node[0].op_type == "MatMul"


def rays(height: int, width: int) -> np.ndarray:
    v, u = np.meshgrid(np.arange(height) / 7.0, np.arange(width) / 5.0, indexing="ij")
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    return (np.stack([u, v, np.ones_like(u)], -1) @ rotation.T).transpose(2, 0, 1).astype(np.float32)


def test_constants_of_a_camera_and_of_one_value_are_packed_and_stay_what_they_are(tiny: Any) -> None:
    noise = np.random.default_rng(0).normal(size=(3, 32, 40)).astype(np.float32)
    constants = {"rays": rays(32, 40), "ones": np.ones((3, 32, 40), np.float32), "noise": noise}
    model = tiny.model_of(
        [
            helper.make_node("Add", ["x", "rays"], ["a"]),
            helper.make_node("Mul", ["a", "ones"], ["b"]),
            helper.make_node("Add", ["b", "noise"], ["out"]),
        ],
        {"x": ("float32", (1,))},
        {"out": (3, 32, 40)},
        constants,
    )
    x, size = f32([0.25]), model.ByteSize()
    before = tiny.run_model(model, x=x)
    assert pack_constants(model) == ["rays", "ones"]
    np.testing.assert_allclose(tiny.run_model(model, x=x), before, atol=2e-6)
    assert size - model.ByteSize() > 2 * 3 * 32 * 40 * 4 * 0.8


def test_stripping_removes_paths_and_unused_constants(tiny: Any) -> None:
    node = helper.make_node("Add", ["x", "one"], ["out"], "sum")
    node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value="some/file.py")
    node.doc_string = "line 3"
    constants = {"one": f32([1]), "unused": np.zeros(10, np.float32)}
    model = tiny.model_of([node], {"x": ("float32", (1,))}, {"out": (1,)}, constants)
    strip(model)
    assert b"some/file.py" not in model.SerializeToString() and b"line 3" not in model.SerializeToString()
    assert [each.name for each in model.graph.initializer] == ["one"]
