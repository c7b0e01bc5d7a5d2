"""Chains of moves that pick every n-th pixel, as the policy's points of half-resolution cells are made."""

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper

from foreact.deploy_edge.layers import find_layers
from foreact.deploy_edge.subsampling import PICK, picks_to_convolutions

H, W = 12, 24


def slices(tensor: str, axis: int, start: int, step: int, result: str) -> tuple[Any, dict[str, np.ndarray]]:
    names = [f"{result}.{what}" for what in ("start", "end", "axis", "step")]
    numbers = dict(zip(names, (np.array([each]) for each in (start, 2**31, axis, step)), strict=True))
    return helper.make_node("Slice", [tensor, *names], [result], result), numbers


def cells(tiny: Any, step: int = 2, watched: bool = False) -> ModelProto:
    """Channels 3 to 5, every second row and column, then the four cells of each 2 x 2 block side by side."""
    nodes, constants = [], {}
    for name, (axis, start, stride), result in (
        ("x", (1, 3, 1), "points"), ("points", (2, 0, step), "rows"), ("rows", (3, 0, step), "columns")
    ):  # fmt: skip
        node, numbers = slices(name, axis, start, stride, result)
        nodes.append(node)
        constants |= numbers
    height, width = -(-H // step) // 2, -(-W // step) // 2
    constants |= {"blocks": np.array([1, 3, height, 2, width, 2]), "flat": np.array([1, 3, 4 * height * width])}
    nodes += [
        helper.make_node("Reshape", ["columns", "blocks"], ["split"], "split"),
        helper.make_node("Transpose", ["split"], ["turned"], "turn", perm=[0, 1, 3, 5, 2, 4]),
        helper.make_node("Reshape", ["turned", "flat"], ["out"], "join"),
    ]
    outputs = {"out": (1, 3, 4 * height * width)}
    return tiny.model_of(
        nodes,
        {"x": ("float32", (1, 6, H, W))},
        {**outputs, "columns": (1, 3, 2 * height, 2 * width)} if watched else outputs,
        constants,
    )


def test_cells_become_one_convolution_with_the_same_result(tiny: Any) -> None:
    model = cells(tiny)
    x = np.random.default_rng(0).normal(size=(1, 6, H, W)).astype(np.float32)
    before = tiny.run_model(model, x=x)
    assert picks_to_convolutions(model) == 1
    assert [node.op_type for node in model.graph.node] == ["Conv", "Reshape"]
    assert {each.name for each in model.graph.initializer} == {f"{PICK}out.weight", f"{PICK}out.shape"}
    np.testing.assert_array_equal(tiny.run_model(model, x=x), before)


def test_such_a_convolution_is_no_layer_to_be_rounded(tiny: Any) -> None:
    model = cells(tiny)
    picks_to_convolutions(model)
    assert find_layers(model) == []


def test_an_uneven_grid_stays(tiny: Any) -> None:
    model = cells(tiny, step=3)
    picks_to_convolutions(model)
    x = np.random.default_rng(0).normal(size=(1, 6, H, W)).astype(np.float32)
    np.testing.assert_array_equal(tiny.run_model(model, x=x), tiny.run_model(cells(tiny, step=3), x=x))
    assert "Conv" not in {node.op_type for node in model.graph.node}


def test_what_something_else_reads_stays(tiny: Any) -> None:
    model = cells(tiny, watched=True)
    picks_to_convolutions(model)
    assert any("columns" in node.output for node in model.graph.node)


@pytest.mark.parametrize("start", [0, 1])
def test_a_mere_crop_of_channels_stays_or_gives_the_same(tiny: Any, start: int) -> None:
    node, numbers = slices("x", 1, start, 1, "out")
    model = tiny.model_of([node], {"x": ("float32", (1, 6, H, W))}, {"out": (1, 6 - start, H, W)}, numbers)
    assert picks_to_convolutions(model) == 0 and model.graph.node[0].op_type == "Slice"
