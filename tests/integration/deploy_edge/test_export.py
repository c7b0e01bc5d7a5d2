import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.deploy_edge.export import ExportConfig, export
from foreact.deploy_edge.model_file import load_sealed, properties
from foreact.deploy_edge.observations import draw_observations, only
from foreact.deploy_edge.parity import ParityError
from foreact.deploy_edge.runtime.engine import OnnxEngine
from foreact.episodes.contract import ContractMismatch, PolicyContract


def test_the_file_carries_its_contract_and_no_path_of_this_machine(exported: Path, contract: PolicyContract) -> None:
    model, found = load_sealed(exported)
    assert found == contract
    assert [each.name for each in model.graph.input] == list(contract.input_names)
    assert [each.name for each in model.graph.output] == ["action"]
    assert properties(model)["foreact.precision"] == "float32"
    content = exported.read_bytes()
    assert b"stack_trace" not in content and b".py" not in content and str(Path.home()).encode() not in content


def test_the_report_holds_every_observation(exported: Path) -> None:
    report = json.loads(exported.with_suffix(".report.json").read_text())
    assert report["parity_min_cosine"] > 0.99999 and len(report["parity"]["cosine"]) == 8
    assert report["parity_max_abs"] < 1e-4
    assert set(report["latency_ms"]) == {"torch", "onnx_fp32"} and report["size_bytes"] == exported.stat().st_size


def test_the_engine_and_the_entry_point_answer_as_torch_does(
    exported: Path, policy: Path, store: Path, contract: PolicyContract
) -> None:
    from foreact.vla.actors import open_actor

    drawn = draw_observations(store, contract, 4, 1, "held out")
    batch = {name: np.concatenate([inputs[name] for inputs in drawn]) for name in contract.input_names}
    noise = np.concatenate([inputs["noise"] for inputs in drawn])
    wanted = open_actor(policy).act(batch, noise)
    np.testing.assert_allclose(open_actor(exported).act(batch, noise), wanted, atol=1e-4)
    one = {name: value[0] for name, value in only(drawn[0], contract.input_names).items()}
    np.testing.assert_allclose(OnnxEngine(exported).infer(one), wanted[0], atol=1e-4)


def test_a_flow_policy_takes_noise(make_policy: Callable[..., Path], store: Path, tmp_path: Path) -> None:
    path = tmp_path / "flow.onnx"
    outcome = export(ExportConfig(make_policy("flow"), path, store, observations=4, rounds=2))
    assert OnnxEngine(path).needs_noise and float(str(outcome.figures["parity_min_cosine"])) > 0.9999


def test_below_the_gate_nothing_is_written(policy: Path, store: Path, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="nothing was written"):
        export(ExportConfig(policy, tmp_path / "new" / "p.onnx", store, observations=2, min_cosine=1.1, rounds=1))
    assert not (tmp_path / "new").exists()


def test_observations_of_another_camera_are_refused(policy: Path, tmp_path: Path) -> None:
    from foreact.episodes.store import EpisodeStore
    from foreact.sim.metaworld import default_cameras, policy_contract

    EpisodeStore.create(tmp_path / "store", policy_contract(default_cameras(48, 16)))
    with pytest.raises(ContractMismatch, match=r"cameras.front.width: expected 32, got 48"):
        export(ExportConfig(policy, tmp_path / "p.onnx", tmp_path / "store"))
    assert not (tmp_path / "p.onnx").exists()


def test_a_corrupted_policy_writes_nothing(policy: Path, store: Path, tmp_path: Path) -> None:
    import shutil

    from foreact.vla.checkpoint import CheckpointError

    broken: Any = shutil.copytree(policy, tmp_path / "broken")
    weights = next(Path(broken).glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError):
        export(ExportConfig(broken, tmp_path / "p.onnx", store))
    assert not (tmp_path / "p.onnx").exists()
