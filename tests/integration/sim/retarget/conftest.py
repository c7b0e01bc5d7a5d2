"""Real recordings and robots where they lie beside the repository, robots unpacked into a folder of the tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("mujoco")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOREACT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shadow_hand(shared_data: Path) -> Path:
    from foreact.sim.robot_archive import unpacked

    return unpacked(shared_data / "robots" / "shadow_hand.tar.xz")
