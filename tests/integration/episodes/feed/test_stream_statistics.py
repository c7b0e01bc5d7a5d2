"""Statistics against NumPy over everything, kept by content, and what they say of values that are not finite."""

from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.feed import stream_statistics
from foreact.episodes.feed.stream_statistics import QUANTILES, StreamStatistics, measure_streams
from foreact.episodes.sources import open_collection

G1 = "g1_head_teleop_lerobot_v30"


def plain(values: np.ndarray) -> list[np.ndarray]:
    low, high, mean, std = values.min(0), values.max(0), values.mean(0), values.std(0)
    return [low, high, mean, std, np.quantile(values, QUANTILES, axis=0)]


def table(found: StreamStatistics) -> list[np.ndarray]:
    return [np.array(each) for each in (found.minimum, found.maximum, found.mean, found.std, found.quantiles)]


def test_they_are_exact_for_numbers_and_for_the_pictures_looked_at(shared_data: Path, tmp_path: Path) -> None:
    found = measure_streams(shared_data / G1, pictures=5, cache=tmp_path)
    assert list(found) == ["state", "action", "camera.cam_high"]
    collection = open_collection(shared_data / G1)
    sources = [collection.open(key) for key in collection.keys()]
    states = np.concatenate([np.asarray(each.read_range("state", 0, len(each.stamps("state")))) for each in sources])
    for ours, theirs in zip(table(found["state"]), plain(states.astype(np.float64)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    assert found["state"].count == (765,) * 26 and found["state"].subsample == ""
    pictures = [(0, 0), (0, 191), (1, 382 - 221), (2, 573 - 498), (2, 764 - 498)]
    pixels = np.stack([np.asarray(sources[one].read("camera.cam_high", each)) for one, each in pictures])
    for ours, theirs in zip(
        table(found["camera.cam_high"]), plain(pixels.reshape(-1, 3).astype(np.float64)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    assert found["camera.cam_high"].subsample == "5 of 765 pictures, evenly spaced"
    assert measure_streams(shared_data / G1, pictures=5, cache=tmp_path) == found


def write(path: Path, actions: np.ndarray) -> Path:
    np.savez(path, actions=actions)
    return path


def test_they_are_worked_out_once_and_anew_when_the_content_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    real = stream_statistics.read_columns

    def counted(*args: object) -> object:
        calls.append("read")
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(stream_statistics, "read_columns", counted)
    values = np.random.default_rng(0).normal(size=(50, 2))
    path = write(tmp_path / "set.npz", values)
    first = measure_streams(path, cache=tmp_path)
    assert measure_streams(path, cache=tmp_path) == first and len(calls) == 1
    (kept,) = (tmp_path / "statistics").iterdir()
    kept.write_text("{")
    assert measure_streams(path, cache=tmp_path) == first and len(calls) == 2
    write(path, values + 1)
    assert measure_streams(path, cache=tmp_path)["action"].mean != first["action"].mean and len(calls) == 3


def test_values_that_are_not_finite_are_refused_or_counted(tmp_path: Path) -> None:
    values = np.arange(20.0).reshape(10, 2)
    values[3, 1], values[4, 1] = np.nan, np.inf
    path = write(tmp_path / "set.npz", values)
    with pytest.raises(ValueError, match=r"stream action: 2 values are NaN or infinite; .*not_finite='ignore'"):
        measure_streams(path, cache=tmp_path)
    found = measure_streams(path, not_finite="ignore", cache=tmp_path)["action"]
    assert (found.not_finite, found.count, found.maximum) == ((0, 2), (10, 8), (18.0, 19.0))
    write(path, np.full((3, 2), np.nan))
    with pytest.raises(ValueError, match="element 0 has no finite value"):
        measure_streams(path, not_finite="ignore", cache=tmp_path)
