"""A world model of a simulated scene: trained, evaluated beside a baseline, refused where it does not fit."""

import dataclasses
from pathlib import Path

import pytest

from foreact.worldmodels.branching import make_branches
from foreact.worldmodels.evaluate import EvalWorldModelConfig, evaluate_worldmodel
from foreact.worldmodels.models.codes import CodesConfig
from foreact.worldmodels.models.predictor import PredictorConfig
from foreact.worldmodels.models.regression import DeterministicConfig
from foreact.worldmodels.points import make_points
from foreact.worldmodels.scenes import scene
from foreact.worldmodels.train import WorldModelConfig, train_worldmodel
from foreact.worldmodels.trainer import OptimisationConfig

SMALL = PredictorConfig(width=32, depth=1, codes=4, code_width=16)
MODELS = {
    "codes": CodesConfig(predictor=SMALL, latent=16, encoder_width=32),
    "one": DeterministicConfig(predictor=dataclasses.replace(SMALL, codes=1), latent=16, encoder_width=32),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets of one scene, and models of it."""
    path = tmp_path_factory.mktemp("reach")
    make_branches(scene("arm-reach"), "train", 200, 4, seed=1000).save(path / "train")
    make_branches(scene("arm-reach"), "test", 40, 8, seed=1000).save(path / "test")
    for name, model in MODELS.items():
        optimisation = OptimisationConfig(updates=60, batch=32, warmup=5, ema=0.95)
        train_worldmodel(WorldModelConfig(path / "train", path / name, model, optimisation))
    return path


def test_a_model_is_scored_beside_floor_baseline_and_shuffled_actions(folder: Path) -> None:
    config = EvalWorldModelConfig(folder / "codes", folder / "test", baseline=folder / "one")
    outcome = evaluate_worldmodel(config)
    figures = {name: value for name, value in outcome.figures.items() if isinstance(value, float)}
    assert outcome.figures["model"] == "codes" and outcome.columns[0] == "codes"
    assert figures["energy_score_floor"] < figures["energy_score"] < figures["energy_score_shuffled_actions"]
    assert 0 < figures["energy_score_gap_closed"] < 1
    assert figures["rollouts_per_cpu_second"] > 0


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    make_points(4, 4, purpose="test").save(tmp_path / "points")
    with pytest.raises(ValueError, match="task is point, expected arm-reach"):
        evaluate_worldmodel(EvalWorldModelConfig(folder / "codes", tmp_path / "points"))
    with pytest.raises(ValueError, match="give a model with one"):
        evaluate_worldmodel(EvalWorldModelConfig(folder / "one", folder / "test", baseline=folder / "codes"))
    with pytest.raises(ValueError, match="was made to train on; give a set made to test"):
        evaluate_worldmodel(EvalWorldModelConfig(folder / "codes", folder / "train"))
    with pytest.raises(ValueError, match="is for 'test', expected train"):
        train_worldmodel(WorldModelConfig(folder / "test", tmp_path / "run"))
    assert not (tmp_path / "run").exists()
