"""Picking is fast and says the same as a plain search would."""

from typing import Any

import numpy as np
import pytest

from foreact.episodes.digest import digest
from foreact.episodes.sources.parts import Part, PartsSource
from foreact.episodes.sources.protocol import Kind, Stream, Value
from foreact.episodes.sync import Hold, Interpolate, Nearest, Policy, Track, Window, default_policy
from foreact.episodes.timeline import Step, Timeline


def track(stamps: np.ndarray, kind: Kind = "imu", values: np.ndarray | None = None) -> tuple[Track, list[Any]]:
    """A track of the numbers 0, 1, ... or of values, and what it reads: a number, or a range."""
    values = np.arange(float(len(stamps)))[:, None] if values is None else values
    seen: list[Any] = []

    def read(index: int) -> Value:
        seen.append(index)
        return values[index]

    def read_range(start: int, stop: int) -> np.ndarray:
        seen.append((start, stop))
        return values[start:stop]

    stream = Stream("it", kind, values.shape[1:], str(values.dtype))
    return Track(PartsSource("one", [Part(stream, stamps, read, read_range)]), "it"), seen


def plain(stamps: np.ndarray, time_ns: int, before_ns: int | None, policy: Policy) -> list[int]:
    """Numbers of the samples that a policy names, by looking at all of them."""
    order = sorted(range(len(stamps)), key=lambda index: stamps[index])
    earlier = [index for index in order if stamps[index] <= time_ns]
    match policy:
        case Window():
            since = time_ns - 1 if before_ns is None else before_ns
            return [index for index in earlier if stamps[index] > since]
        case Hold(most):
            return [index for index in earlier[-1:] if most is None or time_ns - stamps[index] <= most]
        case Nearest(tolerance):
            near = min(order, key=lambda index: abs(stamps[index] - time_ns))
            near = max((index for index in earlier if stamps[index] == stamps[near]), default=near)
            return [near] if abs(stamps[near] - time_ns) <= tolerance else []
        case Interpolate():
            raise NotImplementedError


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("policy", [Window(), Hold(), Hold(2), Nearest(1)])
def test_what_is_picked_is_what_a_plain_search_finds(policy: Policy, shuffled: bool) -> None:
    draw = np.random.default_rng(0)
    for _ in range(60):
        stamps = np.cumsum(draw.integers(0, 4, draw.integers(1, 12)))
        stamps = draw.permutation(stamps) if shuffled else stamps
        it, _ = track(stamps)
        for _ in range(12):
            time_ns, step = int(draw.integers(-2, stamps.max() + 3)), int(draw.integers(0, 6))
            before_ns = time_ns - step if step else None
            picked = it.pick(time_ns, before_ns, policy)
            wanted = plain(stamps, time_ns, before_ns, policy)
            if picked is None:
                assert not wanted
                continue
            values = picked.value if isinstance(picked.value, list) else [picked.value]
            assert [int(value[0]) for value in values if isinstance(value, np.ndarray)] == wanted
            assert (picked.index, picked.time_ns) == (wanted[-1], stamps[wanted[-1]])
            assert picked.age_ns == time_ns - picked.time_ns and type(picked.time_ns) is int
            assert picked.stamps_ns == (tuple(stamps[wanted].tolist()) if isinstance(policy, Window) else ())


def test_a_window_is_read_at_once() -> None:
    it, seen = track(np.arange(100))
    assert it.pick(49, 9, Window()) is not None and seen == [(10, 50)]
    backwards, seen = track(np.arange(100)[::-1].copy())
    picked = backwards.pick(3, 1, Window())
    assert picked is not None and seen == [97, 96] and picked.index == 96


def numpy_mixed(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """Linear, and along the great arc, in arrays of NumPy (Shoemake 1985)."""
    first, second = first.astype(float), second.astype(float)
    place = first[:3] + share * (second[:3] - first[:3])
    a, b = (each / np.linalg.norm(each) for each in (first[3:], second[3:]))
    cosine = float(a @ b)
    if cosine < 0:
        b, cosine = -b, -cosine
    angle = np.arccos(min(cosine, 1.0))
    if angle < 1e-9:
        return np.concatenate([place, a])
    mixed = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)
    return np.concatenate([place, mixed / np.linalg.norm(mixed)])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_poses_in_plain_numbers_are_those_of_arrays(dtype: type) -> None:
    draw = np.random.default_rng(1)
    poses = draw.standard_normal((200, 7)).astype(dtype)
    poses[100:, 3:] += [5, 0, 0, 0]  # near one another
    poses[150] = poses[151]
    it, _ = track(np.arange(200) * 1000, "pose", poses)
    for time_ns in draw.integers(0, 199_000, 300).tolist():
        picked = it.pick(time_ns, None, Interpolate())
        assert picked is not None
        place, share = time_ns // 1000, time_ns % 1000 / 1000
        wanted = numpy_mixed(poses[place], poses[place + 1], share) if share else poses[place]
        # sums are rounded in another order, and near an angle of 0 the arc cosine makes much of it
        np.testing.assert_allclose(np.asarray(picked.value), wanted, rtol=1e-13, atol=1e-13)
        assert np.asarray(picked.value).dtype == (np.float64 if share else dtype)


def test_poses_that_are_none_give_no_number_and_no_error() -> None:
    zero, far = np.zeros(7), np.full(7, 1e200)
    for first, second in ((zero, zero), (zero, far), (far, zero), (far, far), (far, np.full(7, np.nan))):
        it, _ = track(np.array([0, 10]), "pose", np.stack([first, second]))
        with np.errstate(all="ignore"):
            picked = it.pick(5, None, Interpolate())
        assert picked is not None and np.isnan(np.asarray(picked.value)[3:]).all()


def test_a_timeline_that_is_jumped_about_in_says_what_a_new_one_says() -> None:
    draw = np.random.default_rng(2)
    shared = np.cumsum(draw.integers(0, 3, 40))
    kinds: tuple[Kind, ...] = ("imu", "vector", "event", "pose")
    tracks = {kind: track(shared, kind, draw.standard_normal((40, 7)))[0] for kind in kinds}
    tracks["other"] = track(np.arange(0, 60, 7))[0]
    tracks["empty"] = track(np.zeros(0, np.int64))[0]
    used, last = Timeline(tracks), 0
    for number in range(200):
        time_ns, before_ns = draw.integers(-2, 62, 2).tolist()
        before_ns = None if number % 5 == 0 else time_ns - number % 4 if number % 3 else before_ns
        before_ns = last if number % 7 == 1 else before_ns  # as a replay asks
        last = time_ns
        step, wanted = used.at(number, time_ns, before_ns), Timeline(tracks).at(number, time_ns, before_ns)
        alone = {name: each.pick(time_ns, before_ns, default_policy(each.stream.kind)) for name, each in tracks.items()}
        assert digest([step]) == digest([wanted])
        found = Step(number, time_ns, {name: picked for name, picked in alone.items() if picked is not None})
        assert digest([step]) == digest([found])
