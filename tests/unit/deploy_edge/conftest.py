import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from foreact.episodes.contract import CameraSpec, FeatureSpec, LanguageSpec, PolicyContract


@pytest.fixture
def contract() -> PolicyContract:
    names = ("x", "y")
    return PolicyContract(
        version=1,
        embodiment="cart",
        control_rate_hz=50.0,
        chunk_length=4,
        state=FeatureSpec("state", "float32", names, ("m", "m"), "base", (-1.0, -1.0), (1.0, 1.0), "none"),
        action=FeatureSpec("action", "float32", names, ("m", "m"), "base", (-1.0, -1.0), (1.0, 1.0), "none"),
        cameras=(
            CameraSpec(
                "top", 6, 4, ("rgb", "depth"), 5.0, 5.0, 3.0, 2.0, "world", (0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0)
            ),
        ),
        language=LanguageSpec(),
        audio=None,
    )


@pytest.fixture
def bridge_path(tmp_path: Path) -> Path:
    return tmp_path / "robot.bridge"


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The module `tiny_model` beside this file: importlib import mode gives test folders no package."""
    spec = importlib.util.spec_from_file_location("deploy_edge_tiny_model", Path(__file__).with_name("tiny_model.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
