import dataclasses
from pathlib import Path
from typing import Any

import pytest

from foreact.deploy_edge.compress import CompressConfig
from foreact.deploy_edge.export import ExportConfig
from foreact.deploy_edge.run import RunConfig, run
from foreact.deploy_edge.runtime.engine import EngineError
from foreact.episodes.contract import PolicyContract


@pytest.fixture
def config(tmp_path: Path, contract: PolicyContract, tiny: Any) -> RunConfig:
    return RunConfig(tiny.write_policy(tmp_path / "policy.onnx", contract), "reach", tmp_path / "run")


def test_a_rate_that_is_not_the_contracts_names_both(config: RunConfig) -> None:
    with pytest.raises(ValueError, match="rate_hz=80 but.*control_rate_hz 50"):
        run(dataclasses.replace(config, rate_hz=80.0))
    assert not config.out.exists()


def test_more_executed_actions_than_a_chunk_has_is_an_error(config: RunConfig) -> None:
    with pytest.raises(ValueError, match="execute=5 but.*4 actions"):
        run(dataclasses.replace(config, execute=5))


def test_an_unknown_task_leaves_nothing(config: RunConfig) -> None:
    with pytest.raises(ValueError, match="did you mean reach-v3"):
        run(dataclasses.replace(config, task="reech", execute=2))
    assert not config.out.exists()


def test_a_damaged_policy_leaves_nothing(config: RunConfig) -> None:
    config.policy.write_bytes(config.policy.read_bytes()[:-5])
    with pytest.raises(EngineError, match="truncated"):
        run(config)
    assert not config.out.exists()


def test_a_policy_without_golden_inputs_or_with_another_answer_is_not_run(
    config: RunConfig, contract: PolicyContract, tiny: Any
) -> None:
    config.policy.write_bytes(tiny.policy_bytes(contract))
    with pytest.raises(EngineError, match="names no golden inputs .* export it again with: foreact export"):
        run(dataclasses.replace(config, execute=2))
    tiny.write_policy(config.policy, contract, gain=1.2)
    with pytest.raises(EngineError, match="policy.onnx in onnxruntime .* does not compute on this machine"):
        run(dataclasses.replace(config, execute=2))
    assert not config.out.exists()


@pytest.mark.parametrize(("engine", "message"), [("onyx", "no such engine"), ("torch", "imports torch")])
def test_an_engine_that_no_robot_has_is_refused(config: RunConfig, engine: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(dataclasses.replace(config, engine=engine))
    assert not config.out.exists()


@pytest.mark.parametrize("changed", [{"episodes": 0}, {"seconds": 0.0}, {"seconds": 1e9}, {"fade": -1}, {"front": 2}])
def test_values_out_of_range_are_named(config: RunConfig, changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changed))):
        dataclasses.replace(config, **changed)


def test_output_names_of_export_and_compress_are_checked() -> None:
    somewhere = Path("x")
    with pytest.raises(ValueError, match=".onnx"):
        ExportConfig(somewhere, Path("policy.bin"), somewhere)
    with pytest.raises(ValueError, match="not be the model itself"):
        CompressConfig(Path("a.onnx"), somewhere, Path("a.onnx"), somewhere)
    with pytest.raises(ValueError, match="calibration=0"):
        CompressConfig(Path("a.onnx"), somewhere, Path("b.onnx"), somewhere, calibration=0)
