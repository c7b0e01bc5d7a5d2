"""A tiny untrained policy, a store of random pictures, and what is exported from them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.contract import PolicyContract
from foreact.episodes.store import Episode, EpisodeStore, Stream

pytest.importorskip("onnx")
pytest.importorskip("torch")

FRONT, WRIST = 32, 16


def random_episode(contract: PolicyContract, seed: int, frames: int = 6) -> Episode:
    rng = np.random.default_rng(seed)
    control = np.arange(2 * frames, dtype=np.int64) * 12_500_000
    streams = {
        "state": Stream(
            rng.uniform(contract.state.low, contract.state.high, (2 * frames, 4)).astype(np.float32), control, "m", 80.0
        ),
        "action": Stream(rng.uniform(-1, 1, (2 * frames, 4)).astype(np.float32), control, "cm", 80.0),
    }
    for camera in contract.cameras:
        size = (frames, camera.height, camera.width)
        streams[f"camera.{camera.name}.rgb"] = Stream(
            rng.integers(0, 256, (*size, 3), dtype=np.uint8), control[::2], "1", 40.0
        )
        streams[f"camera.{camera.name}.depth"] = Stream(
            rng.integers(300, 1500, size, dtype=np.uint16), control[::2], "mm", 40.0
        )
    return Episode(streams, "reach-v3", "reach the goal", seed, True)


@pytest.fixture(scope="session")
def contract() -> PolicyContract:
    from foreact.sim.metaworld import default_cameras, policy_contract

    return policy_contract(default_cameras(FRONT, WRIST))


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, contract: PolicyContract) -> Path:
    path = tmp_path_factory.mktemp("data") / "store"
    made = EpisodeStore.create(path, contract)
    for seed in range(6):
        made.write(f"reach-v3-{seed:05d}", random_episode(contract, seed))
    return path


@pytest.fixture(scope="session")
def make_policy(tmp_path_factory: pytest.TempPathFactory, contract: PolicyContract) -> Callable[..., Path]:
    """A function that saves an untrained policy: kind of head, seed -> folder."""

    def make(kind: str = "l1", seed: int = 0) -> Path:
        import torch

        from foreact.vla.checkpoint import save_policy
        from foreact.vla.heads import HeadConfig
        from foreact.vla.policy import PolicyConfig

        torch.manual_seed(seed)
        assert kind in ("l1", "flow")
        policy = PolicyConfig(head=HeadConfig(kind=kind)).build(contract)
        path = tmp_path_factory.mktemp("policy") / f"{kind}-{seed}"
        save_policy(path, policy)
        return path

    return make


@pytest.fixture(scope="session")
def policy(make_policy: Callable[..., Path]) -> Path:
    return make_policy()


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, policy: Path, store: Path) -> Path:
    from foreact.deploy_edge.export import ExportConfig, export

    path = tmp_path_factory.mktemp("exported") / "policy.onnx"
    export(ExportConfig(policy, path, store, observations=8, rounds=2))
    return path
