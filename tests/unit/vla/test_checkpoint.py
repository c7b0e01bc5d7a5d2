import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from foreact.episodes.contract import PolicyContract
from foreact.vla.checkpoint import CheckpointError, TrainingState, load_policy, read_state, save_policy, write_state
from foreact.vla.policy import Policy

Observe = Callable[..., dict[str, np.ndarray]]


def test_a_saved_policy_acts_the_same(
    tmp_path: Path, policy: Policy, contract: PolicyContract, make_observation: Observe
) -> None:
    save_policy(tmp_path / "policy", policy)
    loaded = load_policy(tmp_path / "policy")
    assert loaded.contract == contract
    seen = {name: torch.from_numpy(value) for name, value in make_observation(contract, 1).items()}
    assert torch.equal(loaded.act(seen), policy.act(seen))


def test_a_run_folder_stands_for_its_policy(tmp_path: Path, policy: Policy) -> None:
    save_policy(tmp_path / "run" / "policy", policy)
    assert load_policy(tmp_path / "run").config == policy.config


def test_a_missing_checkpoint_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="foreact train"):
        load_policy(tmp_path)


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_damaged_weights_are_refused(tmp_path: Path, policy: Policy, damage: str) -> None:
    save_policy(tmp_path / "p", policy)
    file = tmp_path / "p" / "model.safetensors"
    content = bytearray(file.read_bytes())
    if damage == "truncate":
        file.write_bytes(content[:-10])
    elif damage == "flip":
        content[-5] ^= 1
        file.write_bytes(content)
    else:
        file.unlink()
    with pytest.raises(CheckpointError, match="model.safetensors"):
        load_policy(tmp_path / "p")


def test_a_description_of_something_else_is_refused(tmp_path: Path, policy: Policy) -> None:
    save_policy(tmp_path / "p", policy)
    file = tmp_path / "p" / "model.json"
    described = json.loads(file.read_text())
    del described["policy"]["head"]["width"]
    file.write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match="width"):
        load_policy(tmp_path / "p")


def test_training_states_keep_the_newest_two(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write_state(tmp_path, TrainingState(step, {"weights.a": torch.full((2,), float(step))}))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-0000002", "step-0000003"]
    state = read_state(tmp_path)
    assert state is not None
    assert state.step == 3
    assert state.tensors["weights.a"].tolist() == [3.0, 3.0]


def test_a_damaged_state_names_the_folder_to_delete(tmp_path: Path) -> None:
    write_state(tmp_path, TrainingState(7, {"weights.a": torch.zeros(2)}))
    (tmp_path / "checkpoints" / "step-0000007" / "state.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="Delete .*step-0000007"):
        read_state(tmp_path)


def test_a_run_without_states_has_none(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None


def test_a_checkpoint_from_before_architectures_is_a_keypoint_policy(policy: Policy, tmp_path: Path) -> None:
    save_policy(tmp_path / "p", policy)
    file = tmp_path / "p" / "model.json"
    described = json.loads(file.read_text())
    assert described["architecture"] == "keypoints" and "architecture" not in described["policy"]
    del described["architecture"]
    for later in ("hidden", "prefix", "prefix_noise"):
        del described["policy"]["head"][later]
    file.write_text(json.dumps(described))
    assert load_policy(tmp_path / "p").config == policy.config
    del described["policy"]["head"]["width"]  # was always there
    file.write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match=r"policy.head: missing keys \['width'\]"):
        load_policy(tmp_path / "p")


def test_an_unknown_architecture_is_named_with_near_matches(policy: Policy, tmp_path: Path) -> None:
    save_policy(tmp_path / "p", policy)
    file = tmp_path / "p" / "model.json"
    file.write_text(file.read_text().replace('"architecture": "keypoints"', '"architecture": "keypoint"'))
    with pytest.raises(CheckpointError, match="unknown architecture 'keypoint'; known: keypoints"):
        load_policy(tmp_path / "p")
