"""What `foreact doctor dataset` finds: each fault alone, and nothing in a good recording."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes import doctor_dataset as module
from foreact.episodes.doctor_dataset import DoctorDatasetConfig, doctor_dataset
from foreact.episodes.examine import Asked, examine
from foreact.episodes.sources.parts import PartsSource, Recordings, array_part
from foreact.episodes.sources.protocol import SourceError, Stream

MS = 1_000_000
COUNT = 40
KINDS: dict[str, Any] = {"camera.rgb": "image", "state": "vector", "pose.head": "pose", "mic": "audio"}
UNITS = {"state": "rad,m", "pose.head": "m,m,m,1,1,1,1"}


def recording(
    *,
    values: dict[str, np.ndarray] | None = None,
    times: dict[str, np.ndarray] | None = None,
    rate: float = 50.0,
    **about: Any,
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
    ], **about)  # fmt: skip


def _turns(count: int) -> np.ndarray:
    half = np.linspace(0, 1, count)[:, None] / 2
    return np.concatenate([np.cos(half), np.sin(half), np.sin(half) * 0, np.sin(half) * 0], axis=1)


def found(source: PartsSource, asked: Asked = Asked()) -> list[tuple[str, str, str]]:  # noqa: B008
    return [(each.stream, each.severity, each.what) for each in examine(source, asked).findings]


def changed(name: str, place: Any, value: Any) -> PartsSource:
    values = np.array(recording().read_range(name, 0, COUNT))
    values[place] = value
    return recording(values={name: values})


def test_nothing_is_found_in_a_good_recording_and_its_numbers_are_told() -> None:
    seen = examine(recording())
    assert seen.findings == [] and seen.samples == 3 * COUNT
    state = np.array(recording().read_range("state", 0, COUNT))
    np.testing.assert_allclose(seen.statistics["state"].mean, state.mean(0))
    np.testing.assert_allclose(seen.statistics["state"].std, state.std(0))
    np.testing.assert_allclose(seen.statistics["state"].quantiles[1], np.median(state, axis=0))
    assert set(seen.statistics) == {"state", "pose.head"}


@pytest.mark.parametrize(
    ("source", "stream", "severity", "said"),
    [
        (changed("state", (3, 1), np.nan), "state", "grave", "1 of 40 samples hold what is not finite"),
        (changed("state", (3, 1), np.inf), "state", "grave", "not finite, 1 of them infinite"),
        (changed("state", (slice(None), 1), 7.0), "state", "remark", "never changes: element 1"),
        (changed("state", (5, 0), 180.0), "state", "remark", "perhaps degrees: element 0 up to 180"),
        (changed("state", (5, 1), 1800.0), "state", "remark", "perhaps millimetres: element 1 up to 1800"),
        (changed("pose.head", (5, slice(3, 7)), (1, 1, 0, 0)), "pose.head", "grave", "1 of 40 orientations"),
        (changed("pose.head", (5, slice(3, 7)), -_turns(40)[5]), "pose.head", "remark", "flips 2 times"),
        (changed("pose.head", slice(4, 6), np.nan), "pose.head", "remark", "nothing is seen in 2 of 40"),
        (changed("camera.rgb", slice(10, 18), 9), "camera.rgb", "grave", "up to 8 equal pictures in a row, from"),
        (changed("camera.rgb", 3, 0), "camera.rgb", "remark", "1 of 40 pictures are of one value, the first is 3"),
        (recording(rate=30.0), "state", "remark", "says 30 Hz, has 50 Hz"),
        (
            recording(values={"state": np.random.default_rng(1).normal(size=(20, 2))}),
            "state", "remark", "ends 0.400 s before most streams",
        ),
        (recording(values={"state": np.zeros((0, 2))}), "state", "remark", "has no samples"),
        (recording(values={"mic": np.zeros((40, 100, 2), np.int16)}), "mic", "grave", "no sound at all"),
    ],
)  # fmt: skip
def test_each_fault_is_found_and_nothing_else(source: PartsSource, stream: str, severity: str, said: str) -> None:
    findings = found(source)
    match = [each for each in findings if each[0] == stream and each[1] == severity and said in each[2]]
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
    assert any("1 gaps, the longest 220.0 ms, 0.580 s after its start; about 10 samples are lost" in e for e in told)


def test_pictures_that_stand_still_with_everything_else_are_a_remark() -> None:
    """A simulated scene at rest gives equal pictures; a camera beside a robot that moves does not."""
    pictures, states = (np.array(recording().read_range(name, 0, COUNT)) for name in ("camera.rgb", "state"))
    pictures[10:18], states[10:18] = pictures[10], states[10]
    poses = np.tile(np.array([[0.0, 0, 0, 1, 0, 0, 0]]), (COUNT, 1))
    at_rest = found(recording(values={"camera.rgb": pictures, "state": states, "pose.head": poses}))
    assert [each[1] for each in at_rest] == ["remark"] and "nothing else moves" in at_rest[0][2]
    assert [each[1] for each in found(recording(values={"camera.rgb": pictures}))] == ["grave"]


def test_of_many_pictures_as_many_are_looked_at_as_asked_and_it_is_said() -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (1000, 4, 4, 3), np.uint8)
    pictures[500:520] = pictures[500]
    source = recording(values={"camera.rgb": pictures})
    read: list[int] = []
    part = source._parts["camera.rgb"]
    whole = part.read_range
    assert whole is not None
    object.__setattr__(part, "read_range", lambda a, b: (read.extend(range(a, b)), whole(a, b))[1])
    told = [what for stream, _, what in found(source, Asked(pictures=180)) if stream == "camera.rgb"]
    assert len(read) == 180 and read[0] == 0 and read[-1] == 999
    assert "180 of 1000 pictures were looked at, in stretches of 60" in told
    assert any("from number 500; 20 of 180" in each for each in told)
    read.clear()
    assert not [what for what in found(source, Asked(pictures=0)) if "looked at" in what[2]]
    assert len(read) == 1000


def test_a_grave_finding_fails_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(index: int) -> Any:
        raise SourceError("cut short")

    bad = recording(values={"pose.head": np.zeros((0, 7))})
    object.__setattr__(bad._parts["state"], "read_range", lambda start, stop: broken(start))
    made = Recordings(tmp_path, "made", {"good": recording, "bad": lambda: bad}, notes=("one file was left out",))
    monkeypatch.setattr(module, "open_collection", lambda path: made)
    outcome = doctor_dataset(DoctorDatasetConfig(tmp_path))
    assert outcome.failed and outcome.figures["grave"] == 1
    advice = "copy the file again, or drop the recording"
    assert outcome.rows[0] == ("grave", "bad", "state", "cannot be read: cut short", advice)
    assert outcome.rows[1][2:4] == ("pose.head", "has no samples")
    assert outcome.rows[-1][3] == "one file was left out"
    good = doctor_dataset(DoctorDatasetConfig(tmp_path, recordings=("good",)))
    assert not good.failed
    with pytest.raises(ValueError, match="no recording ugly"):
        doctor_dataset(DoctorDatasetConfig(tmp_path, recordings=("ugly",)))
    with pytest.raises(ValueError, match="pictures=-1"):
        DoctorDatasetConfig(tmp_path, pictures=-1)


def test_recordings_are_compared_with_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def cut(key: str, length: int, *, seed: int, **about: Any) -> PartsSource:
        rng = np.random.default_rng(seed)
        made = recording(values={
            "state": rng.normal(size=(length, 2)),
            "camera.rgb": rng.integers(0, 255, (length, 4, 4, 3), np.uint8),
            "pose.head": np.concatenate([rng.normal(size=(length, 3)), _turns(length)], axis=1),
        }, metadata=about)  # fmt: skip
        made.key = key
        return made

    made = Recordings(tmp_path, "made", {
        "a": lambda: cut("a", 40, seed=1, success=True), "b": lambda: cut("b", 40, seed=2, success=True),
        "c": lambda: cut("c", 15, seed=3, success=False), "d": lambda: cut("d", 40, seed=2, success=True),
        "e": lambda: cut("e", 41, seed=5, success=True),
    })  # fmt: skip
    monkeypatch.setattr(module, "open_collection", lambda path: made)
    rows = [row[:4] for row in doctor_dataset(DoctorDatasetConfig(tmp_path)).rows]
    assert rows == [
        ("remark", "c", "", "is 0.28 long, half of the 5 recordings are longer than 0.78"),
        ("remark", "c", "", "success is not reached in 1 of the 5 recordings that say how they ended"),
        ("remark", "b, d", "", "2 recordings hold the same numbers"),
    ]
    never = Recordings(
        tmp_path, "made", {key: lambda key=key: cut(key, 40, seed=ord(key), success=False) for key in "abc"}
    )
    monkeypatch.setattr(module, "open_collection", lambda path: never)
    outcome = doctor_dataset(DoctorDatasetConfig(tmp_path))
    assert outcome.failed and "success is not reached in 3 of the 3" in outcome.rows[0][3]


def test_log_times_of_a_bag_that_wander_against_the_headers_are_told() -> None:
    def lags(least: int, most: int) -> list[tuple[str, str, str]]:
        told: Any = {"state": {"least": least * MS, "median": 5 * MS, "most": most * MS}}
        return found(recording(metadata={"log_after_header_ns": told}))

    assert lags(1, 90) == []
    words = "ms after header stamps, 5.0 ms in the middle"
    assert lags(-3, 9) == [("state", "remark", f"log times lie -3.0 to 9.0 {words}")]
    assert lags(1, 150) == [("state", "remark", f"log times lie 1.0 to 150.0 {words}")]


def test_an_import_that_does_not_know_its_outcome_is_no_failure() -> None:
    assert examine(recording(metadata={"success": False})).summary.success is False
    assert examine(recording(metadata={"success": False, "unknown": ["seed", "success"]})).summary.success is None
