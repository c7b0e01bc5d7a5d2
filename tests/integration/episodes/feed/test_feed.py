"""Batches of real and made recordings: what is in them, in which order, after stops, crashes and errors."""

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from foreact.episodes.feed.feed import Batch, Dataset, Feed, FeedConfig
from foreact.episodes.feed.order import Order
from foreact.episodes.feed.windows import Span, Steps, Take, Times, Windows
from foreact.episodes.sources import SourceError, open_collection
from foreact.episodes.sync import Hold, Interpolate, Track

G1 = "g1_head_teleop_lerobot_v30"
PICTURES = Windows(
    {"camera": Steps("camera.rgb", (-1, 0), edge="repeat"), "state": Steps("state", (0, 1, 2, 3), edge="repeat")},
    anchor="camera.rgb",
)


def copies(feed: Feed, count: int | None = None) -> list[dict[str, np.ndarray]]:
    found = []
    for batch in feed:
        found.append(copied(batch))
        if len(found) == count:
            break
    return found


def copied(batch: Batch) -> dict[str, np.ndarray]:
    values = {name: each.copy() for name, each in batch.values.items()}
    masks = {f"{name}?": each.copy() for name, each in batch.valid.items()}
    return {**values, **masks, "number": batch.number, "dataset": batch.dataset, "anchor": batch.anchor_ns}


def require_equal(found: list[dict[str, np.ndarray]], expected: list[dict[str, np.ndarray]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize("workers", [0, 2])
def test_pictures_are_what_the_source_reads(shared_data: Path, workers: int) -> None:
    takes: dict[str, Take] = {
        "camera": Steps("camera.cam_high", (-1, 0), edge="repeat"),
        "again": Steps("camera.cam_high"),
        "state": Steps("state"),
        "action": Steps("action", tuple(range(16)), edge="repeat"),
    }
    dataset, collection = (
        Dataset(shared_data / G1, Windows(takes, "camera.cam_high")),
        open_collection(shared_data / G1),
    )
    sources = {key: collection.open(key) for key in collection.keys()}
    with Feed(dataset, FeedConfig(batch=6, workers=workers, samples=12)) as feed:
        samples = feed.samples[0]
        assert len(samples) == 765 and samples.tasks[0] == "Pick up the yellow bottle on the table."
        for batch in feed:
            for row in range(len(batch)):
                source = sources[samples.keys[batch.recording[row]]]
                index = int(np.searchsorted(source.stamps("state"), batch.anchor_ns[row]))
                last = len(source.stamps("state")) - 1
                np.testing.assert_array_equal(batch["camera"][row, 1], source.read("camera.cam_high", index))
                before = source.read("camera.cam_high", max(index - 1, 0))
                np.testing.assert_array_equal(batch["camera"][row, 0], before)
                np.testing.assert_array_equal(batch["again"][row, 0], batch["camera"][row, 1])
                np.testing.assert_array_equal(batch["state"][row, 0], source.read("state", index))
                for step in range(16):
                    action = source.read("action", min(index + step, last))
                    np.testing.assert_array_equal(batch["action"][row, step], action)
                    assert batch.valid["action"][row, step] == (index + step <= last)
    collection.close()


REAL: dict[str, tuple[Steps | Times, str | float]] = {
    "bridge_v2_rlds_debug": (Steps("state", (-1, 0, 1), edge="repeat"), "state"),
    "dapg_door_human": (Steps("action", tuple(range(8)), edge="repeat"), "action"),
    "aria_gen1_mps": (Times("pose.trajectory", (-5_000_000, 0, 33_333_333), Interpolate(), "repeat"), 100.0),
    G1: (Times("action", (0, 33_333_334), Hold(), "repeat"), "camera.cam_high"),
}


@pytest.mark.parametrize("name", REAL)
def test_windows_of_real_recordings_are_those_found_one_by_one(name: str, shared_data: Path) -> None:
    take, anchor = REAL[name]
    collection = open_collection(shared_data / name)
    recordings = collection.keys()[:2]
    sources = {key: collection.open(key) for key in recordings}
    tracks = {key: Track(source, take.stream) for key, source in sources.items()}
    dataset = Dataset(shared_data / name, Windows({"x": take}, anchor), recordings)
    with Feed(dataset, FeedConfig(batch=40, workers=0)) as feed:
        samples, batch = feed.samples[0], next(feed)
    compared = 0
    for row in range(len(batch)):
        key, time_ns = samples.keys[batch.recording[row]], int(batch.anchor_ns[row])
        source, track, expected = sources[key], tracks[key], None
        for place, offset in enumerate(take.offsets_ns if isinstance(take, Times) else take.offsets):
            if isinstance(take, Times):
                if time_ns + offset > track.times[-1]:
                    continue
                picked = track.pick(time_ns + offset, None, take.policy or Interpolate())
                expected = None if picked is None else picked.value
            else:
                order = np.argsort(source.stamps(take.stream), kind="stable")
                at = int(np.searchsorted(track.times, time_ns, "right")) - 1 + offset
                expected = source.read(take.stream, int(order[at])) if 0 <= at < len(order) else None
            assert batch.valid["x"][row, place] == (expected is not None)
            if expected is not None:
                np.testing.assert_allclose(batch["x"][row, place], np.asarray(expected), atol=1e-12)
                compared += 1
    assert compared > 30


def test_streams_of_several_rates_come_together(shared_data: Path) -> None:
    path, counts = shared_data / "aria_gen1_aea", list[int]()
    with open_collection(path).open(open_collection(path).keys()[0]) as source:
        imu = next(name for name, each in source.streams.items() if each.kind == "imu")
        slam = next(name for name in source.streams if name.startswith("camera.slam"))
        takes: dict[str, Take] = {"imu": Span(imu, 50_000_000, edge="repeat"), "slam": Steps(slam, (0,), edge="repeat")}
        with Feed(Dataset(path, Windows(takes, "camera.rgb")), FeedConfig(batch=4, workers=1, samples=4)) as feed:
            batch = next(feed)
            for row, time_ns in enumerate(batch.anchor_ns.tolist()):
                stamps = source.stamps(imu)
                inside = np.flatnonzero((stamps > time_ns - 50_000_000) & (stamps <= time_ns))
                counts.append(len(inside))
                assert batch.valid["imu"][row].sum() == len(inside)
                expected = [source.read(imu, int(each)) for each in inside]
                np.testing.assert_array_equal(batch["imu"][row][: len(inside)], expected)
                assert not batch["imu"][row][len(inside) :].any()
                held = max(int(np.searchsorted(source.stamps(slam), time_ns, "right")) - 1, 0)
                np.testing.assert_array_equal(batch["slam"][row, 0], source.read(slam, held))
    assert max(counts) > 30


def test_the_order_is_that_of_order_with_any_workers_and_an_epoch_has_all(bags: Path) -> None:
    expected = Order(23, 7).take(0, 46)
    runs = []
    for workers, batch in ((0, 5), (1, 5), (3, 5)):
        with Feed(Dataset(bags / "two", PICTURES), FeedConfig(batch, workers, seed=7, samples=46)) as feed:
            runs.append(copies(feed))
            with pytest.raises(StopIteration):
                next(feed)
    require_equal(runs[1], runs[0])
    require_equal(runs[2], runs[0])
    np.testing.assert_array_equal(np.concatenate([each["number"] for each in runs[0]]), expected)
    assert [len(each["number"]) for each in runs[0]] == [5] * 9 + [1]


@pytest.mark.parametrize("place", [0, 1, 3, 6])
def test_a_stopped_feed_goes_on_exactly_with_other_workers(bags: Path, place: int) -> None:
    datasets = [Dataset(bags / "two", PICTURES, weight=2), Dataset(bags / "one", PICTURES, weight=1)]
    with Feed(datasets, FeedConfig(4, 0, seed=1)) as feed:
        whole = copies(feed, 10)
    with Feed(datasets, FeedConfig(4, 2, prefetch=3, seed=1)) as feed:
        first = copies(feed, place) if place else []
        state = json.loads(json.dumps(feed.state()))
    with Feed(datasets, FeedConfig(4, 1, prefetch=1, seed=1), state=state) as feed:
        require_equal([*first, *copies(feed, 10 - place)], whole)
    counts = Counter(np.concatenate([each["dataset"] for each in whole]).tolist())
    assert abs(counts[0] - 40 * 2 / 3) < 1


def test_a_state_of_something_else_is_refused(bags: Path) -> None:
    with Feed(Dataset(bags / "two", PICTURES), FeedConfig(4, 0)) as feed:
        state = feed.state()
    with pytest.raises(ValueError, match="another feed: seed is 1, was 0"):
        Feed(Dataset(bags / "two", PICTURES), FeedConfig(4, 0, seed=1), state=state)
    with pytest.raises(ValueError, match="another feed: anchors"):
        Feed(Dataset(bags / "one", PICTURES), FeedConfig(4, 0), state=state)


def test_shards_share_one_order(bags: Path) -> None:
    def numbers(shard: tuple[int, int], batch: int) -> list[np.ndarray]:
        with Feed(Dataset(bags / "two", PICTURES), FeedConfig(batch, 0, samples=29, shard=shard)) as feed:
            return [each["number"] for each in copies(feed)]

    left, right = numbers((0, 2), 4), numbers((1, 2), 4)
    assert len(left) == len(right) == 3  # five that are left make no round
    together = [each for pair in zip(left, right, strict=True) for each in pair]
    np.testing.assert_array_equal(np.concatenate(together), np.concatenate(numbers((0, 1), 8))[:24])


def test_datasets_that_differ_cannot_be_mixed(bags: Path) -> None:
    other = Windows({"camera": Steps("camera.rgb"), "state": PICTURES.takes["state"]}, "camera.rgb")
    with pytest.raises(ValueError, match=r"two cannot be mixed: camera is \(\(1, 8, 12, 3\)"):
        Feed([Dataset(bags / "one", PICTURES), Dataset(bags / "two", other)], FeedConfig(4, 0))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_picture_is_told_with_its_file(shared_data: Path, tmp_path: Path, workers: int) -> None:
    shutil.copytree(shared_data / G1, tmp_path / "g1", copy_function=shutil.copyfile)
    for folder in [tmp_path / "g1", *(tmp_path / "g1").rglob("*")]:
        folder.chmod(0o755)
    windows = Windows({"camera": Steps("camera.cam_high")}, "camera.cam_high")
    feed = Feed(Dataset(tmp_path / "g1", windows), FeedConfig(16, workers))
    video = next((tmp_path / "g1").rglob("*.mp4"))
    data = bytearray(video.read_bytes())
    for at in range(len(data) // 2, len(data) // 2 + 2_000_000, 200):
        data[at] ^= 0xFF
    video.write_bytes(data)
    with pytest.raises(SourceError, match=r"g1: episode_00000\d: camera.cam_high, sample \d+: .*file-000.mp4"):
        for _ in range(48):
            next(feed)
    assert not any(psutil.pid_exists(each) for each in feed.workers)
    with pytest.raises(ValueError, match="closed, or ended by an error"):
        next(feed)


def test_a_worker_that_dies_is_told_and_the_others_end(bags: Path) -> None:
    feed = Feed(Dataset(bags / "two", PICTURES), FeedConfig(4, 2))
    next(feed)
    os.kill(feed.workers[1], signal.SIGKILL)
    with pytest.raises(RuntimeError, match="worker 1 of the feed was ended by signal 9"):
        for _ in range(50):
            next(feed)
    assert gone(feed.workers)


def test_nothing_is_left_when_a_feed_is_dropped_closed_or_its_process_killed(bags: Path) -> None:
    feed = Feed(Dataset(bags / "two", PICTURES), FeedConfig(4, 1))
    batch, workers = next(feed), feed.workers
    if (maps := Path(f"/proc/{workers[0]}/maps")).exists():
        told = maps.read_text()
        assert "memfd:foreact-feed (deleted)" in told and "/dev/shm" not in told  # no name that could be left
    kept = batch["camera"].copy()
    del feed
    gc.collect()
    assert gone(workers)
    np.testing.assert_array_equal(batch["camera"], kept)  # a batch outlives its feed
    code = f"""
import sys
from pathlib import Path
from foreact.episodes.feed.feed import Dataset, Feed, FeedConfig
from foreact.episodes.feed.windows import Steps, Windows
feed = Feed(Dataset(Path({str(bags / "two")!r}), Windows({{"x": Steps("camera.rgb")}}, "camera.rgb")), FeedConfig(4, 1))
next(feed)
print(*feed.workers, flush=True)
while True:
    next(feed)
"""
    for how in (signal.SIGINT, signal.SIGKILL):
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            workers = tuple(int(each) for each in process.stdout.readline().split())
            assert workers
            os.killpg(process.pid, how)  # as a terminal does
            _, told = process.communicate(timeout=30)
        finally:
            process.kill()
        assert gone(workers)
        if how == signal.SIGINT:
            assert told.count("KeyboardInterrupt") == 1, told  # by the caller alone


def gone(workers: tuple[int, ...]) -> bool:
    for _ in range(100):
        if not any(psutil.pid_exists(each) and psutil.Process(each).status() != "zombie" for each in workers):
            return True
        time.sleep(0.05)
    return False


def test_memory_stays_flat(bags: Path) -> None:
    with Feed(Dataset(bags / "two", PICTURES), FeedConfig(8, 1)) as feed:
        processes = [psutil.Process(), *(psutil.Process(each) for each in feed.workers)]

        def used() -> list[int]:
            for _ in range(30):  # ten epochs of 23 samples
                next(feed)
            return [each.memory_info().rss for each in processes]

        used()
        first, last = used(), [used() for _ in range(3)][-1]
    assert all(after < 1.05 * before + (1 << 20) for before, after in zip(first, last, strict=True)), (first, last)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"batch": 0}, "batch=0 must be at least 1"),
        ({"workers": -1}, "workers=-1"),
        ({"prefetch": 0}, "prefetch=0"),
        ({"shard": (2, 2)}, "shard"),
    ],
)
def test_bad_numbers_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        FeedConfig(**changes)


def test_more_memory_than_there_is_is_refused_before_it_is_touched(bags: Path) -> None:
    with pytest.raises(MemoryError, match="give a smaller batch or prefetch"):
        Feed(Dataset(bags / "two", PICTURES), FeedConfig(batch=1 << 33, workers=0))
