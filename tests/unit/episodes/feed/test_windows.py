"""Windows of made recordings against the same thing done slowly, one sample at a time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes.feed.samples import Samples
from foreact.episodes.feed.windows import Span, Steps, Take, Times, Windows, period_offsets
from foreact.episodes.sources.parts import PartsSource, Recordings, array_part
from foreact.episodes.sources.protocol import Source, SourceError, Stream
from foreact.episodes.sync import Hold, Interpolate, Nearest, Track

MS = 1_000_000


def recording(key: str, **changes: Any) -> PartsSource:
    rng = np.random.default_rng(len(key))
    fast = np.sort(rng.integers(0, 1000 * MS, 200))
    fast[50:52] = fast[50]  # two samples of one stamp
    slow = np.arange(5, 25, dtype=np.int64) * 40 * MS + rng.integers(-MS, MS, 20)
    shuffled = rng.permutation(20)  # a file need not be in order
    values = {
        "imu": ("imu", fast, rng.normal(size=(200, 6)).astype(np.float32)),
        "state": ("vector", slow[shuffled], rng.normal(size=(20, 3))),
        "count": ("vector", slow, rng.integers(0, 99, (20, 1))),
        "pose": ("pose", slow, np.concatenate([rng.normal(size=(20, 3)), unit(rng.normal(size=(20, 4)))], axis=1)),
    }
    clock = changes.get("clock", {})
    parts = [
        array_part(Stream(name, kind, each.shape[1:], str(each.dtype), clock=clock.get(name, "device")), stamps, each)
        for name, (kind, stamps, each) in values.items()
        if name not in changes.get("without", ())
    ]
    return PartsSource(key, parts)


def unit(quaternions: np.ndarray) -> np.ndarray:
    return quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)


def collection(**changes: Any) -> Recordings:
    return Recordings(Path("made"), "made", {key: lambda key=key: recording(key, **changes) for key in ("a", "bb")})


def slow_window(source: Source, take: Take, time_ns: int) -> list[Any]:
    """Values at the places of a window; None where there is none. Edges and ends are worked out by plain loops."""
    track = Track(source, take.stream)
    times = sorted(source.stamps(take.stream).tolist())
    order = sorted(range(len(times)), key=lambda place: source.stamps(take.stream)[place])
    period = int(np.median([b - a for a, b in zip(times, times[1:], strict=False)]))
    if isinstance(take, Span):
        begin, end = time_ns - take.past_ns, time_ns + take.future_ns
        return [source.read(take.stream, order[place]) for place in range(len(times)) if begin < times[place] <= end]
    if isinstance(take, Steps):
        picked = track.pick(time_ns, None, take.policy)
        places = [-1 if picked is None else order.index(picked.index) + step for step in take.offsets]
        inside = [picked is not None and 0 <= place < len(times) for place in places]
        return [source.read(take.stream, order[p]) if ok else None for p, ok in zip(places, inside, strict=True)]
    policy = take.policy or (Interpolate() if source.streams[take.stream].kind == "pose" else Nearest(period))
    picks = [track.pick(time_ns + offset, None, policy) for offset in take.offsets_ns]
    late = [time_ns + offset > times[-1] + period for offset in take.offsets_ns]
    return [None if pick is None or over else pick.value for pick, over in zip(picks, late, strict=True)]


TAKES: dict[str, Take] = {
    "steps": Steps("state", (-2, -1, 0, 1)),
    "steps, nearest": Steps("imu", (0, 3), Nearest(5 * MS)),
    "hold": Times("imu", (-30 * MS, 0, 7 * MS), Hold()),
    "hold, not old": Times("imu", (0, 5 * MS), Hold(4 * MS)),
    "nearest": Times("state", period_offsets(0, 4, 25)),
    "interpolated": Times("state", (-11 * MS, 0, 13 * MS), Interpolate()),
    "interpolated, no gap": Times("imu", (0, MS), Interpolate(6 * MS)),
    "whole numbers interpolated": Times("count", (0, 9 * MS), Interpolate()),
    "pose": Times("pose", (0, 17 * MS)),
    "span": Span("imu", 50 * MS, 10 * MS),
}


@pytest.mark.parametrize("edge", ["drop", "repeat"])
@pytest.mark.parametrize("anchor", ["state", "imu", 37.0])
@pytest.mark.parametrize("name", TAKES)
def test_windows_are_those_found_slowly(name: str, anchor: str | float, edge: Any) -> None:
    take = replace(TAKES[name], edge=edge)
    samples = Samples(collection(), Windows({"x": take}, anchor), ())
    numbers = np.unique(np.linspace(0, len(samples) - 1, 24).astype(int))
    values, valid = filled(samples, numbers)
    sources, kept = [recording("a"), recording("bb")], 0
    for row, number in enumerate(numbers):
        source = sources[samples.recording[number]]
        expected = slow_window(source, take, int(samples.anchor_ns[number]))
        if isinstance(take, Span):
            expected += [None] * (values["x"].shape[1] - len(expected))
        assert valid["x"][row].tolist() == [each is not None for each in expected]
        for place, each in enumerate(expected):
            if each is not None:
                np.testing.assert_allclose(
                    values["x"][row, place], each, rtol=0, atol=1e-6 if "imu" in take.stream else 1e-12
                )
                kept += 1
            elif isinstance(take, Span):
                assert not values["x"][row, place].any()
    assert kept > 10
    if edge == "drop" and not isinstance(take, Span):
        assert valid["x"].all()
        everything = Samples(collection(), Windows({"x": replace(take, edge="repeat")}, anchor), ())
        _, all_valid = filled(everything, np.arange(len(everything)))
        assert len(samples) == int(all_valid["x"].all(axis=1).sum()) == len(everything) - samples.dropped


def filled(samples: Samples, numbers: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    values = {name: np.full((len(numbers), *each.shape), 77, each.dtype) for name, each in samples.entries.items()}
    valid = {name: np.zeros((len(numbers), each.shape[0]), bool) for name, each in samples.entries.items()}
    samples.fill(numbers, values, valid)
    return values, valid


def test_over_the_edge_the_nearest_sample_of_the_recording_stands_in() -> None:
    take = Steps("count", (-1, 0, 1), edge="repeat")
    samples = Samples(collection(), Windows({"x": take}, "count"))
    values, valid = filled(samples, np.array([0, 19, 20, 39]))
    counts = [np.asarray(recording(key).read_range("count", 0, 20)) for key in ("a", "bb")]
    ends = [(counts[number][0, 0], counts[number][19, 0]) for number in (0, 1)]
    assert values["x"][:, 0, 0].tolist()[0::2] == [ends[0][0], ends[1][0]]
    assert values["x"][:, 2, 0].tolist()[1::2] == [ends[0][1], ends[1][1]]
    assert valid["x"].tolist() == [[False, True, True], [True, True, False]] * 2


def test_a_span_is_as_wide_as_the_fullest_or_as_told_and_says_so() -> None:
    def width(most: int | None) -> int:
        samples = Samples(collection(), Windows({"x": Span("imu", 50 * MS, most=most, edge="repeat")}, "state"))
        return samples.entries["x"].shape[0]

    fullest = width(None)
    assert width(fullest + 5) == fullest + 5
    with pytest.raises(ValueError, match=f"a window holds {fullest} samples; give most={fullest}"):
        width(fullest - 1)


def test_every_so_manieth_sample_can_be_an_anchor() -> None:
    every = Samples(collection(), Windows({"x": Steps("imu")}, "imu"))
    third = Samples(collection(), Windows({"x": Steps("imu")}, "imu", stride=3))
    np.testing.assert_array_equal(third.anchor_ns[:67], every.anchor_ns[:200:3])


def test_streams_of_other_clocks_need_an_offset() -> None:
    made = collection(clock={"imu": "host"})
    takes: dict[str, Take] = {"x": Times("imu", (0,), Hold()), "y": Steps("state")}
    with pytest.raises(ValueError, match="several clocks .*imu by 'host'"):
        Samples(made, Windows(takes, "state"))
    late = Samples(made, Windows(takes, "state", offsets_ns={"imu": -100 * MS}))
    values, _ = filled(late, np.array([5]))
    expected = Track(recording("a"), "imu", -100 * MS).pick(int(late.anchor_ns[5]), None, Hold())
    assert expected is not None
    np.testing.assert_array_equal(values["x"][0, 0], np.asarray(expected.value))


def test_what_cannot_be_had_is_told() -> None:
    def made(take: Take, anchor: str | float = "state", **changes: Any) -> Samples:
        return Samples(collection(**changes), Windows({"x": take}, anchor))

    with pytest.raises(SourceError, match="a has no stream 'odometry'; it has imu, state"):
        made(Steps("odometry"))
    with pytest.raises(ValueError, match="none of 40 anchors has complete windows"):
        made(Steps("state", (0, 50)))
    with pytest.raises(ValueError, match="has no recording cc; it has a, bb"):
        Samples(collection(), Windows({"x": Steps("state")}, "state"), ("cc",))
    with pytest.raises(ValueError, match="edge='wrap'"):
        Steps("state", edge="wrap")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one is needed"):
        Times("state", ())
    with pytest.raises(ValueError, match="above 0"):
        Span("state", 0)
    with pytest.raises(ValueError, match="nothing is taken"):
        Windows({}, "state")
    with pytest.raises(ValueError, match="cannot be"):
        Windows({"x": Steps("state")}, float("nan"))


def test_recordings_that_differ_are_told_apart() -> None:
    keys = {"a": lambda: recording("a"), "bb": lambda: recording("bb", without=("pose",))}
    with pytest.raises(SourceError, match="bb has no stream 'pose', which others have"):
        Samples(Recordings(Path("made"), "made", keys), Windows({"x": Times("pose")}, "state"))
