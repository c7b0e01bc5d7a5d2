"""Where the picture does not say what is wanted, the instruction decides, and only if the data tie the two together."""

import dataclasses
from pathlib import Path

import pytest
import torch

from foreact.episodes.language import tokenize
from foreact.episodes.store import EpisodeStore
from foreact.perception.vision import KeypointEncoder
from foreact.vla.chunk_policy import ChunkPolicy
from foreact.vla.dataset import Demonstrations, load_demonstrations
from foreact.vla.heads import HeadConfig
from foreact.vla.policy import PolicyConfig
from foreact.vla.trainer import OptimisationConfig, Trainer

LEFT, RIGHT = "move to the left", "go right"


def two_sentences(store: EpisodeStore, linked: bool) -> Demonstrations:
    """Real pictures twice: LEFT asks for -0.5 along x, RIGHT for +0.5; unlinked, either is said at random."""
    samples = load_demonstrations(store, store.keys(), store.contract)
    count, language = len(samples), store.contract.language
    assert language is not None
    tokens = torch.stack([torch.from_numpy(tokenize(text, language)) for text in (LEFT, RIGHT)]).repeat_interleave(
        count, 0
    )
    if not linked:
        tokens = tokens[torch.randperm(2 * count, generator=torch.Generator().manual_seed(0))]
    chunk = torch.zeros(2 * count, *samples.chunk.shape[1:])
    chunk[:count, :, 0], chunk[count:, :, 0] = -0.5, 0.5
    doubled = {name: torch.cat([values, values]) for name, values in samples.inputs.items()}
    return Demonstrations({**doubled, "tokens": tokens}, chunk, torch.ones(2 * count, chunk.shape[1]), {})


def sideways(store: EpisodeStore, linked: bool) -> tuple[float, float]:
    """Mean command along x of a freshly trained policy, told LEFT and told RIGHT."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    vision = KeypointEncoder.Config(channels=(4, 6, 8), keypoints=4, summary=8)
    policy = PolicyConfig(vision=vision, head=HeadConfig(width=32, depth=1)).build(store.contract)
    config = OptimisationConfig(
        updates=120, batch=16, learning_rate=3e-3, warmup=5, shift=1, landmark_weight=0, ema=0.9
    )
    trainer = Trainer(policy, two_sentences(store, linked), config, seed=0)
    for _ in range(config.updates):
        trainer.update()
    return command(trainer.average, trainer.data, 0), command(trainer.average, trainer.data, len(trainer.data) // 2)


def command(policy: ChunkPolicy, samples: Demonstrations, start: int) -> float:
    language = policy.contract.language
    assert language is not None
    seen = {name: values[:8] for name, values in samples.inputs.items()}
    text = LEFT if start == 0 else RIGHT
    seen["tokens"] = torch.from_numpy(tokenize(text, language)).repeat(8, 1)
    return policy.act(seen)[..., 0].mean().item()


def test_swapping_the_instruction_turns_the_policy_around(demonstrations: Path) -> None:
    left, right = sideways(EpisodeStore.open(demonstrations), linked=True)
    assert left < -0.3
    assert right > 0.3


def test_an_instruction_that_meant_nothing_in_training_changes_little(demonstrations: Path) -> None:
    left, right = sideways(EpisodeStore.open(demonstrations), linked=False)
    assert abs(left - right) < 0.3


def test_landmarks_are_asked_for_only_where_they_exist(demonstrations: Path) -> None:
    store = EpisodeStore.open(demonstrations)
    bare = dataclasses.replace(two_sentences(store, linked=True), landmarks={})
    with pytest.raises(ValueError, match="landmark_weight=0"):
        Trainer(PolicyConfig().build(store.contract), bare, OptimisationConfig(), seed=0)
