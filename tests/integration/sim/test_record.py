"""`foreact record` end to end: what is stored, by how many workers, and after being killed."""

import contextlib
import hashlib
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco_warp")

from foreact.episodes.store import EpisodeStore, StoreError
from foreact.sim.instructions import metaworld_text
from foreact.sim.record import RecordConfig, record

TASKS = ("reach", "button-press-topdown", "drawer-open")


def _config(out: Path) -> RecordConfig:
    return RecordConfig(out, TASKS, episodes=5, noise_std=0.3, frame_every=10, front=16, wrist=16, workers=1)


def _digests(store: Path) -> dict[str, str]:
    """Of every file but the description of the run, which names the time and the number of workers."""
    files = sorted(path for path in store.rglob("*") if path.is_file() and path.name != "run.json")
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _wait_for_the_end_of(group: int) -> None:
    """Wait for every process of a group: one that waits for a slow disk lives on for a while after its kill."""
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.killpg(group, 0)
            time.sleep(0.01)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("record") / "store"
    outcome = record(_config(out))
    assert outcome.path == out
    assert outcome.figures["episodes"] == 15
    assert [row[0] for row in outcome.rows] == ["reach-v3", "button-press-topdown-v3", "drawer-open-v3"]
    assert {row[1] for row in outcome.rows} == {"5"}
    return out


def test_every_episode_is_whole_and_successful(recorded: Path) -> None:
    store = EpisodeStore.open(recorded)
    assert store.verify() == []
    for key in store.keys():
        header = store.header(key)
        assert header.success
        assert header.instruction in metaworld_text(header.task).train
        steps, frames = header.lengths["action"], header.lengths["camera.front.rgb"]
        assert frames == -(-steps // 10) == header.lengths["camera.wrist.depth"]
        success = store.read(key, ["success"]).streams["success"].data
        assert success.argmax() == steps - 21, "20 steps are recorded after the first success"


def test_streams_share_one_clock_from_reset(recorded: Path) -> None:
    episode = EpisodeStore.open(recorded).read("drawer-open-v3-00001")
    action, rgb = episode.streams["action"], episode.streams["camera.front.rgb"]
    np.testing.assert_array_equal(action.time_ns, np.arange(len(action.data)) * 12_500_000)
    np.testing.assert_array_equal(rgb.time_ns, action.time_ns[::10])
    assert (action.rate_hz, rgb.rate_hz) == (80.0, 8.0)
    assert action.unit == "cm,cm,cm,1"


def test_half_the_attempts_execute_noise_and_labels_stay_clean(recorded: Path) -> None:
    store = EpisodeStore.open(recorded)
    for key in store.keys():
        episode = store.read(key, ["action", "action.executed"])
        label, executed = (episode.streams[name].data for name in ("action", "action.executed"))
        noisy = int(key[-5:]) % 2 == 1
        assert episode.metadata["noise_std"] == (0.3 if noisy else 0.0)
        assert np.array_equal(label, executed) is not noisy


def test_recording_again_adds_nothing(recorded: Path) -> None:
    before = _digests(recorded)
    outcome = record(_config(recorded))
    assert outcome.figures["frames_drawn"] == 0
    assert _digests(recorded) == before


def test_two_workers_in_two_steps_store_the_same_digests(recorded: Path, tmp_path: Path) -> None:
    record(replace(_config(tmp_path / "store"), episodes=2))
    record(replace(_config(tmp_path / "store"), workers=2))
    assert _digests(tmp_path / "store") == _digests(recorded)


def test_killed_and_continued_it_stores_the_same_digests(recorded: Path, tmp_path: Path) -> None:
    out, script = tmp_path / "store", tmp_path / "victim.py"
    script.write_text(
        "from pathlib import Path\n"
        "from foreact.sim.record import RecordConfig, record\n"
        "if __name__ == '__main__':\n"
        f"    record(RecordConfig(Path({str(out)!r}), {TASKS!r}, episodes=5, noise_std=0.3, frame_every=10,\n"
        "                        front=16, wrist=16, workers=2))\n"
    )
    victim = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    episodes = out / "episodes"
    while victim.poll() is None and not any(episodes.glob("[a-z]*-v3-*")):
        time.sleep(0.002)
    victim.kill()
    victim.wait()
    _wait_for_the_end_of(victim.pid)  # its workers notice that it is gone
    stored = len(EpisodeStore.open(out))
    assert 0 < stored < 15, "it was killed too late to prove anything"
    record(_config(out))
    assert _digests(out) == _digests(recorded)


def test_other_rules_are_refused_and_change_nothing(recorded: Path) -> None:
    before = _digests(recorded)
    with pytest.raises(StoreError, match=r"noise_std"):
        record(replace(_config(recorded), noise_std=0.2))
    assert _digests(recorded) == before


def test_segmentation_is_recorded_on_request(tmp_path: Path) -> None:
    config = replace(_config(tmp_path / "store"), tasks=("reach",), episodes=1, frame_every=40, segmentation=True)
    record(config)
    store = EpisodeStore.open(tmp_path / "store")
    assert store.read("reach-v3-00000").streams["camera.wrist.segmentation"].data.any()
