"""Any recording to MCAP: compared with its source, without what is to be left out, and again after a stop."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mcap")

from foreact.episodes import convert_mcap as module
from foreact.episodes import convert_work
from foreact.episodes.arrays import StoreError
from foreact.episodes.convert import ConvertConfig, convert
from foreact.episodes.convert_parts import differences, without
from foreact.episodes.inspect import InspectConfig, inspect
from foreact.episodes.sources import SourceError, open_collection
from foreact.episodes.sources.mcap_writer import write_mcap
from foreact.episodes.sources.parts import PartsSource, array_part
from foreact.episodes.sources.protocol import Stream

SECRET = b"under the apple tree"


def recording(key: str) -> PartsSource:
    rng = np.random.default_rng(len(key))
    times = np.array([30, 10, 20, 40], np.int64) * 1_000_000
    values: dict[str, tuple[Any, str, np.ndarray]] = {
        "camera.rgb": ("image", "", rng.integers(0, 255, (4, 6, 8, 3), np.uint8)),
        "depth.rgb": ("depth", "mm", rng.integers(0, 9000, (4, 6, 8)).astype(np.uint16)),
        "state": ("vector", "rad,rad", rng.normal(size=(4, 2))),
        "pose.head": ("pose", "m,m,m,1,1,1,1", np.tile([1.0, 2, 3, 1, 0, 0, 0], (4, 1))),
        "audio.mic": ("audio", "", rng.integers(-99, 99, (4, 16, 2)).astype(np.int16)),
        "gps": ("text", "", np.array([SECRET.decode()] * 4)),
    }
    return PartsSource(key, [
        array_part(Stream(name, kind, each.shape[1:], "str" if kind == "text" else str(each.dtype), unit), times, each)
        for name, (kind, unit, each) in values.items()
    ], task="open the door", notes=("no map",))  # fmt: skip


@pytest.fixture
def bags(tmp_path: Path) -> Path:
    folder = tmp_path / "bags"
    folder.mkdir()
    write_mcap(recording("one"), folder / "one.mcap")
    return folder / "one.mcap"


def test_a_recording_becomes_mcap_and_is_what_it_was(bags: Path, tmp_path: Path) -> None:
    figures = convert(ConvertConfig(bags, tmp_path / "out", "mcap")).figures
    assert (figures["recordings"], figures["streams"], figures["samples"], figures["dropped"]) == (1, 6, 24, {})
    again = open_collection(tmp_path / "out" / "one.mcap")
    with again.open(again.keys()[0]) as written:
        assert differences(recording("one"), written) == []
        assert written.task == "open the door" and written.streams["state"].unit == "rad,rad"


def test_what_is_dropped_is_not_in_the_file(bags: Path, tmp_path: Path) -> None:
    assert SECRET in _unpacked(bags)
    figures = convert(ConvertConfig(bags, tmp_path / "out", "mcap", drop=("audio.*", "gps"))).figures
    assert figures["dropped"] == {"audio.mic": "drop=audio.*", "gps": "drop=gps"}
    seen = _unpacked(tmp_path / "out" / "one.mcap")
    assert SECRET not in seen and b"audio.mic" not in seen and b"camera" in seen
    with pytest.raises(StoreError, match="drop=radar fits no stream"):
        convert(ConvertConfig(bags, tmp_path / "other", "mcap", drop=("radar",)))
    assert not (tmp_path / ".partial-other").exists(), "what was to be dropped must not lie about"


def _unpacked(path: Path) -> bytes:
    """Everything in the file, chunks unpacked."""
    from mcap.reader import make_reader

    with path.open("rb") as file:
        reader = make_reader(file)
        parts = [path.read_bytes()]
        parts += [channel.topic.encode() + message.data for _, channel, message in reader.iter_messages()]
    return b"".join(parts)


def test_a_stopped_conversion_goes_on_and_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from foreact.episodes.sources.parts import Recordings

    made = Recordings(tmp_path, "made", {key: lambda key=key: recording(key) for key in ("a", "bb", "ccc")})
    opened = convert_work.open_collection
    monkeypatch.setattr(convert_work, "open_collection", lambda path: made if path.name == "made" else opened(path))

    def asked(out: str) -> ConvertConfig:
        return ConvertConfig(tmp_path / "made", tmp_path / out, "mcap")

    convert(asked("whole"))
    real, calls = write_mcap, []

    def stops(source: Any, path: Path) -> Any:
        calls.append(path.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(source, path)

    monkeypatch.setattr(module, "write_mcap", stops)
    with pytest.raises(KeyboardInterrupt):
        convert(asked("parts"))
    assert not (tmp_path / "parts").exists()
    convert(asked("parts"))
    assert calls == ["a.mcap", "bb.mcap", "bb.mcap", "ccc.mcap"]
    whole, parts = (sorted((tmp_path / name).iterdir()) for name in ("whole", "parts"))
    assert [each.read_bytes() for each in whole] == [each.read_bytes() for each in parts]


def test_a_writer_that_loses_something_is_found_out(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lossy(source: Any, path: Path) -> Any:
        return write_mcap(without(source, ["state"]), path)

    monkeypatch.setattr(module, "write_mcap", lossy)
    with pytest.raises(StoreError, match="is not what was read: streams state are in one only"):
        convert(ConvertConfig(bags, tmp_path / "out", "mcap"))
    assert not (tmp_path / "out").exists()


def test_bad_requests(bags: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no recording two"):
        convert(ConvertConfig(bags, tmp_path / "out", "mcap", recordings=("two",)))
    with pytest.raises(StoreError, match="episodes= works with a LeRobotDataset"):
        convert(ConvertConfig(bags, tmp_path / "out", "store", episodes=(1,)))
    with pytest.raises(StoreError, match="driver= works with to=lerobot only"):
        convert(ConvertConfig(bags, tmp_path / "out", "mcap", driver="camera.rgb"))
    with pytest.raises(StoreError, match="exists"):
        convert(ConvertConfig(bags, tmp_path, "mcap"))


def test_folders_side_by_side_are_one_collection_and_a_bad_one_is_told(tmp_path: Path) -> None:
    for name in ("left", "right", "torn"):
        (tmp_path / "all" / name).mkdir(parents=True)
        write_mcap(recording(name), tmp_path / "all" / name / "bag.mcap")
    (tmp_path / "all" / "torn" / "bag.mcap").write_bytes(b"")
    collection = open_collection(tmp_path / "all")
    keys = collection.keys()
    assert [key.partition("/")[0] for key in keys][:2] == ["left", "right"]
    with collection.open(keys[1]) as source:
        assert differences(recording("right"), source) == []
    outcome = inspect(InspectConfig(tmp_path / "all"))
    assert outcome.failed == any(key.startswith("torn") for key in keys)
    told = [text for row in outcome.rows for text in row if "empty" in text]
    assert told, "the file without content is told of"
