import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.deploy_edge.runtime.choice import CHOICE_KIND, Choice, choice_path, chosen
from foreact.deploy_edge.runtime.engine import EngineError, open_policy
from foreact.deploy_edge.runtime.engines import ENGINES, open_runtime
from foreact.deploy_edge.runtime.protocol import RuntimeFailure, RuntimeMissing
from foreact.episodes.contract import ContractError, PolicyContract
from foreact.episodes.runfolder import describe_machine, write_json_atomic


@pytest.fixture
def path(tmp_path: Path, contract: PolicyContract, tiny: Any) -> Path:
    return tiny.write_policy(tmp_path / "policy.onnx", contract)


def arrays(formats: Any, fill: float = 0.0) -> dict[str, np.ndarray]:
    return {name: np.full(each.shape, fill, each.dtype) for name, each in formats.items()}


def test_results_are_written_into_the_arrays_that_were_given(path: Path) -> None:
    runtime = open_runtime("onnxruntime", path)
    inputs, outputs = arrays(runtime.inputs), arrays(runtime.outputs, np.nan)
    inputs["state"][:] = [[0.5, -1.0]]
    runtime.infer(inputs, outputs)
    assert outputs["action"][0].tolist() == [[0.25, -0.5]] * 4
    inputs["state"][:] = [[1.0, 0.0]]  # the same arrays again, with other content
    runtime.infer(inputs, outputs)
    assert outputs["action"][0, 0].tolist() == [0.5, 0.0]
    others = arrays(runtime.outputs, np.nan)
    runtime.infer(inputs, others)
    outputs["action"][:] = 7.0
    assert others["action"][0, 0].tolist() == [0.5, 0.0]
    stats = runtime.stats()
    assert stats.inferences == 3 and stats.failures == 0 and stats.load_s > 0
    assert {"intra_op_num_threads=1", "graph_optimization_level=ORT_ENABLE_ALL"} <= set(stats.notes)


def test_arrays_that_do_not_fit_are_refused(path: Path) -> None:
    runtime = open_runtime("onnxruntime", path)
    inputs, outputs = arrays(runtime.inputs), arrays(runtime.outputs)
    for name, wrong in {
        "dtype": {**inputs, "state": np.zeros((1, 2))},
        "shape": {**inputs, "state": np.zeros((2, 2), np.float32)},
        "layout": {**inputs, "state": np.zeros((1, 4), np.float32)[:, ::2]},
        "missing": {"state": inputs["state"]},
    }.items():
        with pytest.raises(ValueError, match="onnxruntime: input"):
            runtime.infer(wrong, outputs)
        assert name
    frozen = np.zeros((1, 4, 2), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        runtime.infer(inputs, {"action": frozen})


def test_a_closed_engine_refuses_and_closing_twice_is_no_error(path: Path) -> None:
    runtime = open_runtime("onnxruntime", path)
    runtime.warmup(2)
    assert runtime.stats().inferences == 2
    runtime.close()
    runtime.close()
    with pytest.raises(RuntimeFailure, match="was closed"):
        runtime.infer(arrays(runtime.inputs), arrays(runtime.outputs))


def test_an_unknown_engine_is_answered_with_near_ones(path: Path) -> None:
    with pytest.raises(ValueError, match="engine=onnx-runtime: .* did you mean onnxruntime"):
        open_runtime("onnx-runtime", path)


@pytest.mark.parametrize(("engine", "package"), [("onnxruntime", "onnxruntime"), ("openvino", "openvino")])
def test_a_missing_package_says_what_to_install(
    path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RuntimeMissing, match=r"is not installed .* pip install 'foreact\["):
        open_policy(path, engine)


@pytest.mark.parametrize("engine", ["tensorrt", "tensorrt-rtx"])
def test_a_plan_that_was_not_built_says_how_to_build_it(path: Path, engine: str) -> None:
    with pytest.raises(RuntimeMissing, match=f"build it on this machine: foreact export to={engine} model="):
        open_policy(path, engine)


def test_every_engine_has_a_loader() -> None:
    import importlib

    for target in ENGINES.values():
        module, _, function = target.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def observation(value: float) -> dict[str, np.ndarray]:
    return {
        "camera.top.rgb": np.zeros((4, 6, 3), np.uint8),
        "camera.top.depth": np.zeros((4, 6), np.uint16),
        "state": np.full(2, value, np.float32),
        "tokens": np.ones(16, np.int64),
    }


def test_committed_actions_are_told_and_come_back(tmp_path: Path, contract: PolicyContract, tiny: Any) -> None:
    policy = open_policy(tiny.write_policy(tmp_path / "told.onnx", contract, prefix=True))
    assert policy.prefix == 2
    prefix = np.full((4, 2), 0.75, np.float32)
    assert policy.infer(observation(1.0), prefix=prefix, delay=1)[:, 0].tolist() == [0.75, 0.5, 0.5, 0.5]
    assert policy.infer(observation(1.0), prefix=prefix, delay=2)[:, 0].tolist() == [0.75, 0.75, 0.5, 0.5]
    assert policy.infer(observation(1.0))[:, 0].tolist() == [0.5] * 4
    for wrong, delay, message in (
        (prefix, 3, "3 committed actions.*0 to 2"),
        (None, 1, "without a prefix"),
        (prefix[:2], 1, "prefix: expected float32"),
        (np.full((4, 2), np.nan, np.float32), 1, "not finite"),
    ):
        with pytest.raises(ContractError, match=message):
            policy.infer(observation(1.0), prefix=wrong, delay=delay)


def test_rows_beyond_the_delay_are_not_handed_on(tmp_path: Path, contract: PolicyContract, tiny: Any) -> None:
    policy = open_policy(tiny.write_policy(tmp_path / "told.onnx", contract, prefix=True))
    seen: list[np.ndarray] = []
    inner = policy.runtime.infer

    def infer(inputs: Any, outputs: Any) -> None:
        seen.append(inputs["prefix"].copy())
        inner(inputs, outputs)

    policy.runtime.infer = infer
    policy.infer(observation(0.0), prefix=np.full((4, 2), 0.75, np.float32), delay=1)
    policy.infer(observation(0.0))
    assert seen[0][0, :, 0].tolist() == [0.75, 0, 0, 0] and not seen[1].any()


def test_a_policy_that_takes_no_prefix_refuses_one(path: Path) -> None:
    policy = open_policy(path)
    with pytest.raises(ContractError, match="this policy takes 0 to 0"):
        policy.infer(observation(0.0), prefix=np.zeros((4, 2), np.float32), delay=1)


def test_the_gate_refuses_another_answer_and_a_missing_or_swapped_file(
    path: Path, contract: PolicyContract, tiny: Any
) -> None:
    policy = open_policy(path)
    assert policy.gate is not None and policy.gate.passed
    golden = path.with_suffix(".golden.npz")
    content = golden.read_bytes()
    golden.unlink()
    with pytest.raises(EngineError, match=r"policy.golden.npz is missing"):
        open_policy(path)
    golden.write_bytes(content[:-1] + b"x")
    with pytest.raises(EngineError, match="is not the golden file of policy.onnx"):
        open_policy(path)
    tiny.write_policy(path, contract, gain=1.2)
    with pytest.raises(EngineError, match=r"golden observation \d of 4: cosine 1.000000 .*% of the range"):
        open_policy(path)
    with pytest.raises(EngineError, match="cosine"):
        open_policy(path, gate="named")


@pytest.fixture
def choice(path: Path) -> Choice:
    import hashlib

    import onnxruntime

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    made = Choice(CHOICE_KIND, digest, "onnxruntime", onnxruntime.__version__, 1, "fast", describe_machine(), (), 10)
    write_json_atomic(choice_path(path), made)
    return made


def test_a_choice_is_read_back(path: Path, choice: Choice) -> None:
    assert chosen(path).engine == "onnxruntime"
    chosen(path).require_version(choice.version, path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_sha256": "0" * 64}, "about another policy.onnx"),
        ({"engine": "onyx"}, "there is no such engine"),
        ({"engine": "torch"}, "imports torch"),
        ({"kind": "other"}, "is no choice of an engine"),
        ({"machine": {"cpu": "abacus", "cores": 2}}, "on another machine: cpu 'abacus'"),
        ({"rounds": "many"}, "is damaged"),
    ],
)
def test_a_choice_that_does_not_hold_here_is_refused(
    path: Path, choice: Choice, changed: dict[str, Any], message: str
) -> None:
    write_json_atomic(choice_path(path), {**dataclasses.asdict(choice), **changed})
    with pytest.raises(ValueError, match=message):
        chosen(path)


def test_a_missing_or_damaged_choice_says_what_to_type(path: Path, choice: Choice) -> None:
    with pytest.raises(EngineError, match=r"chose onnxruntime .*, 9.9 is installed; choose again"):
        choice.require_version("9.9", path)
    choice_path(path).write_text(json.dumps(dataclasses.asdict(choice))[:-20])
    with pytest.raises(EngineError, match="is damaged"):
        chosen(path)
    choice_path(path).unlink()
    with pytest.raises(EngineError, match="choose again: foreact export to=engine model="):
        chosen(path)


def test_a_file_that_changes_while_it_is_opened_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from foreact.deploy_edge.runtime import onnx_engine

    real = onnx_engine.onnx_session

    def swapped(model: Any, *arguments: Any, **options: Any) -> Any:
        os.utime(path, ns=(0, 0))
        return real(model, *arguments, **options)

    monkeypatch.setattr(onnx_engine, "onnx_session", swapped)
    with pytest.raises(ValueError, match="was changed while it was being opened"):
        open_policy(path)
