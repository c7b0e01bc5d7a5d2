"""A store of recordings: all comes back bit for bit, from a disk and from an address; any Zarr reader opens it."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes.arrays import StoreError
from foreact.episodes.convert_parts import differences
from foreact.episodes.recording_store import RecordingStore, write_recordings
from foreact.episodes.sources import SourceError, open_collection
from foreact.episodes.sources.encoded import Stills
from foreact.episodes.sources.parts import Part, PartsSource, array_part
from foreact.episodes.sources.protocol import Stream
from foreact.episodes.store import EpisodeStore

RNG_STAMPS = np.array([30, 10, 10, 20, -5], np.int64)  # out of order, equal, before 0


def parts() -> Iterator[Part]:
    rng = np.random.default_rng(3)
    odd = np.array([np.nan, -0.0, np.inf, 1e-310, 5.0])
    arrays: dict[str, tuple[Any, np.ndarray]] = {
        "state": ("vector", np.stack([odd, odd[::-1]], axis=1)),
        "reward": ("vector", rng.normal(size=5).astype(np.float16)),
        "camera.rgb": ("image", rng.integers(0, 255, (5, 6, 8, 3), np.uint8)),
        "camera.grey": ("image", rng.integers(0, 255, (5, 6, 8), np.uint8)),
        "camera.four": ("image", rng.integers(0, 255, (5, 6, 8, 4), np.uint8)),
        "depth.rgb": ("depth", rng.integers(0, 65535, (5, 6, 8), np.uint16)),
        "depth.far": ("depth", rng.normal(size=(5, 6, 8)).astype(np.float32)),
        "segmentation": ("segmentation", rng.integers(0, 2**63, (5, 6, 8), np.uint64)),
        "flags": ("vector", rng.integers(0, 2, (5, 2)).astype(bool)),
        "nothing": ("vector", np.zeros((5, 0), np.int32)),
    }
    for name, (kind, values) in arrays.items():
        about = Stream(
            name, kind, values.shape[1:], str(values.dtype), "m", "device", 30.0, ("a", "b"), "world", "hand"
        )
        yield array_part(about, RNG_STAMPS, values)
    yield array_part(Stream("empty", "imu", (6,), "float32"), np.zeros(0, np.int64), np.zeros((0, 6), np.float32))
    ragged = [rng.normal(size=(k, 3)).astype(np.float32) for k in (4, 0, 2, 7, 1)]
    yield Part(Stream("points", "points", (None, 3), "float32"), RNG_STAMPS, ragged.__getitem__)
    mixed = [
        np.arange(k, dtype=np.int16).reshape(shape)
        for k, shape in ((4, (2, 2)), (3, (3,)), (1, ()), (0, (0, 5)), (2, (2,)))
    ]
    yield Part(Stream("mixed", "vector", (None,), "int16"), RNG_STAMPS, mixed.__getitem__)
    texts = ["", "grasp the cup", "\ud800 half", "Käse 🧀", "\0"]
    yield Part(
        Stream("said", "text", (), "str"), RNG_STAMPS, texts.__getitem__, lambda start, stop: [*texts[start:stop]]
    )
    blobs = [b"", b"\0\xff", bytes(300_000), b"x", b""]
    yield Part(Stream("radar/raw topic", "bytes", (None,), "bytes"), RNG_STAMPS, blobs.__getitem__)
    yield packed(rng)


def packed(rng: np.random.Generator) -> Part:
    """A stream of JPEG pictures that lie packed in the recording."""
    from PIL import Image

    payloads = []
    for _ in range(5):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(out, "jpeg")
        payloads.append(out.getvalue())

    def read(index: int) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(payloads[index])))

    stream = Stream("camera.packed", "image", (16, 16, 3), "uint8")
    return Part(stream, RNG_STAMPS, read, encoded=Stills(payloads.__getitem__))


def recording(key: str = "a/b c") -> PartsSource:
    metadata = {"device": {"serial": "7", "on": True}, "numbers": [1, 2.5, None]}
    return PartsSource(key, [*parts()], task="open the door", metadata=metadata, notes=("no map", "no map"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "store"
    write_recordings(path, [recording(), recording("a_b_c"), recording("second")])
    return path


def test_everything_comes_back_bit_for_bit(made: Path) -> None:
    collection = open_collection(made)
    assert (collection.format, collection.keys()) == ("foreact-recordings", ("a/b c", "a_b_c", "second"))
    for key in collection.keys():
        with recording(key) as written, collection.open(key) as source:
            assert differences(written, source, exact=True) == []
            assert np.signbit(np.asarray(source.read("state", 1))[0])
            for name in source.streams:
                count = len(source.stamps(name))
                assert [len(source.read_range(name, i, j)) for i, j in ((0, 0), (count, count))] == [0, 0]


def test_forms_are_those_that_suit(made: Path) -> None:
    header = RecordingStore.open(made).header("second")
    forms = {each.stream.name: (each.form, each.media) for each in header.streams}
    assert forms["camera.packed"] == ("stills", "image/jpeg")
    assert forms["camera.rgb"] == forms["depth.rgb"] == ("stills", "image/png")
    rest = ("camera.four", "depth.far", "segmentation", "state", "points", "mixed", "said", "radar/raw topic")
    assert [forms[name][0] for name in rest] == ["rows"] * 4 + ["ragged"] * 2 + ["text", "bytes"]
    assert header.files["camera.packed/values/c.0"][0] < 5 * 16 * 16 * 3


def test_a_difference_in_one_bit_is_found(made: Path) -> None:
    for name in ("state", "said", "points", "depth.rgb", "camera.packed"):
        with recording("second") as other, open_collection(made).open("second") as source:
            part = other._parts[name]
            values = [part.read(index) for index in range(5)]
            if name == "said":
                values[2] = "\ud801 half"
            else:
                last = np.array(values[3])
                last.reshape(-1).view(np.uint8)[-1] ^= 1
                values[3] = last
            other._parts[name] = Part(part.stream, part.stamps, values.__getitem__)
            at = 2 if name == "said" else 3
            assert differences(other, source, exact=True) == [f"values of {name} from sample {at}"]


def test_any_zarr_reader_opens_the_arrays(made: Path) -> None:
    import zarr

    group = zarr.open_group(str(made), mode="r")
    state: Any = group["episodes/second/state"]
    assert np.array_equal(state[:], np.asarray(recording().read_range("state", 0, 5)), equal_nan=True)
    values, offsets = (np.asarray(group[f"episodes/second/points/{name}"]) for name in ("values", "offsets"))
    assert offsets.tolist() == [0, 12, 12, 18, 39, 42]
    assert np.array_equal(values[12:18], np.asarray(recording().read("points", 2)).ravel())


def test_equal_recordings_give_equal_bytes(made: Path, tmp_path: Path) -> None:
    write_recordings(tmp_path / "other", [recording(), recording("a_b_c"), recording("second")])
    first, second = (sorted(file for file in path.rglob("*") if file.is_file()) for path in (made, tmp_path / "other"))
    assert [file.relative_to(made) for file in first] == [file.relative_to(tmp_path / "other") for file in second]
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    assert RecordingStore.open(made).verify() == []


def test_a_store_in_a_bucket_is_read_like_one_on_disk(made: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    files.put(str(made), "/bucket/store", recursive=True)
    try:
        for path in ("memory://bucket/store", Path("memory://bucket/store")):
            with recording("second") as written, open_collection(path).open("second") as source:
                assert differences(written, source, exact=True) == []
        assert RecordingStore.open("memory://bucket/store").verify() == []
        with pytest.raises(SourceError, match=r"memory://bucket/none/zarr\.json is missing"):
            open_collection("memory://bucket/none")
    finally:
        files.rm("/bucket", recursive=True)


def test_a_sample_is_read_without_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 255, (40, 64, 64, 4), np.uint8)
    big = array_part(Stream("camera.four", "image", (64, 64, 4), "uint8"), np.arange(40), values)
    write_recordings(tmp_path / "s", [PartsSource("one", [big])])
    from foreact.episodes.remote import LocalFiles

    read: list[int] = []
    real = LocalFiles.part

    def part(self: LocalFiles, file: str, start: int, stop: int) -> bytes:
        read.append(stop - start)
        return real(self, file, start, stop)

    monkeypatch.setattr(LocalFiles, "part", part)
    with open_collection(tmp_path / "s").open("one") as source:
        read.clear()
        assert np.array_equal(source.read("camera.four", 33), values[33])
    assert sum(read) < 300_000 < values.nbytes / 2


def test_what_cannot_be_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"holds recordings as they were read.*to=lerobot"):
        EpisodeStore.open(made)
    with pytest.raises(StoreError, match="two recordings have one key"):
        write_recordings(tmp_path / "s", [recording("a"), recording("a")])
    with pytest.raises(StoreError, match="exists"):
        write_recordings(made, [recording("a")])
    wrong = array_part(Stream("state", "vector", (2,), "float32"), RNG_STAMPS, np.zeros((5, 2)))
    with pytest.raises(SourceError, match="stream state: a sample is float64, the stream says float32"):
        write_recordings(tmp_path / "s", [PartsSource("a", [wrong])])
    endless = PartsSource("a", [], metadata={"x": float("nan")})
    with pytest.raises(StoreError, match="cannot be written as JSON"):
        write_recordings(tmp_path / "s", [endless])
    assert not [*tmp_path.iterdir()]


def test_a_newer_or_altered_root_is_named(made: Path, tmp_path: Path) -> None:
    root = json.loads((made / "zarr.json").read_text())
    (tmp_path / "zarr.json").write_text(json.dumps(root))
    fields = root["attributes"]["foreact"]
    fields["recordings"][0][1] = "episodes/../../secret"
    (tmp_path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(StoreError, match="was altered"):
        RecordingStore.open(tmp_path)
    fields["format"] = 2
    (tmp_path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(StoreError, match="update foreact"):
        RecordingStore.open(tmp_path)
