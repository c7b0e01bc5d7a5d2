import dataclasses
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from foreact.deploy_edge.actor import OnnxActor
from foreact.deploy_edge.model_file import describe, load_sealed, sealed_bytes
from foreact.deploy_edge.runtime.engine import EngineError, OnnxEngine
from foreact.deploy_edge.runtime.seal import BLANK, SEAL_KEY, close_seal
from foreact.episodes.contract import ContractError, PolicyContract

pytest.importorskip("onnx")


@pytest.fixture
def tiny() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_model", Path(__file__).with_name("tiny_model.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
