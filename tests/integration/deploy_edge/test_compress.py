import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foreact.deploy_edge.compress import CompressConfig, compress, result
from foreact.deploy_edge.compress.recipe import Recipe
from foreact.deploy_edge.model_file import load_sealed, properties
from foreact.deploy_edge.parity import Gate, ParityError
from foreact.deploy_edge.quantise_model import Quantised, quantise_model
from foreact.deploy_edge.runtime.engine import EngineError, open_policy


@pytest.fixture
def config(exported: Path, policy: Path, store: Path, tmp_path: Path) -> CompressConfig:
    # an untrained policy on random pictures: this is about the way, not about the last digit
    return CompressConfig(
        exported, policy, tmp_path / "int8.onnx", store, calibration=8, observations=8, min_cosine=0.99, rounds=2
    )


def test_an_int8_policy_is_small_near_and_runs(config: CompressConfig) -> None:
    figures: Any = compress(config).figures
    assert figures["size_ratio"] == pytest.approx(config.model.stat().st_size / config.out.stat().st_size, rel=1e-3)
    assert figures["size_ratio"] > 3.6 and figures["parity_min_cosine"] >= 0.99
    assert set(figures["latency_ms"]) == {"torch", "onnx_fp32", "onnx_int8"} and figures["latency_ratio_int8"] > 0
    assert open_policy(config.out).contract == open_policy(config.model).contract
    model, _ = load_sealed(config.out)
    assert properties(model)["foreact.precision"] == "int8"
    kept = {key: value for key, value in properties(load_sealed(config.model)[0]).items() if "policy" in key}
    assert kept.items() <= properties(model).items() and kept


def test_only_linear_and_convolution_layers_are_rounded(config: CompressConfig) -> None:
    compress(config)
    model, _ = load_sealed(config.out)
    produced = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type in ("Softmax", "LayerNormalization"):
            continue
        constant = {each.name for each in model.graph.initializer}
        if node.op_type == "MatMul" and not set(node.input) & constant:
            for name in node.input:
                source = produced.get(name)
                assert source is None or source.op_type != "DequantizeLinear", (
                    f"attention product {node.name} is rounded"
                )
    report = json.loads(config.out.with_suffix(".report.json").read_text())
    assert {row["operator"] for row in report["layers"]} <= {"Conv", "Gemm", "MatMul"}
    assert {row["int8"] for row in report["layers"]} <= {"weights", "weights and input"}
    assert len(report["parity"]["int8"]["cosine"]) == 8 and report["search"]


def test_a_file_that_misses_the_gate_is_made_anew_with_more_in_float(
    config: CompressConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    margins: list[float] = []
    made: list[Quantised] = []

    def watched(*given: Any) -> Quantised:
        margins.append(given[3].margin)
        if not made:  # the same file every time: only what is asked for matters here
            model, chunk, calibration, settings, _, span, _ = given
            made.append(quantise_model(model, chunk, calibration, settings, Gate(0.5, 1.0), span))
        return made[0]

    monkeypatch.setattr(result, "quantise_model", watched)
    with pytest.raises(ParityError):
        compress(dataclasses.replace(config, recipe=Recipe(max_range_fraction=1e-9)))
    assert margins == [0.9 * part for part in result.SMALLER]


def test_below_the_gate_nothing_is_written(config: CompressConfig) -> None:
    with pytest.raises(ParityError, match="nothing was written"):
        compress(dataclasses.replace(config, min_cosine=1.1))
    assert list(config.out.parent.iterdir()) == []


def test_a_model_of_another_policy_is_refused(config: CompressConfig, make_policy: Callable[..., Path]) -> None:
    with pytest.raises(EngineError, match="was not exported from"):
        compress(dataclasses.replace(config, policy=make_policy("l1", 7)))


def test_a_damaged_model_is_refused(config: CompressConfig, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(config.model.read_bytes()[:-10])
    with pytest.raises(EngineError, match="truncated"):
        compress(dataclasses.replace(config, model=broken))
    assert not config.out.exists()


def test_what_is_int8_already_is_refused(config: CompressConfig, tmp_path: Path) -> None:
    compress(config)
    with pytest.raises(EngineError, match="holds int8, expected float32"):
        compress(dataclasses.replace(config, model=config.out, out=tmp_path / "again.onnx"))
