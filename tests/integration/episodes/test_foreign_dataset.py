"""A real dataset that somebody else made, imported with what it says and no more."""

from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.convert import ConvertConfig, convert
from foreact.episodes.inspect import InspectConfig, inspect
from foreact.episodes.sources import SourceError
from foreact.episodes.store import EpisodeStore, StoreError

DATA = Path(__file__).parents[4] / "shared" / "data"
SOURCE = DATA / "g1_head_teleop_lerobot_v30"


@pytest.fixture(autouse=True)
def _needs_data() -> None:
    if not SOURCE.exists():
        pytest.skip(f"{SOURCE} is not here")
    pytest.importorskip("av")
    pytest.importorskip("pyarrow")


def test_import_of_one_episode(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    outcome = convert(ConvertConfig(SOURCE, tmp_path / "store", "store", episodes=(1,), chunk_length=10))
    assert outcome.figures["unknown"] == ["units", "frames of reference", "camera calibration", "seed", "success"]
    assert (outcome.figures["left_out"], outcome.figures["lossy_rgb"]) == ([], True)
    store = EpisodeStore.open(tmp_path / "store")
    contract = store.contract
    assert (contract.embodiment, contract.control_rate_hz, contract.chunk_length) == ("Unitree_G1_Inspire", 30.0, 10)
    assert contract.state.elements[:2] == ("kLeftShoulderPitch", "kLeftShoulderRoll")
    assert set(contract.state.units) == {"unknown"}
    assert (contract.cameras[0].mount, contract.cameras[0].intrinsics_known) == ("unknown", False)
    assert store.keys() == ["pick-up-the-yellow-bottle-on-the-table-00001"]
    episode = store.read(store.keys()[0])
    assert episode.instruction == "Pick up the yellow bottle on the table."
    assert episode.metadata == {"unknown": ["seed", "success"], "source_episode": 1}
    table = parquet.read_table(SOURCE / "data/chunk-000/file-000.parquet").slice(221, 277)
    np.testing.assert_array_equal(episode.streams["state"].data, np.array(table["observation.state"].to_pylist(), "f4"))
    np.testing.assert_array_equal(episode.streams["action"].data, np.array(table["action"].to_pylist(), "f4"))
    assert episode.streams["state"].time_ns[[1, 3]].tolist() == [33_333_333, 100_000_000]
    images = episode.streams["camera.cam_high.rgb"].data
    assert images.shape == (277, 480, 640, 3)
    np.testing.assert_array_equal(images[[0, 100, 276]], frames_by_number([221, 321, 497]))
    assert inspect(InspectConfig(tmp_path / "store")).rows[0][2] == "unknown"


def frames_by_number(wanted: list[int]) -> np.ndarray:
    """Decode from the start and count: slow, but sure where seeking by time might be off by one."""
    import av

    frames: dict[int, np.ndarray] = {}
    with av.open(str(SOURCE / "videos/observation.images.cam_high/chunk-000/file-000.mp4")) as container:
        frames = {i: f.to_ndarray(format="rgb24") for i, f in enumerate(container.decode(video=0)) if i in wanted}
    return np.stack([frames[i] for i in wanted])


def test_recordings_are_named_by_their_keys(tmp_path: Path) -> None:
    convert(ConvertConfig(SOURCE, tmp_path / "store", "store", recordings=("episode_000002",)))
    store = EpisodeStore.open(tmp_path / "store")
    assert [store.header(key).metadata["source_episode"] for key in store.keys()] == [2]


def test_inspect_reads_every_frame() -> None:
    outcome = inspect(InspectConfig(SOURCE, verify=True))
    assert (outcome.figures["episodes"], outcome.figures["frames"]) == (3, 765)


def test_what_cannot_be_converted(tmp_path: Path) -> None:
    out = tmp_path / "store"
    for config, message in [
        (ConvertConfig(SOURCE, out, "store", episodes=(7,)), r"has 3 episodes, so there are no episodes \[7\]"),
        (ConvertConfig(DATA / "robots", out, "store"), "no format is known that looks like this"),
        (ConvertConfig(SOURCE, out, "rlds"), "to='rlds': expected to=store, to=lerobot, to=mcap"),
        (ConvertConfig(SOURCE, out, "store", drop=("action",)), "drop= works with as_recorded=true only"),
        (ConvertConfig(SOURCE, out, "store", recordings=("episode_7",)), "has no recording episode_7"),
        (ConvertConfig(SOURCE, out, "store", video=True), "video= works with to=lerobot only"),
        (ConvertConfig(SOURCE, SOURCE, "store"), "exists; choose another out="),
    ]:
        with pytest.raises((StoreError, SourceError), match=message):
            convert(config)
        assert not out.exists()
