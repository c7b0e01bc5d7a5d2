"""Timing caches: used on their own machine, refused and rebuilt on any other, and said so."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foreact.deploy_edge.runtime.tensorrt.timing import read_timings, write_timings


def test_a_cache_is_kept_and_used_again(machine: Callable[..., Any], tmp_path: Path) -> None:
    here, path = machine("10.16"), tmp_path / "policy.timing"
    assert "timing cache: policy.timing is new" in here.build(timings=path).notes
    assert here.faults.seen["cache"] == b""
    notes = here.build(timings=path).notes
    assert here.faults.seen["cache"] == b"timings of 10.16.2.10"
    assert any(note.startswith("timing cache: policy.timing, ") for note in notes)


def test_a_cache_of_an_older_tensorrt_is_refused_and_rebuilt(machine: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "policy.timing"
    machine("10.3").build(timings=path)
    newer = machine("10.13")
    notes = newer.build(timings=path).notes
    assert newer.faults.seen["cache"] == b""
    assert "timing cache refused and rebuilt: policy.timing is of another machine or TensorRT" in notes
    assert read_timings(path, newer.here.timing_key())[0] == b"timings of 10.13.3.9"


def test_a_cache_of_another_gpu_or_power_mode_is_refused(machine: Callable[..., Any], tmp_path: Path) -> None:
    here, path = machine(), tmp_path / "policy.timing"
    here.build(timings=path)
    for other in ({"gpu": "Thor"}, {"power_mode": "15W"}, {"cuda_driver": 1}):
        key = dataclasses.replace(here.here, **other).timing_key()
        assert read_timings(path, key)[0] == b"" and "refused" in read_timings(path, key)[1]


@pytest.mark.parametrize("place", [0, 30, -1])
def test_a_damaged_cache_is_refused(tmp_path: Path, place: int) -> None:
    path = tmp_path / "policy.timing"
    write_timings(path, "here", b"timings")
    assert read_timings(path, "here")[0] == b"timings"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert read_timings(path, "here")[0] == b"" and "refused and rebuilt" in read_timings(path, "here")[1]
    path.write_bytes(content[:40])
    assert read_timings(path, "here")[0] == b""


def test_a_cache_that_tensorrt_refuses_is_replaced(machine: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "policy.timing"
    machine().build(timings=path)
    here = machine(faults={"refuse_cache": 1})
    notes = here.build(timings=path).notes
    assert here.faults.seen["cache"] == b""
    assert any("refused and rebuilt: TensorRT says timing cache: header mismatch" in note for note in notes)
    notes = machine(faults={"refuse_cache": 2}).build(timings=path).notes
    assert any("built without a timing cache" in note for note in notes)


def test_rtx_has_none_and_says_so(machine: Callable[..., Any], tmp_path: Path) -> None:
    notes = machine("rtx").build(timings=tmp_path / "t").notes
    assert any(note.startswith("no timing cache") for note in notes) and not (tmp_path / "t").exists()
