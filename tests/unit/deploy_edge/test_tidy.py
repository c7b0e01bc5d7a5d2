from functools import partial
from typing import Any

import numpy as np
import pytest
from onnx import helper

from foreact.deploy_edge.tidy import maxima_to_pools, pack_constants, strip

f32 = partial(np.array, dtype=np.float32)


def largest_over_pixels(tiny: Any, axis: int, operator: str = "Conv") -> Any:
    """Convolution or sum, flattened picture, largest value along an axis."""
    first = {
        "Conv": helper.make_node("Conv", ["x", "weight"], ["y"], "first"),
        "Add": helper.make_node("Add", ["x", "x"], ["y"], "first"),
    }[operator]
    return tiny.model_of(
        [
            first,
            helper.make_node("Reshape", ["y", "flat"], ["z"], "flatten"),
            helper.make_node("ReduceMax", ["z", "axes"], ["out"], "largest", keepdims=0),
        ],
        {"x": ("float32", (1, 4, 5, 7))},
        {"out": (1, 4) if axis in (-1, 2) else (1, 35)},
        {
            "weight": np.random.default_rng(0).normal(size=(4, 4, 1, 1)).astype(np.float32),
            "flat": np.array([1, 4, 35]),
            "axes": np.array([axis]),
        },
    )


@pytest.mark.parametrize("axis", [-1, 2])
def test_a_largest_value_over_pixels_is_pooled_with_the_same_result(tiny: Any, axis: int) -> None:
    model = largest_over_pixels(tiny, axis)
    x = np.random.default_rng(1).normal(size=(1, 4, 5, 7)).astype(np.float32) - 3
    before = tiny.run_model(model, x=x)
    assert maxima_to_pools(model) == 1
    assert [node.op_type for node in model.graph.node] == ["Conv", "GlobalMaxPool", "Reshape"]
    np.testing.assert_array_equal(tiny.run_model(model, x=x), before)


@pytest.mark.parametrize(("axis", "operator"), [(1, "Conv"), (-1, "Add")])
def test_other_largest_values_stay(tiny: Any, axis: int, operator: str) -> None:
    model = largest_over_pixels(tiny, axis, operator)
    assert maxima_to_pools(model) == 0 and model.graph.node[2].op_type == "ReduceMax"


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
