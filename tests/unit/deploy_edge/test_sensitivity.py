from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper

from foreact.deploy_edge.bit_budget import average_bits, spend_budget
from foreact.deploy_edge.sensitivity import SensitivityRow, plot_sensitivity, scan
from foreact.deploy_edge.session_chunk import chunk_of

RNG = np.random.default_rng(0)


@pytest.fixture
def model(tiny: Any) -> ModelProto:
    """Two linear layers added up, the results of the second a hundred times as large."""
    constants = {
        "quiet.weight": RNG.normal(size=(32, 4)).astype(np.float32),
        "loud.weight": (100 * RNG.normal(size=(32, 4))).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "quiet.weight"], ["a"], "quiet_node"),
        helper.make_node("MatMul", ["x", "loud.weight"], ["b"], "loud_node"),
        helper.make_node("Add", ["a", "b"], ["out"], "sum"),
    ]
    return tiny.model_of(nodes, {"x": ("float32", (1, 3, 32))}, {"out": (1, 3, 4)}, constants)


def seen(count: int) -> list[dict[str, np.ndarray]]:
    return [{"x": RNG.normal(size=(1, 3, 32)).astype(np.float32)} for _ in range(count)]


def test_the_most_sensitive_layer_comes_first_and_bits_help(model: ModelProto, tmp_path: Path) -> None:
    rows = scan(model, chunk_of(model), seen(5), np.full(4, 100.0), group=16)
    assert [(row.layer, row.bits) for row in rows] == [
        (layer, bits) for layer in ("loud", "quiet") for bits in (4, 8, 16)
    ]
    for layer in ("loud", "quiet"):
        errors = [row.squared_error for row in rows if row.layer == layer]
        assert errors[0] > 50 * errors[1] > 50 * errors[2]
    assert [row.group for row in rows[:3]] == [16, None, None]
    plot_sensitivity(rows, tmp_path / "new" / "scan.png")
    assert (tmp_path / "new" / "scan.png").read_bytes()[:4] == b"\x89PNG"


def test_nothing_to_look_at_is_refused(model: ModelProto) -> None:
    with pytest.raises(ValueError, match="no calibration observation"):
        scan(model, chunk_of(model), [], np.ones(4))


def row(name: str, weights: int, bits: int, error: float, group: int | None = None) -> SensitivityRow:
    return SensitivityRow(name, f"{name}.weight", "Gemm", weights, bits, group, error, 0.0, 1.0)


def test_the_budget_goes_where_it_saves_most_error() -> None:
    rows = [
        *(row("loud", 100, bits, error) for bits, error in ((4, 9.0), (8, 1.0), (16, 0.1))),
        *(row("quiet", 100, bits, error) for bits, error in ((4, 0.4), (8, 0.1), (16, 0.0))),
        *(row("large", 800, bits, error) for bits, error in ((4, 8.0), (8, 4.0), (16, 3.9))),
    ]
    assert spend_budget(rows, 4.0) == {"loud.weight": 4, "quiet.weight": 4, "large.weight": 4}
    # 400 bits more: eight units for one layer, 0.3 for the other, nothing fits the third
    assert spend_budget(rows, 4.4) == {"loud.weight": 8, "quiet.weight": 4, "large.weight": 4}
    plan = spend_budget(rows, 8.0)
    assert plan == {"loud.weight": 8, "quiet.weight": 8, "large.weight": 8} and average_bits(rows, plan) == 8
    assert spend_budget(rows, 16.0) == {"loud.weight": 16, "quiet.weight": 16, "large.weight": 16}


def test_what_saves_less_but_costs_much_less_comes_first() -> None:
    rows = [row("small", 100, 4, 3.0), row("small", 100, 8, 0.0), row("large", 800, 4, 8.0), row("large", 800, 8, 0.0)]
    # 3300 bits more: the large layer alone would fit, the small one saves three times as much for each bit
    assert spend_budget(rows, 4 + 3300 / 900) == {"small.weight": 8, "large.weight": 4}


def test_scales_of_groups_count_and_too_little_is_refused() -> None:
    rows = [row("only", 320, 4, 1.0, 32), row("only", 320, 8, 0.1)]
    with pytest.raises(ValueError, match=r"needs 5\.00 at least"):
        spend_budget(rows, 4.5)
    assert spend_budget(rows, 5.0) == {"only.weight": 4} and spend_budget(rows, 8.0) == {"only.weight": 8}
