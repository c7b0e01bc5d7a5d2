"""A contract with pictures of 16 px, a policy of a few thousand weights and a store of two short episodes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foreact.episodes.contract import CameraSpec, FeatureSpec, LanguageSpec, PolicyContract
from foreact.episodes.store import Episode, EpisodeStore, Stream
from foreact.perception.language import InstructionEncoder
from foreact.perception.vision import KeypointEncoder
from foreact.vla.heads import HeadConfig
from foreact.vla.mlp import MLPConfig
from foreact.vla.policy import Policy, PolicyConfig
from foreact.vla.transformer import TransformerConfig

SIDE = 16
ELEMENTS = ("hand_x", "hand_y", "hand_z", "gripper_opening")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def contract() -> PolicyContract:
    state = FeatureSpec(
        "state", "float32", ELEMENTS, ("m", "m", "m", "1"), "base", (-1, 0, 0, 0), (1, 1, 1, 1), "bounds"
    )
    action = FeatureSpec(
        "action", "float32", ("dx", "dy", "dz", "grip"), ("cm", "cm", "cm", "1"), "base", (-1,) * 4, (1,) * 4, "none"
    )
    cameras = (
        CameraSpec("front", SIDE, SIDE, ("rgb", "depth"), 8, 8, 8, 8, "world", (0, 0, 1), (1, 0, 0, 0)),
        CameraSpec("wrist", SIDE, SIDE, ("rgb", "depth"), 8, 8, 8, 8, "body:hand", (0, 0, 0), (1, 0, 0, 0)),
    )
    return PolicyContract(1, "toy", 80.0, 4, state, action, cameras, LanguageSpec("crc32-words", 64, 6), None)


def tiny(kind: str = "l1") -> PolicyConfig:
    return PolicyConfig(
        vision=KeypointEncoder.Config(channels=(4, 6, 8), keypoints=4, summary=5),
        language=InstructionEncoder.Config(embedding=4, width=8),
        head=HeadConfig(kind=kind, width=16, depth=1),  # pyright: ignore[reportArgumentType]
    )


def configured(kind: str) -> Any:
    """A small configuration by its architecture, head and options, such as `keypoints-flow-prefix`."""
    architecture, *words = kind.split("-")
    prefix = 2 if "prefix" in words else 0
    if architecture == "mlp":
        return MLPConfig(widths=(8, 6))
    if architecture == "transformer":
        return TransformerConfig(
            width=12, head_width=4, heads=(3, 2), hidden=(16, 8), action_heads=(2, 1), context_heads=(1, 3),
            action_hidden=(10, 14), patch=8, stem=6, kind=words[0], steps=3, prefix=prefix,  # pyright: ignore[reportArgumentType]
        )  # fmt: skip
    return replace(tiny(), head=replace(tiny(words[0]).head, prefix=prefix))


def contract_for(kind: str, contract: PolicyContract) -> PolicyContract:
    """The contract, without what the architecture does not take."""
    return replace(contract, cameras=(), language=None) if kind == "mlp" else contract


@pytest.fixture
def fitting() -> Callable[[str, PolicyContract], PolicyContract]:
    return contract_for


@pytest.fixture
def make_config() -> Callable[[str], Any]:
    return configured


@pytest.fixture
def tiny_config() -> Callable[..., PolicyConfig]:
    return tiny


@pytest.fixture
def policy(contract: PolicyContract) -> Policy:
    torch.manual_seed(0)
    return tiny().build(contract)


def observation(contract: PolicyContract, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = {
        name: rng.integers(0, 256, (batch, SIDE, SIDE, 3), dtype=np.uint8)
        if name.endswith("rgb")
        else rng.integers(300, 2000, (batch, SIDE, SIDE)).astype(np.uint16)
        for name in contract.input_names
        if name.startswith("camera.")
    }
    state = rng.uniform(0, 1, (batch, 4)).astype(np.float32)
    return {**images, "state": state, "tokens": rng.integers(1, 64, (batch, 6))}


@pytest.fixture
def make_observation() -> Callable[..., dict[str, np.ndarray]]:
    return observation


def episode(contract: PolicyContract, steps: int, seed: int) -> Episode:
    rng = np.random.default_rng(seed)
    clock = np.arange(steps, dtype=np.int64) * 12_500_000
    seen = observation(contract, len(clock[::2]), seed)
    streams = {
        "state": Stream(rng.uniform(0, 1, (steps, 4)).astype(np.float32), clock, "m", 80.0),
        "action": Stream(rng.uniform(-1, 1, (steps, 4)).astype(np.float32), clock, "cm", 80.0),
    }
    streams |= {name: Stream(seen[name], clock[::2], "1", 40.0) for name in seen if name.startswith("camera.")}
    for camera in ("front", "wrist"):
        places = rng.uniform(0, 1, (len(clock[::2]), 3, 4)).astype(np.float32)
        streams[f"landmarks.{camera}"] = Stream(places, clock[::2], "m", 40.0)
    return Episode(streams, "reach-v3", "reach the ball", seed, True, {})


@pytest.fixture
def store(tmp_path: Path, contract: PolicyContract) -> EpisodeStore:
    store = EpisodeStore.create(tmp_path / "store", contract)
    for index in range(4):
        store.write(f"reach-v3-{index:05d}", episode(contract, 9, index))
    return store
