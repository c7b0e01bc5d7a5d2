"""Engines on an exported policy: the same chunks, a choice among them, and a fresh process of each."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from foreact.deploy_edge.choose import ChooseConfig, choose
from foreact.deploy_edge.cold_start import cold_start
from foreact.deploy_edge.processes import ProcessFailure
from foreact.deploy_edge.run import RunConfig, run
from foreact.deploy_edge.runtime.choice import choice_path
from foreact.deploy_edge.runtime.engine import EngineError, open_policy
from foreact.deploy_edge.runtime.engines import open_runtime
from foreact.deploy_edge.runtime.golden import chunk_function, read_golden
from foreact.deploy_edge.runtime.protocol import RuntimeFailure


def test_all_engines_here_compute_the_same_chunk(exported: Path, policy: Path) -> None:
    pytest.importorskip("openvino")
    opened = {name: open_policy(exported, name) for name in ("onnxruntime", "openvino")}
    contract = opened["onnxruntime"].contract
    golden = read_golden(exported, contract, opened["onnxruntime"].metadata["foreact.golden_sha256"])
    functions = {name: chunk_function(each.runtime) for name, each in opened.items()}
    functions["torch"] = chunk_function(open_runtime("torch", policy))
    for inputs, wanted in zip(golden.inputs[:3], golden.chunks, strict=False):
        for run_one in functions.values():
            np.testing.assert_allclose(run_one(inputs), wanted, atol=2e-4)
    assert "INFERENCE_PRECISION_HINT=f32" in opened["openvino"].runtime.stats().notes


def test_torch_does_not_pretend_to_run_an_exported_file(exported: Path) -> None:
    with pytest.raises(RuntimeFailure, match="give the folder of the policy"):
        open_runtime("torch", exported)


def test_a_choice_names_a_reason_for_every_candidate(exported: Path, policy: Path) -> None:
    names = ("onnxruntime", "openvino", "tensorrt", "torch", "executorch")
    outcome = choose(ChooseConfig(exported, candidates=names, policy=policy, rounds=5))
    decision = json.loads(choice_path(exported).read_text())
    rows = {each["engine"]: each for each in decision["candidates"]}
    assert list(rows) == list(names) and all(each["reason"] and each["status"] for each in rows.values())
    assert rows[decision["engine"]]["status"] == "chosen" and decision["engine"] in ("onnxruntime", "openvino")
    assert rows["tensorrt"]["status"] == "missing" and "foreact export to=tensorrt" in rows["tensorrt"]["reason"]
    assert rows["torch"]["status"] == "for comparison" and rows["executorch"]["status"] == "missing"
    assert rows["onnxruntime"]["gate"]["passed"] is True and len(outcome.rows) == len(names)
    tried = RunConfig(exported, "reech", exported.parent / "run", engine="chosen")
    with pytest.raises(ValueError, match="did you mean reach-v3"):  # the choice was read and the policy opened
        run(tried)
    exported.with_suffix(".engine.json").write_text(json.dumps({**decision, "version": "0.1"}))
    with pytest.raises(EngineError, match=r"chose .* 0.1, .* is installed; choose again"):
        run(tried)
    choice_path(exported).unlink()
    with pytest.raises(EngineError, match="there is no .*policy.engine.json"):
        run(dataclasses.replace(tried))


def test_no_engine_at_all_is_an_error_and_nothing_is_written(exported: Path) -> None:
    with pytest.raises(EngineError, match="no engine can run .*tensorrt: missing"):
        choose(ChooseConfig(exported, candidates=("tensorrt",), rounds=5))
    assert not choice_path(exported).exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"candidates": ()}, "name each engine once"),
        ({"candidates": ("onnxruntime", "onnxruntime")}, "name each engine once"),
        ({"candidates": ("onyx",)}, "no such engine"),
        ({"out": Path("elsewhere.json")}, "looks for"),
        ({"rounds": 0}, "rounds"),
    ],
)
def test_what_cannot_be_chosen_from_is_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChooseConfig(Path("policy.onnx"), **changed)  # pyright: ignore[reportArgumentType]


def test_a_fresh_process_reports_its_start_and_memory(exported: Path) -> None:
    found = cold_start(exported)
    assert found.engine.startswith("onnxruntime") and found.wall_s >= found.import_s > 0 and found.cpu_s > 0
    assert 30 < found.rss_mb < 400 and found.steady_rss_mb > 30
    with pytest.raises(ProcessFailure, match="no policy at"):
        cold_start(exported.with_name("nothing.onnx"))
