"""Every test has a time limit, and one in a folder without a limit stops collection."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def limits(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("time_limits", root / "tests" / "conftest.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("tier", "seconds"), [("unit", 60), ("integration", 180), ("e2e", 600), ("gpu", 300)])
def test_a_tier_has_its_limit(limits: ModuleType, root: Path, tier: str, seconds: int) -> None:
    assert limits.timeout_of(root / "tests" / tier / "room" / "test_x.py") == seconds


def test_a_test_outside_the_tiers_fails_collection(limits: ModuleType, root: Path) -> None:
    with pytest.raises(pytest.UsageError, match="has no time limit"):
        limits.timeout_of(root / "tests" / "extra" / "test_x.py")


def test_this_very_test_has_the_limit_of_its_tier(request: pytest.FixtureRequest) -> None:
    marker = request.node.get_closest_marker("timeout")
    assert marker is not None and marker.args == (60,)
