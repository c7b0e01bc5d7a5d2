"""The whole of quantisation on a network of a few layers."""

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, checker, helper

from foreact.deploy_edge.parity import Gate
from foreact.deploy_edge.quantise_config import QuantiseConfig
from foreact.deploy_edge.quantise_model import Quantised, quantise_model
from foreact.deploy_edge.session_chunk import chunk_of
from foreact.deploy_edge.tidy import constants

RNG = np.random.default_rng(0)
SPAN = np.full(4, 40.0)
GATE = Gate(0.99, 0.02)


@pytest.fixture
def model(tiny: Any) -> ModelProto:
    """Picture -> three convolutions -> mean -> two linear layers; one stands transposed, as exporters write it."""
    f32 = np.float32
    values = {
        "outer.weight": RNG.normal(size=(8, 3, 3, 3)).astype(f32),
        "inner.weight": RNG.normal(size=(8, 8, 3, 3)).astype(f32) * f32(0.2),
        "inner.bias": RNG.normal(size=8).astype(f32),
        "last.weight": RNG.normal(size=(32, 8, 1, 1)).astype(f32) * f32(0.3),
        "axes": np.array([2, 3]),
        "wide.weight": RNG.normal(size=(64, 32)).astype(f32) * f32(0.2),
        "wide.bias": RNG.normal(size=64).astype(f32),
        "leave.weight": RNG.normal(size=(8, 64)).astype(f32) * f32(0.2),
        "shape": np.array([1, 2, 4]),
    }
    nodes = [
        helper.make_node("Conv", ["image", "outer.weight"], ["a"], "outer_node", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "relu1"),
        helper.make_node("Conv", ["b", "inner.weight", "inner.bias"], ["c"], "inner_node", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["d"], "relu2"),
        helper.make_node("Conv", ["d", "last.weight"], ["e"], "last_node"),
        helper.make_node("ReduceMean", ["e", "axes"], ["m"], "mean", keepdims=0),
        helper.make_node("Gemm", ["m", "wide.weight", "wide.bias"], ["w"], "wide_node", transB=1),
        helper.make_node("Relu", ["w"], ["r"], "relu3"),
        helper.make_node("Transpose", ["leave.weight"], ["turned"], "turn", perm=[1, 0]),
        helper.make_node("MatMul", ["r", "turned"], ["flat"], "leave_node"),
        helper.make_node("Reshape", ["flat", "shape"], ["out"], "reshape"),
    ]
    return tiny.model_of(nodes, {"image": ("float32", (1, 3, 12, 12))}, {"out": (1, 2, 4)}, values)


def images(count: int) -> list[dict[str, np.ndarray]]:
    return [{"image": RNG.uniform(-1, 1, (1, 3, 12, 12)).astype(np.float32)} for _ in range(count)]


SEEN = images(12)


def quantised(model: ModelProto, gate: Gate = GATE, **options: Any) -> Quantised:
    return quantise_model(model, chunk_of(model), SEEN, QuantiseConfig(**options), gate, SPAN)


def kinds(model: ModelProto) -> set[int]:
    return {each.data_type for each in model.graph.initializer}


@pytest.mark.parametrize(
    "options",
    [{}, {"symmetric": True}, {"inputs": "int8"}, {"rounding": "nearest", "corrections": ()}, {"weights": "int4"}],
)
def test_the_result_is_valid_near_and_the_original_unchanged(model: ModelProto, options: Any) -> None:
    before = model.SerializeToString()
    made = quantised(model, **options)
    assert model.SerializeToString() == before
    checker.check_model(made.model, full_check=True)
    answer, original = chunk_of(made.model), chunk_of(model)
    assert answer(SEEN[0]).shape == (2, 4)
    errors = [np.abs(answer(each) - original(each)).max() for each in images(6)]
    assert 0 < max(errors) < (2.0 if "weights" in options else 0.6)
    assert [row["name"] for row in made.layers] == ["outer", "inner", "last", "wide", "leave"]
    # what a control without zero points or with four bits must hold
    integers = {TensorProto.INT4} if "weights" in options else {TensorProto.INT8}
    assert integers <= kinds(made.model)
    if options.get("symmetric"):
        assert TensorProto.UINT8 not in kinds(made.model)


def test_a_gate_that_nothing_passes_leaves_no_layer_in_integer_arithmetic(model: ModelProto) -> None:
    hopeless = Gate(0.9999999, 1e-6)
    made = quantised(model, hopeless)
    assert made.parity.use_of(hopeless) > 1
    assert made.figures["layers_float_arithmetic"] == ["inner", "last", "leave", "outer", "wide"]
    assert quantised(model, Gate(0.5, 1.0)).figures["layers_float_arithmetic"] == ["outer"]


def test_a_budget_is_kept(model: ModelProto) -> None:
    made = quantised(model, weights="mixed", budget=7.0)
    bits = {str(row["name"]): int(str(row["bits"])) for row in made.layers}
    sizes = {str(row["name"]): int(str(row["weights"])) for row in made.layers}
    spent = sum(sizes[name] * (count + (count == 4)) for name, count in bits.items())
    assert spent <= 7.0 * sum(sizes.values()) and 4 in bits.values()
    assert made.properties == {"foreact.precision": "mixed"}
    rows: Any = made.figures["sensitivity"]
    assert {row["bits"] for row in rows} == {4, 8, 16} and len(rows) == 3 * len(made.layers)


def test_the_control_is_worse_and_says_what_it_is(model: ModelProto) -> None:
    control, recipe = quantised(model, everything=True), quantised(model)
    assert control.properties == {"foreact.precision": "naive8"}
    scales = constants(control.model.graph)["wide.weight.scales"]
    assert len(scales) == 64 and (scales == scales[0]).all()
    assert control.parity.max_abs.mean() > 2 * recipe.parity.max_abs.mean()


def test_energy_corrections_report_what_they_gained(model: ModelProto) -> None:
    made = quantised(model, corrections=("bias", "equalise", "temperature", "residual"))
    energy: Any = made.figures["energy"]
    # there is neither attention nor a residual branch here, so nothing is kept
    assert {name: (each["factors"], each["kept"]) for name, each in energy.items()} == {
        "temperature": (0, False),
        "residual": (0, False),
    }


def test_a_correction_that_brings_nothing_nearer_is_not_kept(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A residual branch whose factor is made up: far from 1, so the chunk moves away."""
    values = {"branch.weight": RNG.normal(size=(4, 4)).astype(np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "branch.weight"], ["z"], "branch"),
        helper.make_node("Add", ["x", "z"], ["out"], "residual"),
    ]
    residual = tiny.model_of(nodes, {"x": ("float32", (1, 2, 4))}, {"out": (1, 2, 4)}, values)
    seen = [{"x": RNG.normal(size=(1, 2, 4)).astype(np.float32)} for _ in range(6)]
    monkeypatch.setattr("foreact.deploy_edge.quantise_model.energy_factors", lambda *_: ({}, {"branch.weight": 1.4}))
    config = QuantiseConfig(corrections=("residual",))
    made = quantise_model(residual, chunk_of(residual), seen, config, GATE, SPAN)
    energy: Any = made.figures["energy"]
    assert energy["residual"]["factors"] == 1 and not energy["residual"]["kept"]
    assert energy["residual"]["error_after"] > 10 * energy["residual"]["error_before"]
    answer = chunk_of(made.model)(seen[0])
    assert answer == pytest.approx(chunk_of(residual)(seen[0]), abs=0.2)


def test_bad_requests_are_refused(model: ModelProto, tiny: Any) -> None:
    with pytest.raises(ValueError, match="no calibration observation"):
        quantise_model(model, chunk_of(model), [], QuantiseConfig(), GATE, SPAN)
    bare = tiny.model_of(
        [helper.make_node("Neg", ["x"], ["out"])], {"x": ("float32", (1, 2, 4))}, {"out": (1, 2, 4)}, {}
    )
    with pytest.raises(ValueError, match="no linear or convolution layer"):
        quantise_model(bare, chunk_of(bare), SEEN, QuantiseConfig(), GATE, SPAN)
    bad: list[dict[str, Any]] = [{"budget": 2.0}, {"group": 10}, {"bits": 9}, {"corrections": ("magic",)}]
    for options in bad:
        with pytest.raises(ValueError, match="must"):
            QuantiseConfig(**options)
