"""A small world model of a real scene, and true futures of that scene."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from foreact.worldmodels.branching import make_branches
from foreact.worldmodels.checkpoint import save_model
from foreact.worldmodels.models.batch import gather_sets
from foreact.worldmodels.models.codes import CodesConfig
from foreact.worldmodels.models.predictor import PredictorConfig
from foreact.worldmodels.models.signature import Signature
from foreact.worldmodels.scenes import scene
from foreact.worldmodels.trainer import OptimisationConfig, Trainer

SMALL = CodesConfig(predictor=PredictorConfig(width=32, depth=1, codes=4, code_width=16), latent=16, encoder_width=32)


@dataclass(frozen=True)
class Made:
    """Where model and states lie."""

    model: Path
    states: Path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A model after some updates, and 12 states with 6 true futures each."""
    folder = tmp_path_factory.mktemp("imagine")
    chosen = scene("arm-reach-passer")
    train = make_branches(chosen, "train", 128, 4, seed=1000)
    torch.manual_seed(0)
    model, data = SMALL.build(Signature.of(train)), gather_sets([train])
    model.prepare(data)
    trainer = Trainer(model, data, OptimisationConfig(updates=40, batch=64, warmup=5), 0)
    for _ in range(40):
        trainer.update()
    save_model(folder / "model", SMALL, Signature.of(train), trainer.averaged(), {"updates": 40})
    make_branches(chosen, "test", 12, 6, seed=1000).save(folder / "states")
    return Made(folder / "model", folder / "states")
