"""Damaged bags are refused or salvaged; what is read of them is right where the format has checksums."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from foreact.episodes.sources import Collection, SourceError, open_collection

Damage = Callable[[bytes, int], bytes]
ReadAll = Callable[[Collection], int]
SECONDS = 5  # CPU time that one damaged file may take


def stamps_of(path: Path) -> dict[str, list[int]]:
    collection = open_collection(path)
    with collection.open(collection.keys()[0]) as source:
        return {name: source.stamps(name).tolist() for name in source.streams}


def outcomes(data: bytes, path: Path, damage: Damage, count: int) -> list[tuple[int, str, dict[str, list[int]]]]:
    """What becomes of each damaged copy: refused, noted or silent, and the stamps that are left."""
    found = []
    for seed in range(count):
        path.write_bytes(damage(data, seed))
        start = time.process_time()
        try:
            collection = open_collection(path)
            with collection.open(collection.keys()[0]) as source:
                stamps = {name: source.stamps(name).tolist() for name in source.streams}
                for name in source.streams:
                    for index in range(0, len(stamps[name]), 7):
                        try:
                            source.read(name, index)
                        except SourceError:
                            continue
                found.append((seed, "noted" if source.notes else "silent", stamps))
        except SourceError as error:
            assert path.name in str(error) or str(path.parent) in str(error), seed
            found.append((seed, "refused", {}))
        assert time.process_time() - start < SECONDS, seed
    return found


def unpacked(original: Path, path: Path) -> bytes:
    """The same messages in chunks that are not compressed but have checksums."""
    with original.open("rb") as file, path.open("wb") as out:
        writer = Writer(out, compression=CompressionType.NONE, chunk_size=1000)
        writer.start("ros2")
        channels: dict[str, int] = {}
        for schema, channel, message in make_reader(file).iter_messages():
            assert schema is not None
            if channel.topic not in channels:
                number = writer.register_schema(schema.name, schema.encoding, schema.data)
                channels[channel.topic] = writer.register_channel(channel.topic, "cdr", number)
            writer.add_message(channels[channel.topic], message.log_time, message.data, message.publish_time)
        writer.finish()
    return path.read_bytes()


@pytest.mark.parametrize("packed", [True, False])
def test_damage_to_a_file_with_checksums_never_changes_a_stamp(
    packed: bool, shared_data: Path, tmp_path: Path, damage: Damage
) -> None:
    original = shared_data / "rosbag2_samples" / "mcap_talker" / "talker.mcap"
    path = tmp_path / "talker.mcap"
    data = original.read_bytes() if packed else unpacked(original, path)
    path.write_bytes(data)
    whole = stamps_of(path)
    for seed, outcome, stamps in outcomes(data, path, damage, 300):
        assert outcome == "refused" or all(set(stamps[name]) <= set(whole.get(name, ())) for name in stamps), seed
        if outcome == "silent":
            assert stamps == whole, seed


@pytest.mark.parametrize("name", ["mcap_cdr_types/cdr_test_0.mcap", "db3_cdr_types/cdr_test_0.db3"])
def test_damage_is_refused_or_survived(name: str, shared_data: Path, tmp_path: Path, damage: Damage) -> None:
    source = shared_data / "rosbag2_samples" / name
    found = outcomes(source.read_bytes(), tmp_path / source.name, damage, 300)
    assert {outcome for _, outcome, _ in found} >= {"refused", "silent"}


def test_damaged_pictures_and_headers(
    shared_data: Path, tmp_path: Path, damage: Damage, read_everything: ReadAll
) -> None:
    """Random bytes inside a chunk without checksum, so that decoders of messages and pictures meet them."""
    original = shared_data / "aria_gen2_ros2_mcap" / "aria_gen2" / "aria_gen2.mcap"
    path = tmp_path / "small.mcap"
    with original.open("rb") as file, path.open("wb") as out:
        writer = Writer(out, compression=CompressionType.NONE, enable_crcs=False)
        writer.start("ros2")
        channels: dict[str, int] = {}
        for schema, channel, message in make_reader(file).iter_messages():
            if channel.topic not in channels and schema is not None and "rgb" not in channel.topic:
                schema_id = writer.register_schema(schema.name, schema.encoding, schema.data)
                channels[channel.topic] = writer.register_channel(channel.topic, "cdr", schema_id)
                writer.add_message(channels[channel.topic], message.log_time, message.data, message.publish_time)
        writer.finish()
    rng = np.random.default_rng(0)
    whole = path.read_bytes()
    done = 0
    for _ in range(60):
        raw = bytearray(whole)
        for at in rng.integers(0, len(raw), 40):
            raw[at] = int(rng.integers(256))
        path.write_bytes(raw)
        try:
            done += read_everything(open_collection(path)) > 0
        except SourceError:
            continue
    assert 0 < done


def test_a_cut_off_recording_is_read_until_there(shared_data: Path, tmp_path: Path) -> None:
    data = (shared_data / "aria_gen2_ros2_mcap" / "aria_gen2" / "aria_gen2.mcap").read_bytes()
    path = tmp_path / "cut.mcap"
    path.write_bytes(data[: len(data) * 2 // 3])
    collection = open_collection(path)
    with collection.open("cut") as source:
        assert 0 < len(source.stamps("imu.left")) < 239
        assert any("cut off" in note for note in source.notes)
        assert np.isfinite(source.read("imu.left", 0)).all()


@pytest.mark.parametrize("content", [b"", b"\x89MCAP0\r\n", b"SQLite format 3\0", b"no bag at all, but some bytes"])
def test_what_is_no_bag_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.mcap"
    path.write_bytes(content)
    collection = open_collection(path)
    with pytest.raises(SourceError, match="odd.mcap"):
        collection.open("odd")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- ../../outside.mcap", "does not lie in the bag's folder"),
        ("- /etc/outside.mcap", "does not lie in the bag's folder"),
        ("- gone.mcap", "none of the files"),
        ("[&a x.mcap, *a]", "damaged: aliases"),
        ("- [", "damaged"),
        ("7", "does not say which files"),
    ],
)
def test_odd_metadata_is_refused(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "metadata.yaml").write_text(f"rosbag2_bagfile_information:\n  relative_file_paths:\n    {text}\n")
    with pytest.raises(SourceError, match=says):
        open_collection(tmp_path)


def test_a_database_that_would_run_something_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "view_0.db3"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE topics(id INTEGER PRIMARY KEY, name, type, serialization_format)")
        connection.execute("CREATE VIEW messages AS SELECT 1 id, 1 topic_id, 2 timestamp, randomblob(999999999) data")
    connection.close()
    collection = open_collection(path)
    with pytest.raises(SourceError, match="no plain table 'messages'"):
        collection.open("view_0")


def test_a_split_bag_is_read_without_its_damaged_file(shared_data: Path, tmp_path: Path) -> None:
    for file in (shared_data / "rosbag2_samples" / "mcap_split_8topics").iterdir():
        (tmp_path / file.name).write_bytes(b"" if file.name == "wbag_2.mcap" else file.read_bytes())
    collection = open_collection(tmp_path)
    with collection.open(tmp_path.name) as source:
        assert any("wbag_2.mcap is empty" in note for note in source.notes)
        assert any("metadata.yaml speaks of 6074 messages" in note for note in source.notes)
        assert 4000 < sum(len(source.stamps(name)) for name in source.streams) < 6074
