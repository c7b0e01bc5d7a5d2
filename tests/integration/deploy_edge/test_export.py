import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.deploy_edge.export import ExportConfig, export
from foreact.deploy_edge.export.trace import Traced, trace
from foreact.deploy_edge.model_file import load_sealed, properties
from foreact.deploy_edge.observations import draw_observations, only
from foreact.deploy_edge.parity import ParityError
from foreact.deploy_edge.runtime.engine import open_policy
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
    np.testing.assert_allclose(open_policy(exported).infer(one), wanted[0], atol=1e-4)


def test_a_flow_policy_takes_noise(make_policy: Callable[..., Path], store: Path, tmp_path: Path) -> None:
    path = tmp_path / "flow.onnx"
    outcome = export(ExportConfig(make_policy("flow"), path, store, observations=4, rounds=2))
    assert open_policy(path).needs_noise and float(str(outcome.figures["parity_min_cosine"])) > 0.9999


def test_below_the_gate_nothing_is_written(policy: Path, store: Path, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="none of .* values differs by more than rounding"):
        export(ExportConfig(policy, tmp_path / "new" / "p.onnx", store, observations=2, min_cosine=1.1, rounds=1))
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["p.nodes.json"]


def test_observations_of_another_camera_are_refused(policy: Path, tmp_path: Path) -> None:
    from foreact.episodes.store import EpisodeStore
    from foreact.sim.metaworld import default_cameras, policy_contract

    EpisodeStore.create(tmp_path / "store", policy_contract(default_cameras(48, 16)))
    with pytest.raises(ContractMismatch, match=r"cameras.front.width: expected 32, got 48"):
        export(ExportConfig(policy, tmp_path / "p.onnx", tmp_path / "store"))
    assert not (tmp_path / "p.onnx").exists()


def test_a_wrong_weight_in_the_graph_is_named(
    policy: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx import numpy_helper

    from foreact.deploy_edge.export import fused

    def trace_wrong(*arguments: Any) -> Traced:
        traced = trace(*arguments)
        node = [each for each in traced.model.graph.node if each.op_type == "Gemm"][-1]
        weight = next(each for each in traced.model.graph.initializer if each.name == node.input[1])
        weight.CopyFrom(numpy_helper.from_array(1.5 * numpy_helper.to_array(weight), weight.name))
        wrong.append(node.output[0])
        return traced

    wrong: list[str] = []
    monkeypatch.setattr(fused, "trace", trace_wrong)
    with pytest.raises(ParityError) as caught:
        export(ExportConfig(policy, tmp_path / "p.onnx", store, observations=4, rounds=1))
    assert f"that differs is {wrong[0]} (Gemm)" in str(caught.value)
    report = json.loads((tmp_path / "p.nodes.json").read_text())
    assert report["first"] == wrong[0] and len(report["nodes"]) > 50
    before = [each for each in report["nodes"][: [n["name"] for n in report["nodes"]].index(wrong[0])]]
    assert before and max(each["relative"] for each in before) < 1e-4
    assert not (tmp_path / "p.onnx").exists()


@pytest.mark.parametrize("opset", [18, 23])
def test_both_opsets_are_valid_and_answer_alike(policy: Path, store: Path, tmp_path: Path, opset: int) -> None:
    import onnx

    path = tmp_path / "p.onnx"
    outcome = export(ExportConfig(policy, path, store, observations=4, rounds=1, opset=opset))
    model = onnx.load(path)
    assert [each.version for each in model.opset_import if each.domain == ""] == [opset]
    onnx.checker.check_model(model, full_check=True)
    assert outcome.figures["opset"] == opset and float(str(outcome.figures["parity_max_abs"])) < 1e-4
    described = properties(model)
    assert described["foreact.opset"] == str(opset)
    assert json.loads(described["foreact.action_elements"])[0] == "delta_x"
    assert [stage["name"] for stage in json.loads(described["foreact.stages"])][-1] == "finish"


def test_golden_inputs_lie_beside_the_model(exported: Path, contract: PolicyContract) -> None:
    from foreact.deploy_edge.runtime.golden import GOLDEN_KEY, golden_path, read_golden

    golden = read_golden(exported, contract, properties(load_sealed(exported)[0])[GOLDEN_KEY])
    assert golden_path(exported).exists() and len(golden.inputs) == 8
    assert set(golden.inputs[0]) == set(contract.input_names)


def test_weights_that_are_no_numbers_are_refused(make_policy: Callable[..., Path], store: Path, tmp_path: Path) -> None:
    from foreact.vla.checkpoint import CheckpointError, load_policy, save_policy

    policy = load_policy(make_policy("l1", 5))
    name, tensor = next((name, each) for name, each in policy.named_parameters() if each.ndim == 2)
    tensor.data[0, 0] = float("nan")
    save_policy(tmp_path / "nan", policy)
    with pytest.raises(CheckpointError, match=rf"1 of {tensor.numel()} values of {name} are NaN"):
        export(ExportConfig(tmp_path / "nan", tmp_path / "p.onnx", store))


def test_what_cannot_be_written_is_refused_before_the_work(policy: Path, store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "p.onnx").mkdir()
    with pytest.raises(NotADirectoryError):
        export(ExportConfig(policy, tmp_path / "file" / "p.onnx", store))
    with pytest.raises(IsADirectoryError):
        export(ExportConfig(policy, tmp_path / "p.onnx", store))
    with pytest.raises(ValueError, match=r"opset=17: choose from 18, 23"):
        ExportConfig(policy, tmp_path / "q.onnx", store, opset=17)


def test_a_corrupted_policy_writes_nothing(policy: Path, store: Path, tmp_path: Path) -> None:
    import shutil

    from foreact.vla.checkpoint import CheckpointError

    broken: Any = shutil.copytree(policy, tmp_path / "broken")
    weights = next(Path(broken).glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError):
        export(ExportConfig(broken, tmp_path / "p.onnx", store))
    assert not (tmp_path / "p.onnx").exists()
