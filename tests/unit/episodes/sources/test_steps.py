"""Stamps, names and bounded reading of tables."""

import numpy as np
import pytest

from foreact.episodes.sources import SourceError
from foreact.episodes.sources.protocol import Kind
from foreact.episodes.sources.steps import (
    Column,
    Steps,
    column_kind,
    column_name,
    column_part,
    distinct,
    natural,
    numbered,
    timed,
)


def test_stamps_with_and_without_a_rate() -> None:
    assert numbered().stamps(3).tolist() == [0, 1, 2]
    assert timed(30, "fps").stamps(4).tolist() == [0, 33_333_333, 66_666_667, 100_000_000]
    assert timed(np.float32(0.5), "fps").stamps(2).tolist() == [0, 2_000_000_000]
    with pytest.raises(SourceError, match="20000000 steps"):
        numbered().stamps(20_000_000)


@pytest.mark.parametrize("rate", [0, -30, float("nan"), float("inf"), "30", True, None, 1e9])
def test_what_is_no_rate_leaves_step_numbers(rate: object) -> None:
    steps = timed(rate, "fps")
    assert (steps.clock, steps.rate_hz) == ("step", None) and "which is no rate" in steps.notes[1]


@pytest.mark.parametrize(
    ("column", "kind", "name"),
    [
        ("obs/agentview_image", "image", "camera.agentview"),
        ("obs/agentview_depth", "depth", "depth.agentview"),
        ("depth_image", "depth", "depth.image"),
        ("depth", "depth", "depth.depth"),
        ("camera0_rgb", "image", "camera.camera0"),
        ("img", "image", "camera.img"),
        ("actions", "vector", "action"),
        ("obs/eef_pos", "vector", "obs.eef_pos"),
    ],
)
def test_names(column: str, kind: Kind, name: str) -> None:
    assert column_name(column, kind) == name


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "kind"),
    [
        ("a", "u1", (64, 64, 3), "image"),
        ("a", "u1", (64, 64, 1), "image"),
        ("a", "u1", (3, 3, 3), "vector"),
        ("a", "f4", (64, 64, 3), "vector"),
        ("front_depth", "f4", (64, 64, 1), "depth"),
        ("front_depth", "u2", (64, 64), "depth"),
        ("a", "f8", (7,), "vector"),
    ],
)
def test_kinds(name: str, dtype: str, shape: tuple[int, ...], kind: Kind) -> None:
    assert column_kind(name, np.dtype(dtype), shape) == kind


def test_demo_2_comes_before_demo_10() -> None:
    assert sorted(["demo_10", "demo_2", "demo"], key=natural) == ["demo", "demo_2", "demo_10"]


def test_columns_of_one_name_are_told_apart() -> None:
    columns = ("obs/front_rgb", "obs/front_image", "front_rgb", "x/front_rgb")
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    parts = [(name, column_part(Column("f", frames, 0, 2), name, numbered())) for name in columns]
    names = [part.stream.name for part in distinct(parts)]
    assert names == ["camera.front", "obs.front_image", "front_rgb", "x.front_rgb"]


class Rows:
    """Counts how often it is read; row 3 is damaged if asked."""

    dtype, shape = np.dtype("f8"), (6, 2)

    def __init__(self, damaged: bool = False) -> None:
        self.reads, self._damaged = 0, damaged

    def __getitem__(self, rows: slice) -> np.ndarray:
        self.reads += 1
        if self._damaged and rows.start <= 3 < rows.stop:
            raise RuntimeError("bad chunk")
        return np.arange(12.0).reshape(6, 2)[rows]


def test_a_small_column_is_read_once() -> None:
    rows = Rows()
    part = column_part(Column("f", rows, 1, 4), "x", numbered())
    assert [np.asarray(part.read(i)).tolist() for i in range(4)] == [[2, 3], [4, 5], [6, 7], [8, 9]]
    assert rows.reads == 1


def test_a_damaged_row_does_not_take_the_others_with_it() -> None:
    part = column_part(Column("f: x", Rows(damaged=True), 0, 6), "x", numbered())
    assert np.asarray(part.read(0)).tolist() == [0, 1]
    with pytest.raises(SourceError, match="f: x: steps 3 to 4 cannot be read: bad chunk"):
        part.read(3)


def test_rows_too_large_are_refused() -> None:
    rows = Rows()
    rows.shape = (2, 1 << 26)
    with pytest.raises(SourceError, match="are not read"):
        column_part(Column("f", rows, 0, 2), "x", Steps("step", None, ()))
