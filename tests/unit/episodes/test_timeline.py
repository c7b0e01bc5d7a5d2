"""One timeline over streams: policies by hand, several recordings, steps that are a function of the files."""

from typing import Any

import numpy as np
import pytest

from foreact.episodes.digest import digest
from foreact.episodes.sources.parts import Part, PartsSource, array_part
from foreact.episodes.sources.protocol import Stream
from foreact.episodes.sync import Hold, Interpolate, Nearest, Window, slerp
from foreact.episodes.timeline import Timeline, health

MS = 1_000_000


def part(name: str, kind: Any, times_ms: list[float], values: np.ndarray) -> Part:
    stream = Stream(name, kind, values.shape[1:], str(values.dtype))
    return array_part(stream, (np.array(times_ms) * MS).astype(np.int64), values)


def recording(key: str = "one") -> PartsSource:
    half = np.sqrt(0.5)
    poses = np.array([[0, 0, 0, 1, 0, 0, 0], [1, 2, 4, half, 0, 0, half]])
    return PartsSource(key, [
        part("camera.rgb", "image", [0, 100, 200], np.arange(12, dtype=np.uint8).reshape(3, 2, 2)),
        part("imu", "imu", [0, 30, 60, 90, 120, 120, 150], np.arange(42.0).reshape(7, 6)),
        part("pose.head", "pose", [40, 140], poses),
        part("state", "vector", [90, 10, 210], np.array([[9.0], [1.0], [21.0]])),
    ])  # fmt: skip


def test_each_kind_is_asked_by_what_suits_it() -> None:
    timeline = Timeline.of({"one": recording()})
    steps: list[Any] = list(timeline.steps(timeline.times("camera.rgb")))
    first, second, third = steps
    assert [step.time_ns // MS for step in (first, second, third)] == [0, 100, 200]
    assert first.samples.keys() == {"camera.rgb", "imu"}, "nothing is invented before a stream begins"
    assert [value[0] for value in second.samples["imu"].value] == [6.0, 12.0, 18.0]  # 30, 60, 90 ms
    assert [value[0] for value in third.samples["imu"].value] == [24.0, 30.0, 36.0]  # 120, 120, 150 ms
    state = second.samples["state"]
    assert (state.value, state.age_ns, state.index) == (np.array([9.0]), 10 * MS, 0)
    pose = second.samples["pose.head"]
    assert pose.interpolated and pose.index == -1
    # 60 % of the way: a turn of 90 degrees about z gives 54
    angle = np.radians(54) / 2
    np.testing.assert_allclose(pose.value, [0.6, 1.2, 2.4, np.cos(angle), 0, 0, np.sin(angle)], atol=1e-12)
    assert "pose.head" not in third.samples, "there is nothing to interpolate towards"


def test_policies_can_be_chosen_and_limited() -> None:
    def at(time_ms: float, policy: Any, name: str = "state") -> Any:
        timeline = Timeline.of({"one": recording()}, policies={name: policy})
        return timeline.at(0, int(time_ms * MS), None).samples.get(name)

    assert at(60, Nearest(30 * MS)).value == [9.0]
    assert at(60, Nearest(29 * MS)) is None
    assert at(50, Nearest(40 * MS)).value == [1.0], "of two as near the earlier"
    assert at(95, Hold(5 * MS)).value == [9.0] and at(96, Hold(5 * MS)) is None
    assert at(130, Interpolate()).value == pytest.approx([9 + 12 * 40 / 120])
    assert at(130, Interpolate(119 * MS)) is None and not at(90, Interpolate()).interpolated
    assert [each[0] for each in at(120, Window(), "imu").value] == [24.0, 30.0], (
        "the first step has no window before it"
    )
    with pytest.raises(TypeError, match="camera.rgb"):
        at(50, Interpolate(), "camera.rgb")


def test_recordings_side_by_side_with_offsets() -> None:
    pair = {"a": recording("a"), "b": recording("b")}
    timeline = Timeline.of(pair, streams=["a/state", "b/state"], offsets_ns={"b": 5 * MS, "b/state": 1 * MS})
    assert [int(track.times[0]) // MS for track in timeline.tracks.values()] == [10, 16]
    assert timeline.span_ns == (10 * MS, 216 * MS)
    np.testing.assert_array_equal(timeline.times(100.0) // MS, np.arange(10, 217, 10))
    with pytest.raises(ValueError, match="no stream state; there are a/camera.rgb"):
        Timeline.of(pair, streams=["state"])
    with pytest.raises(ValueError, match="0 Hz"):
        timeline.times(0.0)


def test_steps_are_a_function_of_the_files() -> None:
    def played(change: float = 0.0) -> str:
        source: Any = recording()
        timeline = Timeline.of({"one": source})
        source.read("state", 0)[0] += change
        return digest(timeline.steps(timeline.times(50.0)))

    assert played() == played() != played(1e-12)


def test_health_reports_what_is_wrong_with_stamps() -> None:
    found = health(np.array([0, 10, 20, 15, 30, 30, 90, 100]) * MS)
    assert (found.count, found.out_of_order, found.duplicates, found.gaps) == (8, 1, 1, 1)
    assert (found.period_ns, found.longest_gap_ns, found.rate_hz) == (10 * MS, 60 * MS, 100.0)
    assert health(np.zeros(0, np.int64)).rate_hz == 0


def test_orientations_take_the_shorter_way() -> None:
    a, b = np.array([1.0, 0, 0, 0]), np.array([0.0, 1, 0, 0])
    np.testing.assert_allclose(slerp(a, -b, 0.5), [np.sqrt(0.5), -np.sqrt(0.5), 0, 0])
    np.testing.assert_allclose(slerp(a, a, 0.3), a)
    np.testing.assert_allclose(slerp(a, -a, 0.3), a)
