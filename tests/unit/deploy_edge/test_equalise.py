from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper

from foreact.deploy_edge.equalise import FLOOR, channel_peaks, equalise
from foreact.deploy_edge.layers import find_layers

RNG = np.random.default_rng(0)
HEIGHTS = np.array([1.0, 4.0, 0.01]).reshape(3, 1, 1, 1)


def network(tiny: Any, *, product: bool = True, spoiler: bool = False) -> ModelProto:
    """Two convolutions with ReLU and channels of different height, then a product with one value per channel."""
    constants = {
        "a.weight": (RNG.normal(size=(3, 2, 3, 3)) * HEIGHTS).astype(np.float32),
        "a.bias": (RNG.normal(size=3) * HEIGHTS.ravel()).astype(np.float32),
        "b.weight": (RNG.normal(size=(3, 3, 1, 1)) * HEIGHTS).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "a.weight", "a.bias"], ["c1"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "b.weight"], ["c2"], "second"),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("Mul", ["r2", "gain"], ["out"], "gain_node")
        if product
        else helper.make_node("Sigmoid", ["r2"], ["out"], "bend"),
    ]
    if spoiler:
        nodes.insert(2, helper.make_node("Neg", ["r1"], ["unused"], "spoiler"))
    inputs = {"x": ("float32", (1, 2, 5, 5)), **({"gain": ("float32", (1, 3, 1, 1))} if product else {})}
    return tiny.model_of(nodes, inputs, {"out": (1, 3, 5, 5)}, constants)


def seen(count: int) -> list[dict[str, np.ndarray]]:
    return [
        {
            "x": RNG.normal(size=(1, 2, 5, 5)).astype(np.float32),
            "gain": RNG.normal(size=(1, 3, 1, 1)).astype(np.float32),
        }
        for _ in range(count)
    ]


def test_channels_reach_one_height_and_nothing_else_changes(tiny: Any) -> None:
    model, observations = network(tiny), seen(8)
    changed = network(tiny)
    changed.CopyFrom(model)
    peaks = channel_peaks(model, ["r1", "r2"], observations)
    assert peaks["r1"].max() / peaks["r1"].min() > 20
    assert equalise(changed, find_layers(changed), peaks) == ["r1", "r2"]
    after = channel_peaks(changed, ["r1", "r2"], observations)
    for name in ("r1", "r2"):
        expected = peaks[name] / np.maximum(peaks[name] / peaks[name].max(), FLOOR)
        assert after[name] == pytest.approx(expected, rel=1e-4)
    for inputs in observations:
        assert tiny.run_model(changed, **inputs) == pytest.approx(tiny.run_model(model, **inputs), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("options", [{"product": False}, {"spoiler": True}])
def test_what_else_reads_a_tensor_keeps_it_as_it_is(tiny: Any, options: Any) -> None:
    model = network(tiny, **options)
    done = equalise(model, find_layers(model), {"r1": np.array([1.0, 2, 3]), "r2": np.array([1.0, 2, 3])})
    assert done == (["r1"] if "product" in options else ["r2"])


def test_a_product_with_one_value_per_pixel_keeps_it_as_it_is(tiny: Any) -> None:
    model = network(tiny)
    for size, each in zip((1, 3, 5, 5), model.graph.input[1].type.tensor_type.shape.dim, strict=True):
        each.dim_value = size
    assert equalise(model, find_layers(model), {"r2": np.array([1.0, 2, 3])}) == []
