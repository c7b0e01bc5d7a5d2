from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.contract import PolicyContract
from foreact.episodes.store import EpisodeStore, StoreError
from foreact.vla.dataset import load_demonstrations


def test_samples_pair_each_frame_with_the_actions_that_follow(store: EpisodeStore, contract: PolicyContract) -> None:
    samples = load_demonstrations(store, store.keys(), contract)
    episode = store.read("reach-v3-00001")
    actions, frames = episode.streams["action"].data, episode.streams["camera.front.rgb"].data
    assert len(samples) == 4 * 5  # 9 control steps, a frame every second one
    third = 5 + 2  # third frame of the second episode: control step 4
    assert np.array_equal(samples.inputs["camera.front.rgb"][third].numpy(), frames[2])
    assert np.array_equal(samples.inputs["state"][third].numpy(), episode.streams["state"].data[4])
    assert np.array_equal(samples.chunk[third].numpy(), actions[4:8])


def test_past_the_end_the_last_action_repeats_and_is_masked(store: EpisodeStore, contract: PolicyContract) -> None:
    samples = load_demonstrations(store, store.keys()[:1], contract)
    actions = store.read("reach-v3-00000").streams["action"].data
    assert samples.mask[-1].tolist() == [1, 0, 0, 0]  # the last frame stands at the last of 9 steps
    assert np.array_equal(samples.chunk[-1].numpy(), np.repeat(actions[-1:], 4, 0))


def test_an_empty_store_says_what_to_type(tmp_path: Path, contract: PolicyContract) -> None:
    empty = EpisodeStore.create(tmp_path / "empty", contract)
    with pytest.raises(StoreError, match="foreact record"):
        load_demonstrations(empty, [], contract)
