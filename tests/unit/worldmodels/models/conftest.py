"""Small sets of points with a hidden gain, and small models of every kind."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from foreact.worldmodels.branches import Branches
from foreact.worldmodels.models.codes import CodesConfig
from foreact.worldmodels.models.flow import FlowConfig
from foreact.worldmodels.models.mixture import MixtureConfig
from foreact.worldmodels.models.predictor import PredictorConfig
from foreact.worldmodels.models.recurrent import RecurrentConfig
from foreact.worldmodels.models.regression import CopyConfig, DeterministicConfig, LinearConfig
from foreact.worldmodels.models.tdmpc import EmbeddingConfig
from foreact.worldmodels.points import make_points

SMALL = PredictorConfig(width=16, depth=1, codes=3, code_width=8)
ONE = PredictorConfig(width=16, depth=1, codes=1, code_width=8)
CAUSAL = PredictorConfig(architecture="transformer", width=16, depth=1, codes=3, heads=2)
CONFIGS: dict[str, Any] = {
    "codes": CodesConfig(predictor=SMALL, latent=4, encoder_width=8, member_width=4),
    "codes-residual": CodesConfig(predictor=SMALL, latent=4, encoder_width=8, residual=2, samples=2),
    "codes-transformer": CodesConfig(predictor=CAUSAL, latent=4, encoder_width=8),
    "copy-last": CopyConfig(),
    "linear": LinearConfig(),
    "deterministic": DeterministicConfig(predictor=ONE, latent=4, encoder_width=8),
    "mdn": MixtureConfig(predictor=SMALL, latent=4, encoder_width=8),
    "flow": FlowConfig(width=16, depth=1, samples=3, steps=2, drawn=2),
    "rssm": RecurrentConfig(deterministic=8, stochastic=4, width=8, samples=3),
    "tdmpc2": EmbeddingConfig(latent=16, width=16, members=2),
}


@pytest.fixture(scope="session")
def points() -> Branches:
    return make_points(24, 4, seed=1000, horizon=4)


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> Any:
    return CONFIGS[request.param]


@pytest.fixture(scope="session")
def configs() -> dict[str, Any]:
    return CONFIGS


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def built() -> Callable[[Any, Branches], Any]:
    from foreact.worldmodels.models.batch import gather_sets
    from foreact.worldmodels.models.signature import Signature

    def build(config: Any, branches: Branches) -> Any:
        torch.manual_seed(1)
        model = config.build(Signature.of(branches))
        model.prepare(gather_sets([branches]))
        return model

    return build
