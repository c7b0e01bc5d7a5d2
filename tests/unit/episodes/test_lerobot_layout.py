import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from foreact.episodes.arrays import StoreError
from foreact.episodes.contract import PolicyContract
from foreact.episodes.episode import Episode, EpisodeHeader, Stream, StreamHeader
from foreact.episodes.lerobot_layout import (
    TIME,
    TableLayout,
    check_episode_fits,
    episode_streams,
    image_column,
    plan_table,
    table_rows,
)


def header_of(episode: Episode) -> EpisodeHeader:
    streams = {
        name: StreamHeader(str(s.data.dtype), s.data.shape, s.unit, s.rate_hz, "clock.0")
        for name, s in episode.streams.items()
    }
    return EpisodeHeader("t", "i", 0, True, {}, streams, {})


def layout_of(episode: Episode, contract: PolicyContract) -> TableLayout:
    return plan_table(header_of(episode), contract)


def test_column_names() -> None:
    assert image_column("camera.front.rgb") == "observation.images.front"
    assert image_column("camera.front.depth") == "observation.images.front_depth"


def test_rows_by_hand(contract: PolicyContract, make_episode: Callable[..., Episode]) -> None:
    episode = make_episode(5)
    layout = layout_of(episode, contract)
    assert (layout.fps, layout.steps_per_frame) == (40, 2)
    rows = table_rows(layout, episode, "a-0")
    # 5 steps at 2 per row: rows start at steps 0, 2, 4; step 4 is repeated to fill the last row
    np.testing.assert_array_equal(rows["observation.state"], episode.streams["state"].data[[0, 2, 4]])
    np.testing.assert_array_equal(rows["action"], episode.streams["action"].data[[0, 2, 4]])
    reward = episode.streams["reward"].data
    np.testing.assert_array_equal(rows["steps.reward"], reward[[[0, 1], [2, 3], [4, 4]]])
    assert rows[TIME].tolist() == [[0, 12_500_000], [25_000_000, 37_500_000], [50_000_000, 50_000_000]]
    assert rows["steps.action"].shape == (3, 8)
    assert rows["observation.images.front_depth"].shape == (3, 4, 6)
    landmarks = episode.streams["landmarks.front"].data
    np.testing.assert_array_equal(rows["frames.landmarks.front"], landmarks.reshape(3, 12))


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 31])
def test_rows_and_back(contract: PolicyContract, make_episode: Callable[..., Episode], steps: int) -> None:
    episode = make_episode(steps, seed=steps)
    layout = layout_of(episode, contract)
    streams = episode_streams(layout, table_rows(layout, episode, "a-0"), steps)
    assert set(streams) == set(episode.streams)
    for name, stream in episode.streams.items():
        np.testing.assert_array_equal(streams[name].data, stream.data)
        np.testing.assert_array_equal(streams[name].time_ns, stream.time_ns)
        assert streams[name].data.dtype == stream.data.dtype
        assert (streams[name].unit, streams[name].rate_hz) == (stream.unit, stream.rate_hz)


def with_stream(episode: Episode, name: str, **change: object) -> Episode:
    stream = dataclasses.replace(episode.streams[name], **change)
    return dataclasses.replace(episode, streams={**episode.streams, name: stream})


def test_rates_that_no_table_can_hold(contract: PolicyContract, make_episode: Callable[..., Episode]) -> None:
    episode = make_episode(5)
    with pytest.raises(StoreError, match=r"cameras run at \[20.0, 40.0\] Hz"):
        layout_of(with_stream(episode, "camera.wrist.rgb", rate_hz=20.0), contract)
    for name in [name for name in episode.streams if name.startswith("camera.")]:
        episode = with_stream(episode, name, rate_hz=30.0)
    with pytest.raises(StoreError, match="divides the control rate, got 30.0 Hz images and 80.0 Hz control"):
        layout_of(episode, contract)


def test_columns_that_would_collide(contract: PolicyContract, make_episode: Callable[..., Episode]) -> None:
    episode = make_episode(5)
    clash = dict(episode.streams)
    clash["camera.front_depth.rgb"] = clash["camera.front.rgb"]
    with pytest.raises(StoreError, match="would share a LeRobot column"):
        layout_of(dataclasses.replace(episode, streams=clash), contract)


def test_clocks_off_the_grid(contract: PolicyContract, make_episode: Callable[..., Episode]) -> None:
    episode = make_episode(5)
    layout = layout_of(episode, contract)
    late = episode.streams["camera.front.rgb"].time_ns + np.array([0, 0, 1])
    with pytest.raises(StoreError, match="camera.front.rgb does not tick with the every k-th control step"):
        table_rows(layout, with_stream(episode, "camera.front.rgb", time_ns=late), "a-0")
    with pytest.raises(StoreError, match="reward does not tick with the control clock"):
        table_rows(layout, with_stream(episode, "reward", time_ns=np.arange(5)), "a-0")
    drifted = {
        name: dataclasses.replace(stream, time_ns=stream.time_ns * 11 // 10) for name, stream in episode.streams.items()
    }
    # two frames later a clock that is 10 % slow is 5 ms off, a fifth of the 25 ms period
    with pytest.raises(StoreError, match="up to 5.00 ms off a fixed 40 Hz rate"):
        table_rows(layout, dataclasses.replace(episode, streams=drifted), "a-0")


def test_episodes_that_differ(contract: PolicyContract, make_episode: Callable[..., Episode]) -> None:
    episode = make_episode(5)
    layout = layout_of(episode, contract)
    check_episode_fits(layout, header_of(make_episode(9)), "a-1")
    fewer = {name: stream for name, stream in episode.streams.items() if name != "reward"}
    with pytest.raises(StoreError, match="a-1: stream reward is None, in the first episode it is"):
        check_episode_fits(layout, header_of(dataclasses.replace(episode, streams=fewer)), "a-1")


def test_without_cameras_a_row_is_a_step(contract: PolicyContract, make_episode: Callable[..., Episode]) -> None:
    blind = dataclasses.replace(contract, cameras=())
    episode = make_episode(3)
    streams = {name: s for name, s in episode.streams.items() if not name.startswith(("camera.", "landmarks."))}
    layout = layout_of(Episode(streams, "t", "i", 0, True), blind)
    assert (layout.fps, layout.steps_per_frame) == (80, 1)
    rows = table_rows(layout, Episode(streams, "t", "i", 0, True), "a-0")
    np.testing.assert_array_equal(rows["steps.state"], episode.streams["state"].data)
    assert isinstance(episode_streams(layout, rows, 3)["state"], Stream)
