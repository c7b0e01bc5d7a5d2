import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes.inspect import InspectConfig, inspect
from foreact.episodes.sources import SourceError
from foreact.episodes.store import Episode, EpisodeStore, StoreError


@pytest.fixture
def filled(store: EpisodeStore, make_episode: Callable[..., Episode]) -> EpisodeStore:
    store.write("reach-v3-00000", make_episode(7))
    store.write("reach-v3-00001", make_episode(8, seed=1, success=False, instruction="touch the ball"))
    store.write("push-v3-00000", make_episode(16, seed=2, task="push-v3", instruction="push the puck"))
    return store


def test_summary(filled: EpisodeStore) -> None:
    outcome = inspect(InspectConfig(filled.path))
    assert outcome.columns[:5] == ("task", "episodes", "success", "frames", "seconds")
    # 7 and 8 steps at 80 Hz are 4 + 4 frames and 15 / 80 s
    assert outcome.rows[0][:5] == ("push-v3", "1", "1.000", "8", "0.2")
    assert outcome.rows[1][:5] == ("reach-v3", "2", "0.500", "8", "0.2")
    assert outcome.rows[1][6] == "reach the red ball (+1 more)"
    figures: Any = outcome.figures
    assert (figures["episodes"], figures["frames"], figures["success_rate"]) == (3, 16, 2 / 3)
    assert figures["contract_hash"] == filled.contract.hash
    assert figures["streams"]["camera.front.depth"] == "uint16 [4, 6] [mm] 40 Hz"
    json.dumps(figures, allow_nan=False)


def test_ranges_are_those_of_the_data(filled: EpisodeStore) -> None:
    ranges: Any = inspect(InspectConfig(filled.path)).figures["ranges"]
    states = np.concatenate([filled.read(key, ["state"]).streams["state"].data for key in filled.keys()])
    assert ranges["state"]["gripper"]["max"] == states[:, 3].max()
    assert ranges["state"]["hand_x"]["min"] == states[:, 0].min()
    assert ranges["state"]["hand_z"] == {**ranges["state"]["hand_z"], "unit": "m", "contract": [0.0, 0.5]}
    assert set(ranges["action"]) == set(filled.contract.action.elements)


def test_empty_store(store: EpisodeStore) -> None:
    outcome = inspect(InspectConfig(store.path, verify=True))
    assert (outcome.rows, outcome.figures["episodes"], outcome.figures["success_rate"]) == ((), 0, None)


def test_unknown_success_is_not_counted_as_failure(store: EpisodeStore, make_episode: Callable[..., Episode]) -> None:
    store.write("a-0", make_episode(4, success=False, metadata={"unknown": ["seed", "success"]}))
    outcome = inspect(InspectConfig(store.path))
    assert outcome.figures["success_rate"] is None
    assert outcome.rows[0][2] == "unknown"


def test_verify_fails_with_the_list_of_problems(filled: EpisodeStore) -> None:
    assert inspect(InspectConfig(filled.path, verify=True)).figures["verified"] is True
    (filled.path / "episodes/push-v3-00000/state/c.0.0").unlink()
    (filled.path / "episodes/reach-v3-00001/action/c.0.0").unlink()
    with pytest.raises(StoreError, match=r"has 2 problem\(s\):\n.*push-v3-00000.*\n.*reach-v3-00001"):
        inspect(InspectConfig(filled.path, verify=True))


def test_contact_sheet_shows_the_first_frames(filled: EpisodeStore, tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    path = tmp_path / "out" / "sheet.png"
    outcome = inspect(InspectConfig(filled.path, sheet=path, episodes_per_task=1))
    assert outcome.figures["sheet"] == str(path)
    pixels = np.asarray(image_module.open(path))
    # two tasks x four image streams of (4 + 14 + 2) x (6 + 2) px
    assert pixels.shape == (40, 32, 3)
    first = filled.read("push-v3-00000", ["camera.front.rgb", "camera.front.depth"]).streams
    np.testing.assert_array_equal(pixels[14:18, 8:14], first["camera.front.rgb"].data[0])
    depth = first["camera.front.depth"].data[0]
    nearest = np.unravel_index(np.where(depth > 0, depth, 65535).argmin(), depth.shape)
    assert pixels[14:18, 0:6][nearest].tolist() == [255, 255, 255]
    assert [item.name for item in path.parent.iterdir()] == ["sheet.png"]


def test_no_sheet_of_nothing(store: EpisodeStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no images"):
        inspect(InspectConfig(store.path, sheet=tmp_path / "sheet.png"))


def test_neither_store_nor_dataset(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no format is known that looks like this"):
        inspect(InspectConfig(tmp_path))
