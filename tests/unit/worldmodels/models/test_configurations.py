"""The named configurations of the command line build, and are what their names say."""

from pathlib import Path

import pytest
import yaml

from foreact.cli.door import build
from foreact.worldmodels.models.codes import CodesConfig
from foreact.worldmodels.models.registry import MODELS
from foreact.worldmodels.models.signature import Signature
from foreact.worldmodels.train import WorldModelConfig

FOLDER = Path("cli/foreact/cli/conf/train-worldmodel/worldmodel")
SIGNATURE = Signature("task", tuple("abcdefgh"), (0, 1, 2), tuple("wxyz"), 20.0, 16)


@pytest.fixture
def named(request: pytest.FixtureRequest) -> dict[str, object]:
    files = (request.config.rootpath / FOLDER).glob("*.yaml")
    return {file.stem: yaml.safe_load(file.read_text()) for file in files}


def test_every_name_builds(named: dict[str, object]) -> None:
    assert {"tiny", "small", "base", "large", *MODELS} - {"codes"} == named.keys()
    parameters = {}
    for name, values in named.items():
        config = build(WorldModelConfig, {"data": "a", "out": "b", "worldmodel": values})
        assert config.worldmodel.kind == (name if name in MODELS else "codes")
        if name != "large":
            parameters[name] = sum(each.numel() for each in config.worldmodel.build(SIGNATURE).parameters())
    assert parameters["tiny"] < 1e6 < parameters["small"] < 1e7 < parameters["base"]


def test_tiny_is_the_default(named: dict[str, object]) -> None:
    config = build(WorldModelConfig, {"data": "a", "out": "b", "worldmodel": named["tiny"]})
    assert config.worldmodel == CodesConfig()
