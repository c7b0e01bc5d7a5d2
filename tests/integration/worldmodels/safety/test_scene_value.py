"""A safety value learned inside a model of a scene: what it means, on disk and back, in the planner."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from foreact.perception.tensor_folder import CheckpointError
from foreact.sim.tabletop.passer import RADIUS
from foreact.worldmodels.branches import Branches
from foreact.worldmodels.branching import make_branches
from foreact.worldmodels.models.regression import LinearConfig
from foreact.worldmodels.models.signature import SignatureError
from foreact.worldmodels.planner.closed_loop import ClosedLoopConfig, closed_loop
from foreact.worldmodels.planner.policies import ScriptedConfig
from foreact.worldmodels.safety.scene_value import (
    SceneValue,
    SceneValueConfig,
    end_penalty,
    load_scene_value,
    train_scene_value,
)
from foreact.worldmodels.safety.value import ValueConfig
from foreact.worldmodels.scenes import scene
from foreact.worldmodels.train import WorldModelConfig, train_worldmodel
from foreact.worldmodels.trainer import OptimisationConfig

PASSER = scene("arm-reach-passer")
COLUMN = {name: number for number, name in enumerate(PASSER.columns)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set, a linear model of it and a value learned in that."""
    folder = tmp_path_factory.mktemp("value")
    make_branches(PASSER, "train", 120, 2, 1000).save(folder / "set")
    few = OptimisationConfig(updates=2, batch=8)
    train_worldmodel(WorldModelConfig(folder / "set", folder / "run", LinearConfig(), few))
    train_scene_value(config(folder, folder / "value"))
    return folder


def config(folder: Path, out: Path) -> SceneValueConfig:
    fit = ValueConfig(updates=60, width=16, batch=64, learning_rate=3e-3, first_gamma=0.5, last_gamma=0.9)
    return SceneValueConfig(folder / "run", folder / "set", out, chunks=4, value=fit)


def test_no_state_is_worth_more_than_its_margin(made: Path) -> None:
    value = load_scene_value(made / "value", PASSER)
    seen = torch.from_numpy(Branches.open(made / "set").futures).flatten(0, 2)
    assert (value(seen) <= value.margin(seen)).all()
    touching, far = seen[:1].clone(), seen[:1].clone()
    for axis in "xyz":
        touching[:, COLUMN[f"passer_{axis}"]] = touching[:, COLUMN[f"hand_{axis}"]]
    far[:, COLUMN["passer_x"]] += 2.0
    assert value(touching) < 0 and float(value.margin(far)) == pytest.approx(value.far)


def test_a_penalty_is_what_is_missing_at_the_end(made: Path) -> None:
    value = load_scene_value(made / "value", PASSER)
    futures = torch.from_numpy(Branches.open(made / "set").futures)
    found = end_penalty(value)(futures)
    torch.testing.assert_close(found, (1 - value(futures[:, :, -1]) / value.far).clamp_min(0))
    assert found.shape == futures.shape[:2] and 0 < RADIUS < value.far


def test_it_follows_from_its_seed(made: Path, tmp_path: Path) -> None:
    train_scene_value(config(made, tmp_path / "again"))
    one, other = (load_scene_value(path, PASSER).state_dict() for path in (made / "value", tmp_path / "again"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    train_scene_value(replace(config(made, tmp_path / "short"), seed=1))
    short = load_scene_value(tmp_path / "short", PASSER).state_dict()
    assert not torch.equal(one["lost.0.weight"], short["lost.0.weight"])


def test_what_does_not_fit_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match="not of arm-push"):
        load_scene_value(made / "value", scene("arm-push"))
    with pytest.raises(CheckpointError):
        load_scene_value(tmp_path, PASSER)
    with pytest.raises(FileExistsError, match="another out"):
        train_scene_value(config(made, made / "value"))
    with pytest.raises(ValueError, match="16 steps"):
        train_scene_value(replace(config(made, tmp_path / "out"), execute=17))
    with pytest.raises(ValueError, match="nothing to collide with"):
        SceneValue(scene("arm-reach"), 8, 0.1)
    with pytest.raises(ValueError, match="expected safety"):
        replace(config(made, tmp_path / "out"), worldmodel="value")
    assert not (tmp_path / "out").exists()


def test_the_planner_takes_the_penalty_off(made: Path, tmp_path: Path) -> None:
    trial = ClosedLoopConfig(
        worldmodel=made / "run", safety=made / "value", out=tmp_path / "plan", scene=PASSER.name,
        arms=("policy", "futures", "guarded"), episodes=3, seeds=1, seed=1000, policy=ScriptedConfig(),
    )  # fmt: skip
    outcome = closed_loop(trial)
    assert [row[0] for row in outcome.rows] == ["policy", "futures", "guarded"]
    with pytest.raises(ValueError, match="guarded"):
        replace(trial, safety=None)
    with pytest.raises(ValueError, match="guarded"):
        replace(trial, arms=("policy", "futures"))
