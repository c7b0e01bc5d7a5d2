from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from foreact.deploy_edge.corrections import scale_layers
from foreact.deploy_edge.energy import attention_logits, energy_factors, match_temperatures, residual_branches
from foreact.deploy_edge.layers import find_layers
from foreact.deploy_edge.rounding import rounded
from foreact.deploy_edge.sensitivity import with_weights
from foreact.deploy_edge.tidy import constants

RNG = np.random.default_rng(0)


def network(tiny: Any, *, gain: bool) -> ModelProto:
    """A linear layer to the logits of two heads, their softmax, and a residual branch with a bias behind it."""
    weights = {
        "logits.weight": RNG.normal(size=(4, 6)).astype(np.float32),
        "heads": np.array([1, 2, 6], np.int64),
        "gain": np.array([[2.0], [3.0]], np.float32),
        "branch.weight": RNG.normal(size=(6, 6)).astype(np.float32),
        "branch.bias": RNG.normal(size=6).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "logits.weight"], ["flat"], "logits_node"),
        helper.make_node("Reshape", ["flat", "heads"], ["apart"], "reshape"),
        *([helper.make_node("Mul", ["apart", "gain"], ["sharp"], "gain_node")] if gain else []),
        helper.make_node("Softmax", ["sharp" if gain else "apart"], ["attention"], "softmax"),
        helper.make_node("MatMul", ["attention", "branch.weight"], ["product"], "branch_node"),
        helper.make_node("Add", ["product", "branch.bias"], ["biased"], "bias_node"),
        helper.make_node("Add", ["attention", "biased"], ["out"], "residual"),
    ]
    used = {name: value for name, value in weights.items() if gain or name != "gain"}
    return tiny.model_of(nodes, {"x": ("float32", (1, 2, 4))}, {"out": (1, 2, 6)}, used)


def seen(count: int) -> list[dict[str, np.ndarray]]:
    return [{"x": RNG.normal(size=(1, 2, 4)).astype(np.float32)} for _ in range(count)]


def factors(model: ModelProto, rounded_model: ModelProto) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    branches = residual_branches(model, find_layers(model))
    return energy_factors(model, rounded_model, seen(30), attention_logits(model), branches)


def test_heads_and_branches_are_found(tiny: Any) -> None:
    model = network(tiny, gain=True)
    assert attention_logits(model) == {"sharp": 2}
    (branch,) = residual_branches(model, find_layers(model))
    assert branch.weight == "branch.weight" and branch.biases == ("branch.bias",) and branch.result == "biased"


@pytest.mark.parametrize("gain", [True, False])
def test_a_flattened_head_becomes_as_sharp_as_it_was(tiny: Any, gain: bool) -> None:
    model = network(tiny, gain=gain)
    if gain:
        flat = with_weights(model, {"gain": np.array([[2.0 / 1.25], [3.0]], np.float32)})
        alphas, _ = factors(model, flat)
        (alpha,) = alphas.values()
        assert alpha == pytest.approx([1.25, 1.0], abs=1e-3)
    else:
        flat = with_weights(model, {"logits.weight": constants(model.graph)["logits.weight"] * np.float32(0.8)})
        alphas, _ = factors(model, flat)
        (alpha,) = alphas.values()
        assert alpha == pytest.approx([1.25, 1.25], abs=1e-3)
    nodes = len(flat.graph.node)
    assert match_temperatures(flat, alphas) == (1 if gain else 2)
    assert len(flat.graph.node) == nodes + (not gain)  # a gain that is there already takes the factors
    x = seen(1)[0]["x"]
    assert tiny.run_model(flat, x=x) == pytest.approx(tiny.run_model(model, x=x), abs=1e-3)


def test_small_differences_are_left_and_large_ones_bounded(tiny: Any) -> None:
    model = network(tiny, gain=True)
    near = with_weights(model, {"gain": np.array([[2.0 * 1.02], [3.0 * 4]], np.float32)})
    alphas, betas = factors(model, near)
    assert alphas["sharp"].tolist() == [1.0, pytest.approx(0.6)]
    assert match_temperatures(near, {"sharp": np.ones(2)}) == 0
    assert set(betas) == {"branch.weight"}


def test_a_weak_branch_becomes_as_strong_as_it_was(tiny: Any) -> None:
    model = network(tiny, gain=True)
    values = constants(model.graph)
    weak = with_weights(model, {name: values[name] * np.float32(0.8) for name in ("branch.weight", "branch.bias")})
    _, betas = factors(model, weak)
    assert betas["branch.weight"] == pytest.approx(1.25, abs=1e-3)
    layers = find_layers(weak)
    integers = {"branch.weight": rounded(constants(weak.graph)["branch.weight"], 1, 8)}
    scaled = scale_layers(weak, residual_branches(weak, layers), integers, betas)
    assert scaled["branch.weight"].scales == pytest.approx(integers["branch.weight"].scales * 1.25, rel=1e-3)
    bias = next(each for each in weak.graph.initializer if each.name == "branch.bias")
    assert numpy_helper.to_array(bias) == pytest.approx(values["branch.bias"], rel=1e-3)
