"""A store of real demonstrations, small enough for tests: two tasks, two episodes each, pictures of 32 px."""

from pathlib import Path

import pytest

from foreact.sim.record import RecordConfig, record


@pytest.fixture(scope="session")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demonstrations") / "store"
    record(RecordConfig(out, ("reach", "drawer-open"), episodes=2, frame_every=8, front=32, wrist=16, workers=1))
    return out
