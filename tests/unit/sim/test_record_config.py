"""What `foreact record` refuses before it starts."""

from pathlib import Path
from typing import Any

import pytest

from foreact.episodes.store import EpisodeStore, StoreError
from foreact.sim.record import RecordConfig, record
from foreact.sim.registry import UnknownTask


@pytest.mark.parametrize(
    ("name", "value"),
    [("episodes", 0), ("episodes", 2**20), ("noise_std", -0.1), ("noise_std", float("nan")), ("noise_fraction", 1.5),
     ("noise_fraction", -0.5), ("frame_every", 0), ("hold_steps", -1), ("workers", 0), ("seed", -1), ("front", 4),
     ("wrist", 0), ("split", "test")],
)  # fmt: skip
def test_a_value_out_of_range_is_named(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name}="):
        RecordConfig(tmp_path / "store", ("reach",), **{name: value})


def test_an_unknown_task_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UnknownTask, match="did you mean reach-v3"):
        record(RecordConfig(tmp_path / "store", ("reahc",)))
    assert not (tmp_path / "store").exists()


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="not an episode store"):
        record(RecordConfig(tmp_path, ("reach",)))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_store_recorded_by_other_rules_is_refused(tmp_path: Path) -> None:
    from foreact.sim.metaworld import default_cameras, policy_contract

    EpisodeStore.create(tmp_path, policy_contract(default_cameras(96, 64)), attributes={"recorded": {"seed": 1}})
    with pytest.raises(StoreError, match="recorded"):
        record(RecordConfig(tmp_path, ("reach",), seed=2))
    assert not (tmp_path / "run.json").exists()
