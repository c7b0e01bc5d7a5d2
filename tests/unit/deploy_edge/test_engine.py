import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.deploy_edge.actor import OnnxActor
from foreact.deploy_edge.model_file import describe, load_sealed, properties, sealed_bytes
from foreact.deploy_edge.runtime.engine import EngineError, PolicyEngine, open_policy
from foreact.deploy_edge.runtime.seal import BLANK, SEAL_KEY, close_seal
from foreact.episodes.contract import ContractError, PolicyContract

f32 = partial(np.array, dtype=np.float32)


def opened(path: Path) -> PolicyEngine:
    return open_policy(path, gate="none")


def observation(contract: PolicyContract, **changed: np.ndarray) -> dict[str, np.ndarray]:
    given = {
        "camera.top.rgb": np.zeros((4, 6, 3), np.uint8),
        "camera.top.depth": np.zeros((4, 6), np.uint16),
        "state": np.array([0.5, -1.0], np.float32),
        "tokens": np.ones(16, np.int64),
    }
    return {**given, **changed}


@pytest.fixture
def policy(tmp_path: Path, contract: PolicyContract, tiny: Any) -> Path:
    path = tmp_path / "policy.onnx"
    path.write_bytes(tiny.policy_bytes(contract))
    return path


def test_a_sealed_policy_opens_and_decides(policy: Path, contract: PolicyContract) -> None:
    engine = opened(policy)
    assert engine.contract == contract and engine.metadata["foreact.contract_hash"] == contract.hash
    chunk = engine.infer(observation(contract))
    assert chunk.shape == (4, 2) and np.array_equal(chunk, np.tile(f32([0.25, -0.5]), (4, 1)))


def test_observations_are_checked(policy: Path, contract: PolicyContract) -> None:
    engine = opened(policy)
    for name, value in {
        "state": np.zeros(2),
        "camera.top.rgb": np.zeros((4, 5, 3), np.uint8),
        "tokens": np.full(16, 5000),
    }.items():
        with pytest.raises(ContractError, match=name):
            engine.infer(observation(contract, **{name: value}))
    batch = {name: value[None] for name, value in observation(contract).items()}
    with pytest.raises(ContractError, match="one observation"):
        engine.infer(batch)


def test_a_policy_that_samples_needs_noise(tmp_path: Path, contract: PolicyContract, tiny: Any) -> None:
    path = tmp_path / "flow.onnx"
    path.write_bytes(tiny.policy_bytes(contract, noise=True))
    engine = opened(path)
    noise = np.full((4, 2), 0.5, np.float32)
    assert np.array_equal(engine.infer(observation(contract), noise)[0], f32([0.75, 0.0]))
    with pytest.raises(ContractError, match="noise"):
        engine.infer(observation(contract))
    with pytest.raises(ContractError, match="noise"):
        engine.infer(observation(contract), noise[:2])


def test_a_truncated_or_altered_file_is_refused(policy: Path) -> None:
    content = policy.read_bytes()
    for damaged in (content[:-1], content[: len(content) // 2], content[:-40] + b"x" + content[-39:], b""):
        policy.write_bytes(damaged)
        with pytest.raises(EngineError, match="truncated"):
            opened(policy)
        with pytest.raises(EngineError, match="truncated"):
            load_sealed(policy)


def test_a_missing_file_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="foreact export"):
        opened(tmp_path / "nothing.onnx")


def test_a_model_without_a_contract_is_refused(tmp_path: Path, contract: PolicyContract, tiny: Any) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(tiny.policy_model(contract).SerializeToString())
    with pytest.raises(EngineError, match="not an exported policy"):
        opened(path)
    path.write_bytes(sealed_bytes(tiny.policy_model(contract), {"author": "somebody"}))
    with pytest.raises(EngineError, match="carries no contract"):
        opened(path)


def test_an_altered_contract_is_refused_even_with_a_new_digest(policy: Path, contract: PolicyContract) -> None:
    model, _ = load_sealed(policy)
    altered = dataclasses.replace(contract, control_rate_hz=99.0)
    for each in model.metadata_props:
        if each.key == "foreact.contract":
            each.value = altered.to_json()
        if each.key == SEAL_KEY:
            each.value = BLANK
    policy.write_bytes(close_seal(model.SerializeToString(deterministic=True)))
    with pytest.raises(EngineError, match=f"hash is {altered.hash}, the file says {contract.hash}"):
        opened(policy)


def test_inputs_that_are_not_the_contracts_are_refused(tmp_path: Path, contract: PolicyContract, tiny: Any) -> None:
    path = tmp_path / "renamed.onnx"
    path.write_bytes(tiny.policy_bytes(contract, rename="position"))
    with pytest.raises(EngineError, match=r"inputs are not.*position: expected None.*state: expected"):
        opened(path)
    longer = dataclasses.replace(contract, chunk_length=5)
    path.write_bytes(sealed_bytes(tiny.policy_model(contract), describe(longer, "")))
    with pytest.raises(EngineError, match=r"outputs are not.*\(1, 5, 2\).*\(1, 4, 2\)"):
        opened(path)


def test_the_metadata_says_where_it_comes_from(policy: Path) -> None:
    found = properties(load_sealed(policy)[0])
    assert found["foreact.policy_sha256"] == "0" * 64 and found["foreact.version"]


def test_the_actor_takes_batches(policy: Path, contract: PolicyContract) -> None:
    actor = OnnxActor(policy)
    rows = [observation(contract, state=f32([value, 0])) for value in (0.0, 0.5, 1.0)]
    batch = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    chunks = actor.act(batch, np.zeros((3, 4, 2), np.float32))
    assert chunks.shape == (3, 4, 2) and chunks[:, 0, 0].tolist() == [0.0, 0.25, 0.5]


def test_the_actor_does_not_move_to_another_device_silently(policy: Path) -> None:
    with pytest.raises(EngineError, match="device=cpu"):
        OnnxActor(policy, "cuda")
