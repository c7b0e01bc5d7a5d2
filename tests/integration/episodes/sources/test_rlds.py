"""RLDS: the real BridgeData sample, a data set written here, and damage."""

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest

from foreact.episodes.sources import Source, SourceError, open_collection
from foreact.episodes.sources.tfrecord import index_records, parse_example, read_record

Image = pytest.importorskip("PIL.Image")
INSTRUCTION = "put cup from counter or drying rack into sink"


def all_of(source: Source, stream: str) -> np.ndarray:
    return np.asarray(source.read_range(stream, 0, len(source.stamps(stream))))


@pytest.fixture
def bridge(shared_data: Path) -> Path:
    return shared_data / "bridge_v2_rlds_debug"


def test_the_real_sample_is_what_its_page_says(bridge: Path) -> None:
    collection = open_collection(bridge)
    assert (collection.format, len(collection.keys())) == ("rlds", 25)
    assert len(collection.notes) == 1 and "split val: 25 records" in collection.notes[0]
    pictures, firsts = 0, []
    for key in collection.keys():
        source = collection.open(key)
        cameras = [name for name in source.streams if name.startswith("camera.")]
        assert sorted(cameras) == [f"camera.image_{i}" for i in range(4)]
        assert {len(source.stamps(name)) for name in source.streams} == {10}
        for name in cameras:
            frames = all_of(source, name)
            assert (frames.shape, frames.dtype) == ((10, 64, 64, 3), np.uint8)
            pictures += len(frames)
        firsts.append(all_of(source, "state").tobytes())
    assert pictures == 1000
    assert len(set(firsts)) == 25, "the episodes are distinct"


def test_a_stream_says_what_the_data_set_says(bridge: Path) -> None:
    source = open_collection(bridge).open("train-00000")
    assert source.task == INSTRUCTION == source.read("language_instruction", 9)
    action, picture = source.streams["action"], source.streams["camera.image_0"]
    assert (action.kind, action.shape, action.dtype, action.unit) == ("vector", (7,), "float32", "")
    assert (picture.kind, picture.shape, picture.dtype) == ("image", (64, 64, 3), "uint8")
    assert (picture.clock, picture.rate_hz) == ("step", None)
    assert source.stamps("action").tolist() == list(range(10))
    assert source.metadata["episode_id"] == 5
    assert [source.read("is_first", i) for i in (0, 9)] == [True, False]
    assert any("states no rate" in note for note in source.notes)
    assert any("has_image_0" in note for note in source.notes)


def test_the_numbers_are_those_of_another_parser(bridge: Path) -> None:
    """Protobuf's own runtime with a schema built here, against the parser of the house."""
    shard = next(bridge.rglob("*.tfrecord*"))
    payload = read_record(shard, index_records(shard)[0][0])
    message = _protobuf_example()()
    message.ParseFromString(payload)
    ours = parse_example(payload, "here")
    theirs = message.features.feature
    assert set(ours) == set(theirs)
    for name, feature in theirs.items():
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value)
        assert list(ours[name]) == values, name


def _protobuf_example() -> Any:
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    from google.protobuf import descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")
    kinds = {"BytesList": 12, "FloatList": 2, "Int64List": 3}
    for name, number in kinds.items():
        file.message_type.add(name=name).field.add(name="value", number=1, type=number, label=3)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(kinds, 1):
        field = {"name": name.lower(), "number": number, "type": 11, "label": 1, "type_name": f".t.{name}"}
        feature.field.add(**field, oneof_index=0)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=11, label=1, type_name=".t.Feature")
    features.field.add(name="feature", number=1, type=11, label=3, type_name=".t.Features.FeatureEntry")
    file.message_type.add(name="Example").field.add(
        name="features", number=1, type=11, label=1, type_name=".t.Features"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))


def test_checksums_are_those_of_the_standard() -> None:
    assert google_crc32c.value(b"123456789") == 0xE3069283  # RFC 3720, B.4


# --- a data set written here ---------------------------------------------------------------------------------------


def masked(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def framed(payload: bytes) -> bytes:
    length = struct.pack("<Q", len(payload))
    return length + masked(length) + payload + masked(payload)


def png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def tensor(dtype: str, *shape: int, encoding: str = "none") -> dict[str, Any]:
    sizes = {"dimensions": [str(size) for size in shape]}
    return {"pythonClassName": "t.Tensor", "tensor": {"shape": sizes, "dtype": dtype, "encoding": encoding}}


def pictures(dtype: str, *shape: int) -> dict[str, Any]:
    sizes = {"dimensions": [str(size) for size in shape]}
    return {"pythonClassName": "t.Image", "image": {"shape": sizes, "dtype": dtype, "encodingFormat": "png"}}


def group(**features: Any) -> dict[str, Any]:
    return {"pythonClassName": "t.FeaturesDict", "featuresDict": {"features": features}}


def sequence(feature: Any) -> dict[str, Any]:
    return {"pythonClassName": "t.Dataset", "sequence": {"feature": feature, "length": "-1"}}


FRAMES = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3), np.uint8)
DEPTHS = np.random.default_rng(1).integers(0, 65536, (3, 8, 12), np.uint16)
WIDE = np.arange(12, dtype="<f8").reshape(3, 4) / 7


def droid_like(folder: Path, **more: Any) -> Path:
    """Three steps in the manner of DROID: nested actions, a depth picture, a raw tensor, something ragged."""
    folder.mkdir(parents=True)
    steps = group(
        observation=group(
            wrist_image_left=pictures("uint8", 8, 12, 3),
            depth_image=pictures("uint16", 8, 12, 1),
            gripper_position=tensor("float64", 1),
        ),
        action_dict=group(joint_velocity=tensor("int32", 2)),
        raw=tensor("float64", 4, encoding="bytes"),
        ragged=sequence(tensor("float32")),
        language_instruction={"pythonClassName": "t.Text", "text": {}},
        **more,
    )
    root = group(steps=sequence(steps), episode_metadata=group(file_path={"pythonClassName": "t.Text", "text": {}}))
    (folder / "features.json").write_text(json.dumps(root))
    info = {"splits": [{"name": "train", "shardLengths": ["2"]}]}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    records = [framed(_example(text)) for text in ("open it", "close it")]
    (folder / "droid-train.tfrecord-00000-of-00001").write_bytes(b"".join(records))
    return folder


def _example(instruction: str) -> bytes:
    example = _protobuf_example()()
    feature = example.features.feature
    feature["steps/observation/wrist_image_left"].byteslist.value.extend(png(frame) for frame in FRAMES)
    feature["steps/observation/depth_image"].byteslist.value.extend(png(frame) for frame in DEPTHS)
    feature["steps/observation/gripper_position"].floatlist.value.extend([0.25, 0.5, 1.0])
    feature["steps/action_dict/joint_velocity"].int64list.value.extend([-1, 2, -(2**31), 4, 300, 70_000])
    feature["steps/raw"].byteslist.value.extend(row.tobytes() for row in WIDE)
    feature["steps/language_instruction"].byteslist.value.extend([instruction.encode()] * 3)
    feature["episode_metadata/file_path"].byteslist.value.append(b"a/b.h5")
    return example.SerializeToString(deterministic=True)


def test_layouts_without_a_sample(tmp_path: Path) -> None:
    source: Source = open_collection(droid_like(tmp_path / "droid" / "1.0.0").parents[1]).open("train-00001")
    assert source.task == "close it"
    assert source.metadata == {"file_path": "a/b.h5"}
    assert np.array_equal(all_of(source, "camera.wrist_image_left"), FRAMES)
    assert np.array_equal(all_of(source, "depth.image"), DEPTHS)
    assert source.streams["depth.image"].dtype == "uint16"
    assert all_of(source, "observation.gripper_position").tolist() == [[0.25], [0.5], [1.0]]
    velocity = all_of(source, "action_dict.joint_velocity")
    assert velocity.dtype == np.int32 and velocity.tolist() == [[-1, 2], [-(2**31), 4], [300, 70_000]]
    assert np.array_equal(all_of(source, "raw"), WIDE)
    assert any(note.startswith("ragged is left out") for note in source.notes)


def test_what_lies_behind_a_cut_is_told_as_lost(tmp_path: Path) -> None:
    shard = next(droid_like(tmp_path / "d").glob("*.tfrecord*"))
    shard.write_bytes(shard.read_bytes()[:-5])
    collection = open_collection(tmp_path / "d")
    assert collection.keys() == ("train-00000",)
    assert (
        "record 1 at byte" in collection.notes[0] and "2 records by dataset_info.json, 1 found" in collection.notes[1]
    )


def test_a_flipped_bit_in_a_record_is_found(tmp_path: Path) -> None:
    shard = next(droid_like(tmp_path / "d").glob("*.tfrecord*"))
    raw = bytearray(shard.read_bytes())
    raw[40] ^= 4
    shard.write_bytes(raw)
    with pytest.raises(SourceError, match="does not match its checksum"):
        open_collection(tmp_path / "d").open("train-00000")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("features.json", None, "features.json is missing"),
        ("features.json", "{", "features.json is damaged"),
        ("features.json", "[" * 100_000, "features.json is damaged"),
        ("features.json", '{"type": "x", "content": "{}"}', "before 4.5"),
        ("features.json", '{"pythonClassName": "x"}', "number of steps"),
        ("droid-train.tfrecord-00000-of-00001", "", "no record can be read"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    file = droid_like(tmp_path / "d") / name
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(SourceError, match=message):
        open_collection(tmp_path / "d").open("train-00000")


def test_features_that_do_not_fit_the_record_are_errors(tmp_path: Path) -> None:
    folder = droid_like(tmp_path / "d")
    text = (folder / "features.json").read_text()
    (folder / "features.json").write_text(text.replace('"int32"', '"int8"'))
    with pytest.raises(SourceError, match="do not fit int8"):
        open_collection(folder).open("train-00000")
    (folder / "features.json").write_text(text.replace('"8", "12", "3"', '"8", "13", "3"'))
    with pytest.raises(SourceError, match=r"features.json says uint8 \(8, 13, 3\)"):
        open_collection(folder).open("train-00000").read("camera.wrist_image_left", 0)


@pytest.mark.parametrize("target", ["shard", "features.json", "payload"])
def test_damage_is_an_error_or_harmless(
    target: str, tmp_path: Path, damage: Callable[..., bytes], read_everything: Callable[..., int]
) -> None:
    folder = droid_like(tmp_path / "d")
    file = next(folder.glob("*.tfrecord*")) if target != "features.json" else folder / target
    whole, intact = file.read_bytes(), read_everything(open_collection(folder))
    outcomes, example = {"error": 0, "read": 0}, _example("open it")
    for seed in range(250):
        if target == "payload":  # behind a valid checksum: what a broken writer leaves
            file.write_bytes(framed(damage(example, seed)))
        else:
            file.write_bytes(damage(whole, seed))
        try:
            count = read_everything(open_collection(folder))
        except SourceError:
            outcomes["error"] += 1
        else:
            outcomes["read"] += 1
            assert count <= 2 * intact
    assert outcomes["error"] > 50, outcomes
