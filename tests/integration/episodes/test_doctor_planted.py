"""Faults planted in copies of real recordings are found, and the recordings as they are stay free of them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes import doctor_dataset as module
from foreact.episodes.checks.clocks import clock_lines
from foreact.episodes.contract import CameraSpec, FeatureSpec, PolicyContract
from foreact.episodes.doctor_dataset import DoctorDatasetConfig, doctor_dataset
from foreact.episodes.doctor_report import require_free
from foreact.episodes.examine import Asked, examine
from foreact.episodes.sources import Source, open_collection
from foreact.episodes.sources.parts import PartsSource, Recordings, array_part
from foreact.episodes.sources.protocol import Stream

DATA = Path(__file__).parents[4] / "shared" / "data"
MS = 1_000_000
Values = dict[str, np.ndarray]


class Copy:
    """A recording in memory in which faults are planted.

    Attributes:
        streams, stamps, values: By name.
    """

    def __init__(self, source: Source, names: list[str], most: int = 10**9) -> None:
        self.key, self.metadata = source.key, dict(source.metadata)
        self.streams = {name: source.streams[name] for name in names}
        self.stamps = {name: source.stamps(name)[:most].copy() for name in names}
        self.values: Values = {}
        for name in names:
            read = source.read_range(name, 0, len(self.stamps[name]))
            self.values[name] = np.stack([np.asarray(each) for each in read])

    def clone(self) -> "Copy":
        other = object.__new__(Copy)
        other.key, other.metadata, other.streams = self.key, dict(self.metadata), dict(self.streams)
        other.stamps = {name: each.copy() for name, each in self.stamps.items()}
        other.values = {name: each.copy() for name, each in self.values.items()}
        return other

    def source(self) -> PartsSource:
        parts = [array_part(stream, self.stamps[name], self.values[name]) for name, stream in self.streams.items()]
        return PartsSource(self.key, parts, metadata=self.metadata)


def copy_of(folder: str, names: list[str], most: int = 10**9) -> Copy:
    if not DATA.is_dir():
        pytest.skip("the sample recordings do not lie beside the repository: ../shared/data")
    collection = open_collection(DATA / folder)
    with collection.open(collection.keys()[0]) as source:
        made = Copy(source, names, most)
    collection.close()
    return made


@pytest.fixture(scope="module")
def robot() -> Copy:
    made = copy_of("g1_head_teleop_lerobot_v21", ["camera.cam_high", "state", "action"], 100)
    made.values["camera.cam_high"] = made.values["camera.cam_high"][:, ::4, ::4].copy()
    made.streams["camera.cam_high"] = replace(made.streams["camera.cam_high"], shape=(120, 160, 3))
    return made


@pytest.fixture(scope="module")
def glasses() -> Copy:
    return copy_of("aria_gen1_aea", ["audio", "imu.right", "barometer"])


@pytest.fixture(scope="module")
def walk() -> Copy:
    return copy_of("aria_gen1_mps", ["pose.trajectory", "pose.trajectory.utc", "gaze"])


@pytest.fixture(scope="module")
def scene() -> Copy:
    return copy_of("aria_gen1_adt", ["depth.slam.left", "camera.slam.left"])


@pytest.fixture(scope="module")
def hand() -> Copy:
    return copy_of("human_hand_retarget", ["hand.right.landmarks"], 100)


def rules(copy: Copy, asked: Asked = Asked()) -> set[tuple[str, str, str]]:  # noqa: B008
    return {(each.rule, each.stream, each.severity) for each in examine(copy.source(), asked).findings}


def every(change: Callable[[np.ndarray], Any], stream: str) -> Callable[[Copy], None]:
    """A fault in the values of one stream."""

    def plant(copy: Copy) -> None:
        changed = change(copy.values[stream])
        if changed is not None:
            copy.values[stream] = changed

    return plant


def put(place: Any, value: Any) -> Callable[[np.ndarray], None]:
    def change(values: np.ndarray) -> None:
        values[place] = value

    return change


def freeze(values: np.ndarray) -> None:
    values[30:45] = values[30]


def nearly(values: np.ndarray) -> None:
    values[30:75] = values[30]
    for index in range(31, 75):
        values[index, index, index] ^= 1


def drift(ppm: float) -> Callable[[Copy], None]:
    def plant(copy: Copy) -> None:
        values = copy.values["pose.trajectory.utc"]
        copy.values["pose.trajectory.utc"] = values + ((values - values[0]) * ppm * 1e-6).astype(np.int64)

    return plant


def step(copy: Copy) -> None:
    copy.values["pose.trajectory.utc"][6000:] += 40 * MS


def late(stream: str, by: Callable[[np.ndarray], np.ndarray]) -> Callable[[Copy], None]:
    def plant(copy: Copy) -> None:
        copy.stamps[stream] = by(copy.stamps[stream])

    return plant


def cut(stream: str, keep: slice) -> Callable[[Copy], None]:
    def plant(copy: Copy) -> None:
        copy.stamps[stream], copy.values[stream] = copy.stamps[stream][keep], copy.values[stream][keep]

    return plant


def lose(values: np.ndarray) -> np.ndarray:
    values[60:] += 400 * MS
    return values


def float32_later(values: np.ndarray) -> np.ndarray:
    """Stamps that begin after ten hours and went through 32-bit seconds."""
    seconds = ((values + 36_000 * 10**9) / 1e9).astype(np.float32)
    return np.rint(seconds.astype(np.float64) * 1e9).astype(np.int64)


def xyzw(values: np.ndarray) -> np.ndarray:
    """A head that looks about, in the other order of numbers."""
    level = values.copy()
    level[:, 3:7] = np.array([1.0, 0, 0, 0]) + 0.05 * (values[:, 3:7] - values[:, 3:7].mean(0))
    level[:, 3:7] /= np.linalg.norm(level[:, 3:7], axis=1, keepdims=True)
    return level[:, [0, 1, 2, 4, 5, 6, 3]]


def flip(copy: Copy) -> None:
    copy.values["pose.trajectory"][500:600, 3:7] *= -1


def loud(values: np.ndarray) -> np.ndarray:
    return np.clip(values.astype(np.int64) * 4000, -(2**31), 2**31 - 1).astype(values.dtype)


def run_into_limit(values: np.ndarray) -> np.ndarray:
    return np.minimum(values, np.quantile(values, 0.6, axis=0)[None].astype(values.dtype))


def unit(stream: str, unit: str) -> Callable[[Copy], None]:
    def plant(copy: Copy) -> None:
        copy.streams[stream] = replace(copy.streams[stream], unit=unit)

    return plant


def degrees(copy: Copy) -> None:
    copy.values["state"] = np.rad2deg(copy.values["state"]) * 10
    unit("state", "rad")(copy)


CAMERA = "camera.cam_high"
PLANTED: dict[str, tuple[str, Any, tuple[str, str, str]]] = {
    "nan": ("robot", every(put((50, 3), np.nan), "action"), ("not finite", "action", "grave")),
    "infinite": ("robot", every(put((50, 3), np.inf), "state"), ("not finite", "state", "grave")),
    "constant": ("robot", every(put((slice(None), 3), 0.5), "action"), ("constant", "action", "remark")),
    "jump": ("robot", every(put((50, 3), 9.0), "action"), ("action jump", "action", "remark")),
    "at its limit": ("robot", every(run_into_limit, "action"), ("saturated", "action", "remark")),
    "degrees": ("robot", degrees, ("unit", "state", "remark")),
    "frozen": ("robot", every(freeze, CAMERA), ("frozen", CAMERA, "grave")),
    "nearly frozen": ("robot", every(nearly, CAMERA), ("frozen", CAMERA, "remark")),
    "black": ("robot", every(put(slice(40, 44), np.arange(160)[:, None] % 3), CAMERA), ("black", CAMERA, "remark")),
    "overexposed": ("robot", every(put((7, slice(0, 80)), 254), CAMERA), ("black", CAMERA, "remark")),
    "gap": ("robot", late(CAMERA, lose), ("gaps", CAMERA, "remark")),
    "ends early": ("robot", cut(CAMERA, slice(0, 60)), ("ends", CAMERA, "remark")),
    "begins late": ("robot", cut("action", slice(40, 100)), ("ends", "action", "remark")),
    "out of order": ("robot", late("state", lambda each: each[::-1].copy()), ("order", "state", "grave")),
    "equal stamps": ("robot", late("state", lambda each: each // 10**8 * 10**8), ("stamps equal", "state", "remark")),
    "float32 stamps": ("robot", late("state", float32_later), ("float32 stamps", "state", "remark")),
    "slow": ("robot", late(CAMERA, lambda each: each * 3 // 2), ("rate", CAMERA, "remark")),
    "in g": ("glasses", every(put((..., slice(3, 6)), [0.1, 0.2, 0.97]), "imu.right"), ("unit", "imu.right", "remark")),
    "deg/s": ("glasses", every(put((50, 0), 300.0), "imu.right"), ("unit", "imu.right", "remark")),
    "silence": ("glasses", every(lambda each: each // 10**6, "audio"), ("audio", "audio", "remark")),
    "dead": ("glasses", every(put((..., 2), 0), "audio"), ("audio", "audio", "remark")),
    "clipping": ("glasses", every(loud, "audio"), ("audio", "audio", "remark")),
    "mm": ("walk", every(lambda each: each * [1000, 1000, 1000, 1, 1, 1, 1], "pose.trajectory"),
           ("unit", "pose.trajectory", "remark")),
    "no unit": ("walk", every(lambda each: each * 1.01, "pose.trajectory"), ("quaternion", "pose.trajectory", "grave")),
    "xyzw": ("walk", every(xyzw, "pose.trajectory"), ("quaternion order", "pose.trajectory", "remark")),
    "sign": ("walk", flip, ("quaternion sign", "pose.trajectory", "remark")),
    "drift": ("walk", drift(400.0), ("clock drift", "pose.trajectory.utc", "remark")),
    "clock step": ("walk", step, ("clock step", "pose.trajectory.utc", "grave")),
    "depth in m": ("scene", unit("depth.slam.left", "m"), ("unit", "depth.slam.left", "remark")),
    "hand in mm": ("hand", every(lambda each: each * 1000, "hand.right.landmarks"),
                   ("unit", "hand.right.landmarks", "remark")),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found_and_the_original_is_not_accused(name: str, request: pytest.FixtureRequest) -> None:
    which, plant, expected = PLANTED[name]
    original: Copy = request.getfixturevalue(which)
    faulty = original.clone()
    plant(faulty)
    assert expected not in rules(original)
    assert expected in rules(faulty)


def test_originals_are_not_accused_of_anything_grave(
    robot: Copy, glasses: Copy, walk: Copy, scene: Copy, hand: Copy
) -> None:
    for each in (robot, glasses, walk, scene, hand):
        assert not [rule for rule in rules(each) if rule[2] == "grave"]
    assert rules(robot) == set() and rules(glasses) == set() and rules(hand) == set()


def test_the_line_between_two_clocks(walk: Copy) -> None:
    [line] = clock_lines(walk.source())
    assert abs(line.ppm) < 100
    faster = walk.clone()
    drift(400.0)(faster)
    [seen] = clock_lines(faster.source())
    assert seen.ppm - line.ppm == pytest.approx(400, abs=0.1)
    assert seen.offset_ns == pytest.approx(line.offset_ns, abs=100_000)
    values, stamps = walk.values["pose.trajectory.utc"][:, 0], walk.stamps["pose.trajectory.utc"]
    tick = int(np.flatnonzero(np.diff(values))[0]) + 1  # this clock is held between ticks of 0.1 s
    assert line.count < 200 and line.spread_ns < 2 * MS
    assert line.offset_ns == pytest.approx(int(values[tick] - stamps[tick]), abs=2 * MS)


def contract(robot: Copy, **change: Any) -> PolicyContract:
    """What the robot's own numbers keep to."""

    def feature(name: str) -> FeatureSpec:
        stream, values = robot.streams[name], robot.values[name]
        units = tuple(stream.unit.split(",")) if "," in stream.unit else ("unknown",) * values.shape[1]
        low, high = values.min(0) - 0.1, values.max(0) + 0.1
        return FeatureSpec(
            name, "float32", stream.elements, units, "unknown", tuple(low.tolist()), tuple(high.tolist()), "none"
        )

    camera = CameraSpec("cam_high", 160, 120, ("rgb",), 0, 0, 0, 0, "unknown", (0, 0, 0), (1, 0, 0, 0))
    fields: dict[str, Any] = {
        "version": 1, "embodiment": "g1", "control_rate_hz": 30.0, "chunk_length": 8, "state": feature("state"),
        "action": feature("action"), "cameras": (camera,), "language": None, "audio": None,
    }  # fmt: skip
    return PolicyContract(**(fields | change))


def test_numbers_are_held_against_a_contract(robot: Copy) -> None:
    kept = contract(robot)
    assert rules(robot, Asked(kept)) == set(), "its own contract"
    action = kept.action
    high = list(action.high)
    high[3] = float(np.quantile(robot.values["action"][:, 3], 0.9))
    tight = replace(kept, action=replace(action, high=tuple(high)))
    told = [each.what for each in examine(robot.source(), Asked(tight)).findings if each.rule == "contract range"]
    beyond = float(robot.values["action"][:, 3].max()) - high[3]
    assert len(told) == 1 and told[0].startswith(f"outside the contract: {action.elements[3]} in 10 % of 100 samples")
    assert f"by up to {beyond:.4g}" in told[0]
    swapped = replace(kept, action=replace(action, elements=(*action.elements[:-2], *action.elements[:-3:-1])))
    assert ("contract names", "action", "grave") in rules(robot, Asked(swapped))
    camera = replace(kept.cameras[0], width=640)
    assert ("contract names", CAMERA, "grave") in rules(robot, Asked(replace(kept, cameras=(camera,))))
    other = replace(kept.cameras[0], name="wrist")
    assert ("contract names", "camera.wrist", "grave") in rules(robot, Asked(replace(kept, cameras=(other,))))
    slower = replace(kept, control_rate_hz=15.0)
    assert ("contract names", "action", "remark") in rules(robot, Asked(slower))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Recordings], None]]:
    def use(made: Recordings) -> None:
        monkeypatch.setattr(module, "open_collection", lambda path: made)

    return use  # pyright: ignore[reportReturnType]


def test_the_page_shows_the_fault_and_needs_no_other_file(
    robot: Copy, tmp_path: Path, opened: Callable[[Recordings], None]
) -> None:
    frozen = robot.clone()
    freeze(frozen.values[CAMERA])
    opened(Recordings(tmp_path, "made", {"good": robot.source, "bad": frozen.source}))
    file = tmp_path / "contract.json"
    file.write_text(json.dumps({"contract": asdict(contract(robot))}))
    config = DoctorDatasetConfig(tmp_path, contract=file, out=tmp_path / "report")
    outcome = doctor_dataset(config)
    assert outcome.failed and outcome.path == tmp_path / "report"
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Training on this as it is would go wrong: 1 grave finding." in page
    assert "camera.cam_high stands still from picture 30 to 44" in page
    strip = page.partition("stands still from picture 30 to 44")[2].partition("<h3>")[0]
    shown = [f"<figcaption>picture {index}</figcaption>" in strip for index in (29, 30, 34, 45)]
    assert all(shown), "the picture before, two that are equal, the one after"
    assert page.count("data:image/jpeg") == 6 + 6 + 4 and page.count("data:image/png") >= 8
    assert page.count("src=") == page.count('src="data:image/') and page.count("href=") == 1
    assert not [word for word in ("http", "<script", "@import", "url(") if word in page]
    figures = json.loads((tmp_path / "report" / "report.json").read_text())
    assert figures["grave"] == 1 and figures["findings"][0]["rule"] == "frozen"
    assert figures["findings"][0]["recordings"] == ["bad"] and figures["findings"][0]["advice"]
    assert figures["per_recording"]["good"]["stamps"]["action"]["count"] == 100
    require_free(config.out or tmp_path)  # a report may be written again, another folder may not be touched
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all I have")
    with pytest.raises(ValueError, match="holds something else"):
        doctor_dataset(replace(config, out=tmp_path / "mine"))


def test_memory_is_bounded_by_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantiles of a stream that is too large come from evenly chosen rows; the rest stays exact."""
    from foreact.episodes.checks import numbers

    monkeypatch.setattr(numbers, "KEPT_BYTES", 100_000)
    values = np.random.default_rng(0).normal(size=(50_000, 2))
    stream = Stream("state", "vector", (2,), "float64")
    looking = numbers.Numbers(stream)
    for start in range(0, len(values), 777):
        looking.add(values[start : start + 777])
    kept, seen = looking.rows(), looking.statistics()
    assert seen is not None and kept.nbytes <= 100_000
    np.testing.assert_array_equal(kept, values[:: len(values) // len(kept)])
    np.testing.assert_allclose(seen.mean, values.mean(0))
    np.testing.assert_allclose(seen.std, values.std(0))
    np.testing.assert_array_equal(seen.high, values.max(0))
    np.testing.assert_allclose(seen.quantiles, np.quantile(values, (0.01, 0.5, 0.99), axis=0), atol=0.1)
