"""Models and data on disk: what is written comes back, what is damaged is refused."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from foreact.perception.tensor_folder import CheckpointError, TrainingState, read_state, write_state
from foreact.worldmodels.branches import BranchError, Branches
from foreact.worldmodels.checkpoint import load_model, read_about, save_model
from foreact.worldmodels.models.batch import gather_sets
from foreact.worldmodels.models.signature import SignatureError
from foreact.worldmodels.points import make_points
from foreact.worldmodels.sets import load_sets
from foreact.worldmodels.train import WorldModelConfig, train_worldmodel

Build = Callable[[Any, Branches], Any]


@pytest.fixture
def saved(tmp_path: Path, points: Branches, built: Build, configs: Any) -> Path:
    model = built(configs["codes"], points)
    save_model(tmp_path / "run" / "model", model.config, model.signature, model.state_dict(), {"seed": 3})
    return tmp_path / "run"


def test_a_model_comes_back(tmp_path: Path, config: Any, points: Branches, built: Build) -> None:
    model, data = built(config, points), gather_sets([points])
    save_model(tmp_path / "model", config, model.signature, model.state_dict())
    loaded = load_model(tmp_path / "model")
    before, after = (each.imagine(data.context, data.actions) for each in (model, loaded))
    assert torch.equal(before.values, after.values) and torch.equal(before.log_weights, after.log_weights)
    assert not after.values.requires_grad


def test_a_run_folder_stands_for_its_model(saved: Path) -> None:
    assert load_model(saved).signature.task == "point"
    assert read_about(saved) == {"kind": "codes", "seed": 3}


def test_a_truncated_model_is_refused(saved: Path) -> None:
    file = saved / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="truncated or altered"):
        load_model(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 9}, "not a checkpoint of format 1"),
        ({"version": 1}, "holds a world model of version 1, .* train it again"),
        ({"model": {"kind": "code"}}, "did you mean: codes"),
        ({"model": {"kind": "copy-last"}}, "weights do not fit"),
        ({"signature": {"task": "point"}}, "does not describe a world model"),
    ],
)
def test_another_description_is_refused(saved: Path, change: dict[str, Any], message: str) -> None:
    file = saved / "model" / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match=message):
        load_model(saved)


def test_a_missing_model_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="give the folder"):
        load_model(tmp_path)


def test_the_newest_states_stay(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    for step in (1, 2, 3):
        write_state(tmp_path, TrainingState(step, {"x": torch.tensor(float(step))}))
    newest = read_state(tmp_path)
    assert newest is not None and newest.step == 3 and newest.tensors["x"].item() == 3
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_a_damaged_state_says_which_folder_to_delete(tmp_path: Path) -> None:
    write_state(tmp_path, TrainingState(2, {"x": torch.zeros(3)}))
    (tmp_path / "checkpoints" / "step-0000002" / "state.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="Delete .*step-0000002"):
        read_state(tmp_path)


def test_sets_of_a_folder_are_joined(tmp_path: Path, points: Branches) -> None:
    points.save(tmp_path / "one")
    points.save(tmp_path / "two")
    assert len(gather_sets(load_sets(tmp_path))) == 48
    assert len(load_sets(tmp_path / "one")) == 1


def test_sets_that_do_not_fit_are_refused(tmp_path: Path, points: Branches) -> None:
    with pytest.raises(BranchError, match="no such folder"):
        load_sets(tmp_path / "none")
    with pytest.raises(BranchError, match="no sets"):
        load_sets(tmp_path)
    make_points(3, 4, purpose="test", horizon=4).save(tmp_path / "test" / "a")
    with pytest.raises(BranchError, match="is for 'test', expected train"):
        load_sets(tmp_path / "test")
    points.save(tmp_path / "mixed" / "a")
    make_points(3, 5, horizon=4).save(tmp_path / "mixed" / "b")
    with pytest.raises(BranchError, match="has 5 futures of each state, the first set 4"):
        load_sets(tmp_path / "mixed")
    other = dataclasses.replace(points, spec=dataclasses.replace(points.spec, task="plane"))
    other.save(tmp_path / "mixed" / "aa")
    with pytest.raises(SignatureError, match="task is plane"):
        load_sets(tmp_path / "mixed")


def test_training_refuses_before_there_is_a_run_folder(tmp_path: Path, points: Branches) -> None:
    points.save(tmp_path / "set")
    config = WorldModelConfig(tmp_path / "set", tmp_path / "run")
    refused = {
        "type device=cpu": dataclasses.replace(config, device="cuda"),
        "must be 1 or more": dataclasses.replace(config, log_every=0),
        "does not divide": dataclasses.replace(config, processes=3),
        "no such folder": dataclasses.replace(config, data=tmp_path / "nothing"),
    }
    if torch.cuda.is_available():
        del refused["type device=cpu"]
    for message, each in refused.items():
        with pytest.raises(ValueError, match=message):
            train_worldmodel(each)
    assert not (tmp_path / "run").exists()
