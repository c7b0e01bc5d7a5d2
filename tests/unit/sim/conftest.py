"""Stubs for tests of the simulation room."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


def _load() -> ModuleType:
    # importlib import mode gives test folders no package: load the stub by its path
    spec = importlib.util.spec_from_file_location("sim_stub_task", Path(__file__).with_name("stub_task.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def stub_task() -> Callable[..., object]:
    """The class `StubTask`."""
    return _load().StubTask
