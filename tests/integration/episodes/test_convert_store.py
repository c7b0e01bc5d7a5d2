"""Any recording to a store: equal to its source, the same bytes after kill -9 and from several processes."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")

from foreact.episodes.arrays import StoreError
from foreact.episodes.convert import ConvertConfig, convert
from foreact.episodes.convert_parts import differences, without
from foreact.episodes.inspect import InspectConfig, inspect
from foreact.episodes.recording_store import RecordingStore, write_recordings
from foreact.episodes.sources import SourceError, open_collection
from foreact.episodes.sources.parts import PartsSource, array_part
from foreact.episodes.sources.protocol import Stream

DATA = Path(__file__).parents[4] / "shared" / "data"
KEYS = 6
SECRET = "under the apple tree"


def recording(key: str) -> PartsSource:
    rng = np.random.default_rng(sum(map(ord, key)))
    times = np.array([30, 10, 10, 40], np.int64) * 1_000_000
    values: dict[str, tuple[Any, np.ndarray]] = {
        "camera.rgb": ("image", rng.integers(0, 255, (4, 60, 80, 3), np.uint8)),
        "state": ("vector", rng.normal(size=(4, 2))),
        "audio.mic": ("audio", rng.integers(-99, 99, (4, 16, 2)).astype(np.int16)),
        "gps": ("text", np.array([SECRET] * 4)),
    }
    return PartsSource(key, [
        array_part(Stream(name, kind, each.shape[1:], "str" if kind == "text" else str(each.dtype)), times, each)
        for name, (kind, each) in values.items()
    ], task="open the door", notes=("no map",))  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "recordings"
    write_recordings(path, [recording(f"r{number}") for number in range(KEYS)])
    return path


def content(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_several_processes_give_the_same_bytes(source: Path, tmp_path: Path) -> None:
    one = convert(ConvertConfig(source, tmp_path / "one", "store")).figures
    two = convert(ConvertConfig(source, tmp_path / "two", "store", workers=2)).figures
    assert one == two
    assert (one["recordings"], one["streams"], one["samples"]) == (KEYS, 4 * KEYS, 16 * KEYS)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert open_collection(tmp_path / "two").keys() == tuple(f"r{number}" for number in range(KEYS))


def test_what_is_dropped_is_not_there(source: Path, tmp_path: Path) -> None:
    asked = ConvertConfig(source, tmp_path / "out", "store", recordings=("r3", "r1"), drop=("audio*", "gps"))
    figures = convert(asked).figures
    assert figures["dropped"] == {"audio.mic": "drop=audio*", "gps": "drop=gps"}
    assert open_collection(tmp_path / "out").keys() == ("r1", "r3")
    with open_collection(tmp_path / "out").open("r3") as kept:
        assert differences(without(recording("r3"), ["audio*", "gps"]), kept, exact=True) == []
    assert not any("audio" in name or "gps" in name for name in content(tmp_path / "out"))
    with pytest.raises(StoreError, match="drop=adio fits no stream"):
        convert(ConvertConfig(source, tmp_path / "typo", "store", drop=("adio",)))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out"]


COMMAND = """
import sys
from pathlib import Path
from foreact.episodes.convert import ConvertConfig, convert
convert(ConvertConfig(Path(sys.argv[1]), Path(sys.argv[2]), "store", workers=int(sys.argv[3])))
"""


def start(source: Path, out: Path, workers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", COMMAND, str(source), str(out), str(workers)]
    return subprocess.Popen(command, start_new_session=True)


def whole(out: Path) -> int:
    """Recordings that are written of a conversion that goes on."""
    episodes = out.parent / f".partial-{out.name}" / "content" / "episodes"
    return sum(not each.name.startswith(".") for each in episodes.iterdir()) if episodes.exists() else 0


def test_killed_at_random_moments_and_typed_again(source: Path, tmp_path: Path) -> None:
    convert(ConvertConfig(source, tmp_path / "whole", "store"))
    rng, out, killed = random.Random(5), tmp_path / "out", 0
    while not out.exists() and killed < 3:
        before, process = whole(out), start(source, out, workers=1 + killed % 2)
        while process.poll() is None and whole(out) == before:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.04))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed >= 2, killed
    if not out.exists():
        convert(ConvertConfig(source, out, "store"))
    assert content(out) == content(tmp_path / "whole")


def test_a_writer_that_loses_something_is_found_out(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from foreact.episodes import recording_forms

    real = recording_forms.ShardWriter.append

    def forgets(self: Any, samples: np.ndarray) -> None:
        real(self, np.where(samples == samples.max(), 0, samples) if samples.dtype == np.float64 else samples)

    monkeypatch.setattr(recording_forms.ShardWriter, "append", forgets)
    with pytest.raises(StoreError, match="r0 is not what was read: values of state from sample"):
        convert(ConvertConfig(source, tmp_path / "out", "store"))
    assert not (tmp_path / "out").exists()
    figures = convert(ConvertConfig(source, tmp_path / "blind", "store", verify=False)).figures
    assert figures["compared"] == "not compared"


def test_a_store_of_recordings_is_inspected_and_its_damage_found(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "s")
    outcome = inspect(InspectConfig(tmp_path / "s", verify=True))
    assert outcome.figures["format"] == "foreact-recordings" and outcome.figures["verified"] is True
    file = tmp_path / "s" / "episodes" / "r2" / "audio.mic" / "zarr.json"  # which reading does not need
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(StoreError, match=r"has 1 problem\(s\):\n.*r2/audio.mic/zarr.json is truncated or altered"):
        inspect(InspectConfig(tmp_path / "s", verify=True))


REAL: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "vrs": ("vrs_samples", ("sample_file",), ()),
    "aria 1": ("aria_gen1_aea/recording.vrs", (), ("camera.slam*",)),
    "aria 2, packets": ("aria_gen2", (), ("camera.slam*",)),
    "aria twin": ("aria_gen1_adt", (), ("camera*", "depth*", "segmentation*")),
    "aria mps": ("aria_gen1_mps", (), ("hand.*",)),
    "mcap": ("aria_gen2_ros2_mcap/aria_gen2", (), ()),
    "bag, sqlite": ("rosbag2_samples/db3_cdr_types", (), ()),
    "rlds": ("bridge_v2_rlds_debug", ("train-00003",), ()),
    "lerobot 2.1": ("g1_head_teleop_lerobot_v21", (), ("camera*",)),
    "lerobot 3.0, a cut video": ("g1_head_teleop_lerobot_v30", ("episode_000001",), ()),
    "gopro": ("gopro_gpmf/max-heromode.mp4", (), ("camera*",)),
    "npz": ("dapg_door_human", ("03", "04"), ()),
    "dexcap": ("dexcap_frame", (), ()),
}


@pytest.mark.parametrize("name", REAL)
def test_real_recordings_become_a_store_and_are_what_they_were(name: str, tmp_path: Path) -> None:
    path, recordings, drop = REAL[name]
    if not (DATA / path).exists():
        pytest.skip("the sample recordings do not lie beside the repository: ../shared/data")
    asked = ConvertConfig(DATA / path, tmp_path / "s", "store", recordings, drop, as_recorded="lerobot" in name)
    figures = convert(asked).figures
    assert figures["reencoded"] == {}, "every packed picture of the samples can be copied"
    store, original = RecordingStore.open(tmp_path / "s"), open_collection(DATA / path)
    assert store.keys() == (recordings or original.keys())
    rng = np.random.default_rng(0)
    for key in store.keys():
        with original.open(key) as before, store.read(key) as after:
            assert differences(without(before, drop), after, exact=True, skip=after.streams) == []
            for stream in after.streams:  # the conversion compared all of them in order; here a few at random
                for index in rng.permutation(len(after.stamps(stream)))[:3].tolist():
                    np.testing.assert_array_equal(after.read(stream, index), before.read(stream, index))
        with pytest.raises(SourceError, match="closed"):
            after.read(next(iter(after.streams)), 0)
    original.close()
