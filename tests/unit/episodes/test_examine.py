"""What `foreact doctor dataset` finds: each fault alone, and nothing in a good recording."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes import doctor_dataset as module
from foreact.episodes.doctor_dataset import DoctorDatasetConfig, doctor_dataset
from foreact.episodes.examine import examine
from foreact.episodes.sources.parts import PartsSource, Recordings, array_part
from foreact.episodes.sources.protocol import SourceError, Stream

MS = 1_000_000
COUNT = 40
KINDS: dict[str, Any] = {"camera.rgb": "image", "state": "vector", "pose.head": "pose"}
UNITS = {"state": "rad,m", "pose.head": "m,m,m,1,1,1,1"}


def recording(
    *, values: dict[str, np.ndarray] | None = None, times: dict[str, np.ndarray] | None = None, rate: float = 50.0
) -> PartsSource:
    """A good recording of 40 samples at 50 Hz, with some streams or stamps of another kind."""
    rng = np.random.default_rng(0)
    good = {
        "camera.rgb": rng.integers(0, 255, (COUNT, 4, 4, 3), np.uint8),
        "state": rng.normal(size=(COUNT, 2)),
        "pose.head": np.concatenate([rng.normal(size=(COUNT, 3)), _turns(COUNT)], axis=1),
    } | (values or {})
    stamps = {name: np.arange(len(each), dtype=np.int64) * 20 * MS for name, each in good.items()} | (times or {})
    return PartsSource("one", [
        array_part(
            Stream(name, KINDS[name], each.shape[1:], str(each.dtype), UNITS.get(name, ""), rate_hz=rate),
            stamps[name], each,
        )
        for name, each in good.items()
    ])  # fmt: skip


def _turns(count: int) -> np.ndarray:
    half = np.linspace(0, 1, count)[:, None] / 2
    return np.concatenate([np.cos(half), np.sin(half), np.sin(half) * 0, np.sin(half) * 0], axis=1)


def found(source: PartsSource) -> list[tuple[str, bool, str]]:
    return [(each.stream, each.grave, each.what) for each in examine(source)[0]]


def changed(name: str, place: Any, value: Any) -> PartsSource:
    values = np.array(recording().read_range(name, 0, COUNT))
    values[place] = value
    return recording(values={name: values})


def test_nothing_is_found_in_a_good_recording_and_its_numbers_are_told() -> None:
    findings, statistics = examine(recording())
    assert findings == []
    state = np.array(recording().read_range("state", 0, COUNT))
    np.testing.assert_allclose(statistics["state"].mean, state.mean(0))
    np.testing.assert_allclose(statistics["state"].quantiles[1], np.median(state, axis=0))
    assert set(statistics) == {"state", "pose.head"}


@pytest.mark.parametrize(
    ("source", "stream", "grave", "said"),
    [
        (changed("state", (3, 1), np.nan), "state", True, "1 of 40 samples hold what is not finite"),
        (changed("state", (slice(None), 1), 7.0), "state", False, "never changes: element 1"),
        (changed("state", (5, 0), 180.0), "state", False, "perhaps degrees: element 0"),
        (changed("pose.head", (5, slice(3, 7)), (1, 1, 0, 0)), "pose.head", True, "1 of 40 orientations"),
        (changed("camera.rgb", slice(10, 18), 9), "camera.rgb", True, "up to 8 equal pictures in a row, 4 of 40"),
        (changed("camera.rgb", 3, 0), "camera.rgb", False, "1 of 40 pictures are of one value"),
        (recording(rate=30.0), "state", False, "says 30 Hz, has 50 Hz"),
        (
            recording(values={"state": np.random.default_rng(1).normal(size=(20, 2))}),
            "state", False, "ends 0.400 s before the last",
        ),
        (recording(values={"state": np.zeros((0, 2))}), "state", False, "has no samples"),
    ],
)  # fmt: skip
def test_each_fault_is_found_and_nothing_else(source: PartsSource, stream: str, grave: bool, said: str) -> None:
    findings = found(source)
    match = [each for each in findings if each[0] == stream and each[1] == grave and said in each[2]]
    assert match, findings
    assert {each[0] for each in findings} <= {stream, *(["camera.rgb", "pose.head"] if "says" in said else [])}


def test_stamps_that_go_back_stand_still_or_leave_gaps() -> None:
    times = np.arange(COUNT, dtype=np.int64) * 20 * MS
    times[5], times[6] = times[6], times[5]
    times[20] = times[19]
    times[30:] += 200 * MS
    told = [what for stream, _, what in found(recording(times={"state": times})) if stream == "state"]
    assert any("1 of 40 stamps go back" in each for each in told)
    assert any("1 samples have the stamp of another" in each for each in told)
    assert any("1 gaps, the longest 220.0 ms" in each for each in told)


def test_a_grave_finding_fails_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(index: int) -> Any:
        raise SourceError("cut short")

    bad = recording()
    object.__setattr__(bad._parts["state"], "read_range", lambda start, stop: broken(start))
    made = Recordings(tmp_path, "made", {"good": recording, "bad": lambda: bad}, notes=("one file was left out",))
    monkeypatch.setattr(module, "open_collection", lambda path: made)
    outcome = doctor_dataset(DoctorDatasetConfig(tmp_path))
    assert outcome.failed and outcome.figures["grave"] == 1
    assert outcome.rows[0] == ("bad", "state", "grave", "cannot be read: cut short")
    assert outcome.rows[1][3] == "one file was left out"
    good = doctor_dataset(DoctorDatasetConfig(tmp_path, recordings=("good",)))
    assert not good.failed
    with pytest.raises(ValueError, match="no recording ugly"):
        doctor_dataset(DoctorDatasetConfig(tmp_path, recordings=("ugly",)))
