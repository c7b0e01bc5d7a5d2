"""`foreact bench episodes` measures what it says; how long anything takes decides no test."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes.bench_episodes import EpisodesBenchConfig, bench
from foreact.episodes.bench_replay import (
    STREAMS,
    drift_ns,
    memory_of_loops,
    paced,
    resident_bytes,
    step_costs,
    wearable,
)
from foreact.episodes.bench_video import VideoMeter
from foreact.episodes.timeline import Timeline

pytest.importorskip("av")
pytest.importorskip("pyarrow")

DATA = Path(__file__).parents[4] / "shared" / "data"

# what the project's goals are read from
KEYS = {
    "sequential_ms",
    "random_ms",
    "bare_pyav_ms",
    "seek_p95_ms",
    "pacing_p99_ms",
    "step_overhead_us",
    "samples_per_second",
    "memory_change",
}


def test_a_run_writes_its_figures(shared_data: Path, tmp_path: Path) -> None:
    clip, told = shared_data / "gopro_gpmf" / "max-heromode.mp4", set()
    config = EpisodesBenchConfig(
        lerobot=shared_data / "g1_head_teleop_lerobot_v21",
        clips=(clip,),
        out=tmp_path,
        samples=6,
        rounds=2,
        pacing_s=1.0,
        loops=2,
        workers=0,
        feed_s=0.1,
    )
    outcome = bench(config, lambda done, total, text: told.add(text))
    figures: dict[str, Any] = json.loads(outcome.path.read_text())
    assert outcome.path.parent == tmp_path and outcome.path.name.endswith("-episodes.json")
    assert figures.keys() >= KEYS and figures["machine"]["load_average"]
    assert figures["seek_p95_ms"].keys() == {"g1_head_teleop_lerobot_v21", "max-heromode"}
    assert all(figures["seek_p95_ms"][name] >= 0 for name in figures["seek_p95_ms"])
    assert figures["bare_pyav"]["max-heromode"].keys() == {"sequential_ms", "sequential_rgb_ms", "random_ms"}
    assert len(figures["memory_mib"]) == 2 and figures["memory_mib"][0] > 20
    assert figures["pacing_steps"] + figures["pacing_dropped"] == 30
    lower, median, upper = figures["quartiles"]["sequential_ms"]
    assert 0 < figures["sequential_ms"] <= lower <= median <= upper
    assert "vs_lerobot" not in figures, "LeRobot 0.6 does not read v2.1"
    assert {row[0]: row[3] for row in outcome.rows}["step_overhead_us"] == "us"
    assert {"frames of videos", "pacing", "memory"} <= told
    with pytest.raises(ValueError, match="no such video"):
        bench(EpisodesBenchConfig(lerobot=config.lerobot, clips=(tmp_path / "none.mp4",)))
    with pytest.raises(ValueError, match="two videos have one name"):
        bench(EpisodesBenchConfig(lerobot=config.lerobot, clips=(clip, clip)))


def test_what_must_be_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data=FOLDER .* lerobot=DATASET"):
        bench(EpisodesBenchConfig())
    with pytest.raises(ValueError, match="holds no videos"):
        bench(EpisodesBenchConfig(lerobot=tmp_path))
    with pytest.raises(ValueError, match="samples=0 is out of range; give 1 or more"):
        EpisodesBenchConfig(samples=0)
    with pytest.raises(ValueError, match="expected episodes"):
        EpisodesBenchConfig(target="sim")


def test_both_sides_decode_the_same_frames(shared_data: Path) -> None:
    file = shared_data / "gopro_gpmf" / "max-heromode.mp4"
    with VideoMeter.open(file, 4, seed=3) as meter:
        for _ in range(3):
            meter.round()
        costs = meter.costs()
    assert costs.sequential.shape == costs.bare.shape == costs.bare_rgb.shape == costs.bare_random.shape == (2,)
    assert costs.seeks.shape == (8,) and costs.random == pytest.approx(costs.seeks.reshape(2, 4).mean(axis=1))
    assert min(costs.sequential.min(), costs.bare.min(), costs.random.min(), costs.bare_random.min()) > 0


def test_the_made_up_recording_has_the_rates_of_the_glasses() -> None:
    with wearable(2.0) as source:
        assert len(source.streams) == 14 == len(STREAMS)
        for name, _, rate, shape, _ in STREAMS:
            assert np.diff(source.stamps(name)).mean() == pytest.approx(1e9 / rate, rel=1e-6)
            assert np.shape(source.read(name, 3)) == shape
        timeline = Timeline.of({"it": source})
        steps = list(timeline.steps(timeline.times(30.0)))[1:-1]
        windows = [len(step.samples["imu.right"].value) for step in steps]
        assert 33 <= np.mean(windows) <= 34, "1000 Hz in steps of 1/30 s"
        assert step_costs(source, 2).shape == (2,)


def test_time_is_kept_against_the_clock() -> None:
    told: list[float] = []
    pacing, in_hand = paced(wearable(1.5), 1.2, told.append)
    assert pacing.steps + pacing.dropped == 36 and len(in_hand) == pacing.steps
    assert (in_hand[1:] >= pacing.lateness_ns[1:]).all(), "a step is in hand after it was due"
    # every half second of the recording; a busy machine leaves steps out, and tells at the next one
    assert 0.5 < told[0] and told[-1] < 1.2 and (np.diff(told) > 0.5 - 1e-9).all()
    assert pacing.dropped or told == pytest.approx([16 / 30, 31 / 30])


def test_drift_is_told_from_jitter() -> None:
    jitter = np.tile([0, 0, 9, 0, 0], 40)
    jitter[-1] = 1000
    assert drift_ns(jitter) == 0 and drift_ns(jitter + np.arange(200)) == 180
    assert drift_ns(np.array([3])) == drift_ns(np.zeros(0, np.int64)) == 0


def test_memory_is_seen_to_grow(shared_data: Path) -> None:
    kept: list[np.ndarray] = []
    before = resident_bytes()
    path = shared_data / "dapg_door_human"
    grown = memory_of_loops([path], 3, lambda _: kept.append(np.ones(2_000_000)))
    assert grown.after[-1] - grown.after[0] > 25_000_000 and resident_bytes() - before > 30_000_000
    assert grown.change > 0
