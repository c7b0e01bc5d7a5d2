"""`foreact replay` of recordings: what is played, into a file, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes import play as play_module
from foreact.episodes.inspect_recordings import inspect_recordings
from foreact.episodes.outcome import quiet
from foreact.episodes.play import PlayConfig, play
from foreact.episodes.sources.parts import PartsSource, Recordings, array_part
from foreact.episodes.sources.protocol import SourceError, Stream

MS = 1_000_000


def source(key: str, clock: str = "device") -> PartsSource:
    times = np.arange(20, dtype=np.int64) * (1 if clock == "step" else 50 * MS)
    values = {
        "camera.rgb": np.random.default_rng(0).integers(0, 255, (20, 8, 8, 3), np.uint8),
        "depth.rgb": np.full((20, 8, 8), 900, np.uint16),
        "state": np.ones((20, 2)),
        "pose.head": np.tile([0.1, 0.2, 0.3, 1.0, 0, 0, 0], (20, 1)),
        "hand.left.landmarks": np.ones((20, 21, 3), np.float32),
        "words": np.array(["go"] * 20),
    }
    kinds: dict[str, Any] = dict(zip(values, ("image", "depth", "vector", "pose", "hand", "text"), strict=True))
    units = {"depth.rgb": "mm", "state": "m,rad", "pose.head": "m,m,m,1,1,1,1", "hand.left.landmarks": "m"}
    parts = [
        array_part(Stream(name, kinds[name], each.shape[1:], str(each.dtype), units.get(name, ""), clock), times, each)
        for name, each in values.items()
    ]
    return PartsSource(key, parts, notes=("no sound",))


@pytest.fixture
def collection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    made = Recordings(tmp_path, "made", {key: lambda key=key: source(key) for key in ("a", "b")})
    counted = Recordings(tmp_path, "made", {"a": lambda: source("a", "step")})
    opened = {"steps": counted, "none": Recordings(tmp_path, "made", {})}
    monkeypatch.setattr(play_module, "open_collection", lambda path: opened.get(path.name, made))
    monkeypatch.setattr("foreact.episodes.inspect_recordings.open_collection", lambda path: made)
    return tmp_path


def test_streams_are_played_into_a_file_that_rerun_reads(collection: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    from rerun.chunk import RrdReader

    outcome = play(PlayConfig(collection, out=tmp_path / "out", digest=True))
    assert outcome.figures["steps"] == 20 and len(outcome.rows) == 8
    assert outcome.rows[-1][:2] == ("no sound", "note")
    assert json.loads((tmp_path / "out" / "report.json").read_text())["sha256"] == outcome.figures["sha256"]
    rows: dict[str, int] = {}
    for chunk in RrdReader(tmp_path / "out" / "recording.rrd").stream():
        if "time" in chunk.timeline_names:
            rows[chunk.entity_path] = rows.get(chunk.entity_path, 0) + chunk.num_rows
    bones = rows["/space/of_no_known_frame/hand_left_landmarks/bones"]
    assert rows["/camera/rgb"] == rows["/depth/rgb"] == bones == 20 and rows["/words"] == 1  # said once
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["recording.rrd", "report.json"]


def test_what_is_played_can_be_chosen(collection: Path) -> None:
    found = play(
        PlayConfig(collection, recordings=("a", "b"), streams=("a/state", "b/state"), driver="10", loop=2)
    ).figures
    assert found["steps"] == 2 * 10
    assert play(PlayConfig(collection, start_s=0.5, duration_s=0.2, driver="state")).figures["steps"] == 5
    paced = play(PlayConfig(collection, rate=20.0, duration_s=0.5)).figures
    assert isinstance(paced["steps"], int) and isinstance(paced["dropped"], int)
    assert paced["steps"] + paced["dropped"] == 11
    assert play(PlayConfig(collection / "steps")).figures["steps"] == 20
    first, again = (play(PlayConfig(collection, digest=True)).figures["sha256"] for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"recordings": ("c",)}, "no recording c; there are a, b"),
        ({"streams": ("sound",)}, "no stream sound"),
        ({"driver": "sound"}, "no stream 'sound' to step by"),
        ({"start_s": 5.0}, "leaves nothing of 0.950 s"),
        ({"rate": -1.0}, "rate=-1.0 is out of range"),
    ],
)
def test_what_is_not_there_is_said(collection: Path, config: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        play(PlayConfig(collection, **config))  # pyright: ignore[reportArgumentType]


def test_steps_without_time_cannot_be_played_in_time_and_nothing_cannot_be_played(collection: Path) -> None:
    with pytest.raises(ValueError, match="counts steps and tells no time"):
        play(PlayConfig(collection / "steps", rate=1.0))
    with pytest.raises(SourceError, match="holds no recording"):
        play(PlayConfig(collection / "none"))


def test_inspect_has_a_row_per_stream(collection: Path) -> None:
    outcome = inspect_recordings(collection, quiet, verify=True)
    assert [row[1] for row in outcome.rows[:6]] == list(source("a").streams)
    assert outcome.rows[2][3:9] == ("20", "float64 2", "m,rad", "device", "20 Hz", "0.000 - 0.950 s")
    assert outcome.rows[-1][:2] == ("note", "no sound (2 recordings)")


def test_stamps_can_be_cut_moved_and_asked_by_other_policies(collection: Path) -> None:
    cut = play(PlayConfig(collection, resolution_ns=100 * MS, driver="state")).figures
    assert cut["steps"] == 10  # of 20 samples 50 ms apart two fall together
    with pytest.raises(ValueError, match="resolution_ns=0 is out of range"):
        PlayConfig(collection, resolution_ns=0)

    def samples(name: str, **keys: Any) -> tuple[str, ...]:
        rows = play(PlayConfig(collection, driver="10", **keys)).rows
        return next(row[2:5] for row in rows if row[0] == name)

    assert samples("state") == ("10", "10", "0.0")
    assert samples("state", policies=("state:window",)) == ("10", "19", "0.0")
    assert samples("state", offsets=("state:20ms",)) == ("9", "9", "30.0")
    assert samples("state", offsets=("state:20ms",), policies=("state:nearest:15ms",)) == ("0", "0", "0.0")


def test_other_paths_play_beside_and_begin_together(collection: Path) -> None:
    config = PlayConfig(collection, beside=(collection / "other",), align="start", streams=("a/state", "other/a/state"))
    rows = play(config).rows
    assert [row[0] for row in rows[:2]] == ["a/state", "other/a/state"] and rows[1][2] == "20"
    with pytest.raises(ValueError, match="a is played alone"):
        play(PlayConfig(collection, offsets=("a:1s",)))
    with pytest.raises(ValueError, match="choose one"):
        PlayConfig(collection, web=True, view=True)
    with pytest.raises(ValueError, match="port=1 is none"):
        PlayConfig(collection, port=1)


def test_gaps_and_stamps_out_of_order_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stamps = np.array([0, 10, 20, 40, 30, 30, 100], np.int64) * MS
    part = array_part(Stream("state", "vector", (1,), "float64"), stamps, np.zeros((7, 1)))
    made = Recordings(tmp_path, "made", {"a": lambda: PartsSource("a", [part])})
    monkeypatch.setattr(play_module, "open_collection", lambda path: made)
    outcome = play(PlayConfig(tmp_path))
    assert outcome.rows[0][6] == "100 Hz, 1 gap of 0.06 s, 1 out of order, 1 twice"
