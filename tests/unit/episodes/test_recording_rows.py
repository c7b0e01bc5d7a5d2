"""Streams of any rate in rows: each sample in the share of one step, by hand-worked stamps."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest

from foreact.episodes.arrays import StoreError
from foreact.episodes.recording_plan import placed, planned
from foreact.episodes.recording_rows import Column, decoded, edge_values, rows
from foreact.episodes.sources.parts import Part, PartsSource, array_part
from foreact.episodes.sources.protocol import Kind, Source, Stream


def stream(name: str, kind: Kind, values: Any, stamps: list[int], **more: Any) -> Part:
    """A part in memory; texts as a list."""
    times = np.array(stamps, np.int64)
    if kind in ("text", "event"):
        return Part(Stream(name, kind, (), "str", **more), times, values.__getitem__)
    shape = more.pop("shape", values.shape[1:])
    return array_part(Stream(name, kind, shape, str(values.dtype), **more), times, values)


def table(*parts: Part, driver: str | float = "", **more: Any) -> tuple[Any, list[dict[str, Any]]]:
    """Plan and rows of one recording."""
    source = PartsSource("one", parts, **more)
    plan = planned([("one", opener(source))], driver, False, lambda done: None)
    steps, places = placed(source, plan, "one")
    return plan, list(rows(source, places, plan.columns, steps, plan.labels))


def opener(source: Source) -> Callable[[], AbstractContextManager[Source]]:
    return lambda: nullcontext(source)


CAMERA = stream("camera.a", "image", np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2), [10, 20, 30])


def column(found: list[dict[str, Any]], name: str) -> Any:
    return np.stack([row[name] for row in found]).tolist()


def open_rows(*parts: Part, driver: str | float = "") -> list[dict[str, Any]]:
    return table(*parts, driver=driver)[1]


def test_a_slower_stream_is_held_with_its_own_stamp() -> None:
    found = open_rows(CAMERA, stream("state", "vector", np.array([[1.5], [2.5]], np.float32), [12, 28]))
    assert column(found, "time_ns") == [[10], [20], [30]]
    assert column(found, "observation.state") == [[0], [1.5], [2.5]]
    assert column(found, "stamps.state") == [[-1], [12], [28]]
    assert "count.state" not in found[0]


def test_a_faster_stream_has_a_window_that_loses_neither_beginning_nor_end() -> None:
    values = np.arange(1, 8, dtype=np.float64)[:, None]
    found = open_rows(CAMERA, stream("force", "vector", values, [1, 10, 11, 20, 21, 29, 44]))
    assert column(found, "count.force") == [[2], [2], [3]]
    assert column(found, "stamps.force") == [[1, 10, -1], [11, 20, -1], [21, 29, 44]]
    assert column(found, "streams.force") == [[[1], [2], [0]], [[3], [4], [0]], [[5], [6], [7]]]


def test_policies_find_the_newest_of_a_fast_state() -> None:
    values = np.array([[1.0], [2], [3]], np.float32)
    found = open_rows(CAMERA, stream("action", "vector", values, [8, 9, 25]))
    assert column(found, "action") == [[2], [2], [3]]
    assert column(found, "count.action") == [[2], [0], [1]]


def test_the_newest_picture_comes_first_and_is_held() -> None:
    pictures = np.arange(3, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    found = open_rows(CAMERA, stream("camera.b", "image", pictures, [15, 16, 30]))
    assert column(found, "stamps.camera.b") == [[-1, -1], [16, 15], [30, -1]]
    assert [int(row["observation.images.b"].max()) for row in found] == [0, 1, 2]
    assert [int(row["earlier.camera.b.1"].max()) for row in found] == [0, 0, 0]
    assert found[0]["observation.images.b"].shape == (2, 2, 3)


def test_texts_of_a_window_are_one_text() -> None:
    found = open_rows(CAMERA, stream("said", "text", ["a", 'b"', "c"], [10, 11, 12]))
    assert [row["streams.said"] for row in found] == ['["a"]', json.dumps(['b"', "c"]), "[]"]


def test_stamps_out_of_order_and_doubled() -> None:
    plan, found = table(CAMERA, stream("x", "vector", np.array([3, 1, 2], np.uint64), [20, 10, 20]))
    assert column(found, "streams.x") == [[1, 0], [3, 2], [0, 0]]
    assert found[0]["streams.x"].dtype == np.int64
    assert next(each for each in plan.columns if each.stream == "x").width == 2


def test_sizes_that_vary_are_said() -> None:
    blocks = [np.ones((2, 1), np.int16), np.full((1, 1), 7, np.int16)]
    sound = Part(Stream("mic", "audio", (None, 1), "int16"), np.array([10, 30], np.int64), blocks.__getitem__)
    found = open_rows(CAMERA, sound)
    assert column(found, "sizes.mic") == [[2], [2], [1]]
    assert column(found, "streams.mic") == [[[1], [1]], [[1], [1]], [[7], [0]]]


def test_labels_wider_than_a_picture_come_back() -> None:
    values = np.array([[[7, 1 << 60]], [[7, 7]]], np.uint64)
    plan, found = table(stream("segmentation.a", "segmentation", values, [1, 2]))
    picture = found[0]["observation.images.segmentation.a"]
    assert picture.tolist() == [[[0, 0, 0], [1, 0, 0]]]
    again = decoded(plan.columns[0], picture, plan.labels["segmentation.a"])
    assert again.dtype == np.uint64 and np.array_equal(again, values[0])


def test_a_rate_drives_from_the_first_stamp_to_the_last() -> None:
    found = open_rows(CAMERA, driver=1e8)
    assert column(found, "time_ns") == [[10], [20], [30]]
    assert table(CAMERA, driver=1e8)[0].fps == 10_000


def test_the_frame_rate_is_the_median_or_of_bursts_the_mean() -> None:
    def fps(stamps: list[int]) -> int:
        return table(stream("x", "vector", np.zeros(len(stamps)), stamps))[0].fps

    assert fps([each * 33_000_000 for each in (0, 1, 2, 3, 40)]) == 30
    assert fps([0, 2, 4, 6, 8 * 10**9]) == 1 and fps([0, 2, 4, 6, 10**8]) == 40 and fps([7]) == 1


def test_what_has_no_place_is_told() -> None:
    payload = Part(Stream("raw", "bytes", (), "bytes", description="opus"), np.array([1], np.int64), lambda i: b"x")
    many = stream("camera.c", "image", np.zeros((9, 2, 2), np.uint8), [11, 12, 13, 14, 15, 16, 17, 18, 19])
    sizes = [np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8)]
    mixed = Part(Stream("camera.d", "image", (None, None), "uint8"), np.array([1, 2], np.int64), sizes.__getitem__)
    plan, _ = table(CAMERA, payload, many, mixed, driver="camera.a")
    assert plan.left_out["one"] == {
        "raw": "bytes that are not understood: opus",
        "camera.c": "up to 9 pictures in one row, 8 at most; driver=camera.c gives each a row",
        "camera.d": "samples of several sizes: 2x2, 2x3",
    }


def test_recordings_that_differ_share_one_table() -> None:
    one = PartsSource("one", [CAMERA, stream("state", "vector", np.zeros((3, 2), np.float32), [10, 20, 30])])
    two = PartsSource("two", [CAMERA, stream("state", "vector", np.ones((3, 4), np.float32), [10, 20, 30])])
    empty = PartsSource("three", [stream("state", "vector", np.ones((0, 4), np.float32), [])])
    sources: list[tuple[str, Callable[[], AbstractContextManager[Source]]]] = [
        (each.key, opener(each)) for each in (one, two, empty)
    ]
    plan = planned(sources, "", False, lambda done: None)
    assert [each.value for each in plan.columns] == [
        "observation.images.a", "observation.state", "streams.state.form2"
    ]  # fmt: skip
    assert plan.skipped == ("three",)


def test_what_is_not_as_its_stream_says_is_refused() -> None:
    wrong = stream("x", "vector", np.zeros((3, 2)), [10, 20, 30], shape=(3,))
    with pytest.raises(StoreError, match=r"stream x says its samples are float64 \(3,\), one is float64 \(2,\)"):
        open_rows(CAMERA, wrong)
    with pytest.raises(StoreError, match="driver=none: there is no stream"):
        open_rows(CAMERA, driver="none")
    with pytest.raises(StoreError, match="no recording has a sample"):
        open_rows(stream("x", "vector", np.zeros((0, 2)), []))
    big = stream("x", "vector", np.broadcast_to(np.uint8(0), (9, 1 << 13, 1 << 13)), list(range(9)))
    with pytest.raises(StoreError, match=r"would take 604 MB, 1 samples in each of 9 rows; choose faster rows"):
        open_rows(big)


def test_a_long_lead_does_not_widen_every_row() -> None:
    steps, early = 3000, 2000
    camera = stream("camera.a", "image", np.zeros((steps, 2, 2), np.uint8), [10**6 + each for each in range(steps)])
    values = np.arange(early + 2, dtype=np.float32)
    plan, found = table(camera, stream("force", "vector", values, [*range(early), 10**6 + 5, 10**7]))
    force = next(each for each in plan.columns if each.stream == "force")
    assert (force.width, force.beside) == (0, True)
    first = edge_values(force, found[0]["edges.force"])
    assert [stamp for stamp, _ in first] == list(range(early - 1)) and first[7][1] == np.float32(7)
    assert [column(found, "stamps.force")[row] for row in (0, 4, 5, steps - 1)] == [
        [early - 1], [early - 1], [10**6 + 5], [10**7]
    ]  # fmt: skip
    assert found[1]["edges.force"] == found[steps - 1]["edges.force"] == "[]"


def test_two_streams_do_not_share_a_column() -> None:
    plan, _ = table(CAMERA, stream("a", "image", np.zeros((1, 2, 2), np.uint8), [10]))
    assert len({name for each in plan.columns for name in each.values}) == 2
    assert Column("a", "a", "grey", "uint8", (2, 2), (2, 2)).value == "observation.images.a"
