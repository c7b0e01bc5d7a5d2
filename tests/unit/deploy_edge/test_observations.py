import dataclasses
from pathlib import Path

import numpy as np
import pytest

from foreact.deploy_edge.observations import draw_observations, only
from foreact.episodes.contract import ContractMismatch, PolicyContract
from foreact.episodes.language import tokenize
from foreact.episodes.store import Episode, EpisodeStore, StoreError, Stream


def episode(index: int, frames: int = 5) -> Episode:
    """Every number of an episode tells its index and its frame."""
    control = np.arange(2 * frames, dtype=np.int64) * 20_000_000
    clock = control[::2]
    marks = (100 * index + np.arange(frames)).astype(np.uint16)
    state = np.stack([np.full(2 * frames, index), np.arange(2 * frames)], 1).astype(np.float32)
    return Episode(
        {
            "state": Stream(state, control, "m", 50.0),
            "action": Stream(np.zeros((2 * frames, 2), np.float32), control, "m", 50.0),
            "camera.top.rgb": Stream(np.zeros((frames, 4, 6, 3), np.uint8), clock, "1", 25.0),
            "camera.top.depth": Stream(np.broadcast_to(marks[:, None, None], (frames, 4, 6)).copy(), clock, "mm", 25.0),
        },
        task="push",
        instruction=f"push number {index}",
        seed=index,
        success=True,
    )


@pytest.fixture
def store(tmp_path: Path, contract: PolicyContract) -> Path:
    made = EpisodeStore.create(tmp_path / "store", contract)
    for index in range(6):
        made.write(f"push-{index:05d}", episode(index))
    return tmp_path / "store"


def test_images_state_and_instruction_belong_to_the_same_instant(store: Path, contract: PolicyContract) -> None:
    for inputs in draw_observations(store, contract, 10, 0, "held out"):
        index, frame = divmod(int(inputs["camera.top.depth"][0, 0, 0]), 100)
        assert inputs["state"].tolist() == [[index, 2 * frame]]
        assert contract.language is not None
        assert np.array_equal(inputs["tokens"][0], tokenize(f"push number {index}", contract.language))
        assert inputs["noise"].shape == (1, 4, 2)
        contract.check_observation(only(inputs, contract.input_names), "test")


def test_the_two_halves_share_no_episode_and_the_draw_repeats(store: Path, contract: PolicyContract) -> None:
    halves = {part: draw_observations(store, contract, 12, 3, part) for part in ("calibration", "held out")}
    episodes = {part: {int(i["state"][0, 0]) for i in drawn} for part, drawn in halves.items()}
    assert episodes == {"calibration": {0, 2, 4}, "held out": {1, 3, 5}}
    again = draw_observations(store, contract, 12, 3, "held out")
    for first, second in zip(halves["held out"], again, strict=True):
        assert all(np.array_equal(first[name], second[name]) for name in first)
    assert len(halves["held out"]) == 12


def test_more_than_there_are_gives_all_there_are(store: Path, contract: PolicyContract) -> None:
    assert len(draw_observations(store, contract, 1000, 0, "calibration")) == 15


def test_a_store_of_another_robot_is_refused(store: Path, contract: PolicyContract) -> None:
    faster = dataclasses.replace(contract, control_rate_hz=80.0)
    with pytest.raises(ContractMismatch, match="control_rate_hz: expected 80.0, got 50.0"):
        draw_observations(store, faster, 1, 0, "held out")


def test_one_episode_cannot_be_split(tmp_path: Path, contract: PolicyContract) -> None:
    EpisodeStore.create(tmp_path / "one", contract).write("push-00000", episode(0))
    with pytest.raises(StoreError, match="two of one task"):
        draw_observations(tmp_path / "one", contract, 1, 0, "held out")


def test_a_prefix_is_what_was_done_next(tmp_path: Path, contract: PolicyContract) -> None:
    made = EpisodeStore.create(tmp_path / "store", contract)
    for index in range(2):
        streams = dict(episode(index).streams)
        actions = np.stack([np.full(10, index), np.arange(10)], 1).astype(np.float32) / 10
        streams["action"] = dataclasses.replace(streams["action"], data=actions)
        made.write(f"push-{index:05d}", dataclasses.replace(episode(index), streams=streams))
    drawn = draw_observations(tmp_path / "store", contract, 5, 0, "held out", longest_delay=2)
    assert [inputs["delay"].tolist() for inputs in drawn] == [[0], [1], [2], [0], [1]]
    for inputs in drawn:
        step = inputs["state"][0, 1]
        wanted = np.minimum(step + np.arange(4), 9) / 10  # the last action is held
        np.testing.assert_allclose(inputs["prefix"][0, :, 1], wanted, rtol=1e-6)


def test_a_contract_without_cameras_and_language_is_drawn_at_control_steps(
    tmp_path: Path, contract: PolicyContract
) -> None:
    bare = dataclasses.replace(contract, cameras=(), language=None)
    made = EpisodeStore.create(tmp_path / "store", bare)
    for index in range(2):
        streams = {name: each for name, each in episode(index).streams.items() if not name.startswith("camera.")}
        made.write(f"push-{index:05d}", dataclasses.replace(episode(index), streams=streams))
    drawn = draw_observations(tmp_path / "store", bare, 20, 0, "held out")
    assert [inputs["state"][0, 1] for inputs in drawn] == list(range(10))
    assert set(drawn[0]) == {"state", "noise", "prefix", "delay"}
