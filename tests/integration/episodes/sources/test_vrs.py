"""VRS: real recordings of both Aria generations and others, against the `vrs` library and what they state; damage."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.sources import Collection, Source, SourceError, open_collection
from foreact.episodes.sources.vrs_bytes import inflate
from foreact.episodes.sources.vrs_file import ENTRY, HEADER, MAGIC, RECORD, VrsFile, open_vrs
from foreact.episodes.sources.vrs_image import Picture, decode
from foreact.episodes.sources.vrs_layout import parse_format, parse_layout
from foreact.episodes.sources.vrs_stream import VrsStream
from foreact.episodes.sources.vrs_video import Video

AEA, ADT = "aria_gen1_aea/recording.vrs", "aria_gen1_adt/video.vrs"
GEN2 = "aria_gen2/aria_gen2_unit_test_sequence_with_bluetooth.vrs"
SAMPLES = ("chunks", "chunks-shuffled", "sample_file", "sample_raw_pixel_formats")
FILES = (AEA, ADT, "aria_gen1_adt/depth_images.vrs", GEN2, *(f"vrs_samples/{name}.vrs" for name in SAMPLES))

# what SOURCE.md of each sample states: samples, shape, nominal rate [Hz]
STATED = {
    AEA: {
        "camera.rgb": (8, (1408, 1408, 3), 20.0),
        "camera.slam.left": (4, (480, 640), 10.0),
        "camera.slam.right": (4, (480, 640), 10.0),
        "camera.eye": (4, (240, 640), 10.0),
        "imu.right": (400, (6,), 1000.0),
        "imu.left": (319, (6,), 800.0),
        "magnetometer": (4, (3,), 10.0),
        "barometer": (20, (2,), 50.0),
        "audio": (4, (None, 7), None),
    },
    ADT: {
        "camera.rgb": (3, (1408, 1408, 3), 30.0),
        "camera.slam.left": (3, (480, 640), 30.0),
        "camera.slam.right": (3, (480, 640), 30.0),
        "camera.eye": (3, (240, 640), 30.0),
        "imu.right": (99, (6,), 1000.0),
        "imu.left": (79, (6,), 800.0),
        "clock.utc": (1, (1,), 1.0),
        "clock.timecode": (3, (1,), 30.0),
        "depth.rgb": (2, (1408, 1408), 1.0),
        "depth.slam.left": (2, (480, 640), 1.0),
        "segmentation.slam.right": (2, (480, 640), 1.0),
    },
    GEN2: {
        "camera.rgb": (3, (1512, 2016, 3), 10.0),
        **{
            f"camera.slam.{place}.{side}": (9, (512, 512), 30.0)
            for place in ("front", "side")
            for side in ("left", "right")
        },
        **{f"camera.eye.{side}": (2, (200, 200), 5.0) for side in ("left", "right")},
        **{f"hand.{side}.landmarks": (9, (21, 3), 30.0) for side in ("left", "right")},
        "pose.vio": (3, (7,), 10.0),
        "pose.vio.high_frequency": (237, (7,), 800.0),
        "gaze": (9, (4,), 30.0),
        "imu.left": (239, (6,), 800.0),
        "imu.right": (238, (6,), 800.0),
        "magnetometer": (30, (3,), 100.0),
        "ppg": (38, (3,), 128.0),
        "barometer": (15, (2,), 50.0),
        "audio": (15, (), None),
    },
}


def only(path: Path) -> Source:
    collection = open_collection(path)
    (key,) = collection.keys()
    return collection.open(key)


@pytest.mark.parametrize("name", STATED)
def test_what_the_samples_state(shared_data: Path, name: str) -> None:
    with only(shared_data / name) as source:
        for stream, (count, shape, rate) in STATED[name].items():
            about = source.streams[stream]
            assert (len(source.stamps(stream)), about.shape, about.rate_hz) == (count, shape, rate), stream
            assert about.clock == "device" and np.all(np.diff(source.stamps(stream)) > 0)
            value = source.read(stream, count - 1)
            if isinstance(value, np.ndarray):
                assert str(value.dtype) == about.dtype and len(value.shape) == len(about.shape)
                assert all(want in (None, got) for want, got in zip(about.shape, value.shape, strict=True)), stream


def test_gravity_and_field_have_the_units_that_are_said(shared_data: Path) -> None:
    for name in (AEA, ADT, GEN2):
        with only(shared_data / name) as source:
            assert ("imu.left.temperature" in source.streams) == (name == GEN2)  # NaN in the first generation
            for side in ("left", "right"):
                accel = np.array(source.read_range(f"imu.{side}", 0, 50))[:, 3:]
                assert 8.0 < np.median(np.linalg.norm(accel, axis=1)) < 14.0  # [m/s^2], hands and heads move
            field = np.linalg.norm(source.read("magnetometer", 0))
            scale = {"uT": 1e-6, "T": 1.0}[source.streams["magnetometer"].unit]
            assert 2e-5 < field * scale < 1e-4  # the Earth's is 25 to 65 uT
            assert 9.5e4 < np.asarray(source.read("barometer", 0))[0] < 1.05e5


def test_poses_are_unit_and_hands_hang_on_wrists(shared_data: Path) -> None:
    with only(shared_data / GEN2) as source:
        for name in ("pose.vio", "pose.vio.high_frequency", "hand.left.wrist", "hand.right.wrist"):
            poses = np.array(source.read_range(name, 0, len(source.stamps(name))))
            np.testing.assert_allclose(np.linalg.norm(poses[:, 3:], axis=1), 1.0, atol=1e-12)
        wrist = source.streams["hand.left.landmarks"].elements.index("wrist")
        for side in ("left", "right"):
            landmarks, pose = source.read(f"hand.{side}.landmarks", 4), source.read(f"hand.{side}.wrist", 4)
            np.testing.assert_allclose(np.asarray(landmarks)[wrist], np.asarray(pose)[:3], atol=1e-5)
            assert 0.05 < np.ptp(np.asarray(landmarks), axis=0).max() < 0.3  # [m]
        np.testing.assert_allclose(np.linalg.norm(np.asarray(source.read("gaze", 0))[:3]), 1.0, atol=1e-6)


def test_depth_is_millimetres_and_masks_are_instances(shared_data: Path) -> None:
    instances = json.loads((shared_data / "aria_gen1_adt/instances.json").read_text())
    with only(shared_data / "aria_gen1_adt") as source:
        depth = np.asarray(source.read("depth.rgb", 0))
        assert source.streams["depth.rgb"].unit == "mm"
        assert depth.dtype == np.uint16 and 500 < np.median(depth[depth > 0]) < 5000  # a room
        for camera in ("rgb", "slam.left", "slam.right"):
            numbers = set(np.unique(np.asarray(source.read(f"segmentation.{camera}", 0))).tolist()) - {0}
            assert len(numbers) > 50 and all(str(number) in instances for number in numbers)
        # camera in world lies 1.5 m above the floor: objects' boxes, body and trajectory share that frame
        assert 1.0 < np.asarray(source.read("pose.trajectory", 0))[1] < 2.0
        body = np.asarray(source.read("body.joints", 0))
        assert np.linalg.norm(body.mean(axis=0) - np.asarray(source.read("pose.trajectory", 0))[:3]) < 1.5
        assert len(json.loads(str(source.read("boxes.2d.rgb", 0)))) > 10


@pytest.mark.parametrize("name", FILES)
def test_the_same_as_the_vrs_library(shared_data: Path, name: str) -> None:
    pyvrs = pytest.importorskip("pyvrs")
    theirs = pyvrs.SyncVRSReader(str(shared_data / name))
    ours = open_vrs(shared_data / name)
    assert len(ours.records) == theirs.n_records and ours.tags == theirs.file_tags
    for kind, instance in ours.streams:
        stream = VrsStream(ours, kind, instance)
        if not len(stream.rows):
            continue
        mine = theirs.filtered_by_fields(stream_ids=stream.id, record_types="data")
        order = np.argsort(ours.records["time"][stream.rows], kind="stable")  # that library sorts by time
        assert len(mine) == len(order)
        for index in range(0, len(order), max(len(order) // 7, 1)):
            record, pieces = mine[index], stream.pieces(int(order[index]))
            assert record.timestamp == ours.records["time"][stream.rows[order[index]]]
            if record.n_metadata_blocks:
                same(record.metadata_blocks[0], pieces[0].fields)
            data = [piece.data for piece in pieces if piece.block.kind in ("image", "audio", "custom")]
            blocks = [*record.image_blocks, *record.audio_blocks, *record.custom_blocks]
            opus = pieces[-1].block.words[:1] == ("opus",)
            if blocks and not opus:  # it decodes no Opus, knows no grey10packed, gives the first plane of several
                assert len(blocks) == len(data)
                assert all(d.startswith(np.ascontiguousarray(b).tobytes()) for b, d in zip(blocks, data, strict=True))
    ours.close()


def same(theirs: dict[str, object], ours: dict[str, object]) -> None:
    for key, value in theirs.items():
        name = key.split("<")[0]
        np.testing.assert_array_equal(np.asarray(value), np.asarray(ours[name]), err_msg=name)


def test_split_and_shuffled_files_hold_the_same(shared_data: Path) -> None:
    split, shuffled = (open_vrs(shared_data / f"vrs_samples/{name}.vrs") for name in ("chunks", "chunks-shuffled"))
    assert len(split.records) == len(shuffled.records) == 306
    with (
        only(shared_data / "vrs_samples/chunks-shuffled.vrs") as source,
        only(shared_data / "vrs_samples/chunks.vrs") as whole,
    ):
        stamps = source.stamps("camera.200-1")
        assert np.any(np.diff(stamps) < 0)  # in the order of the file
        for place in (0, 40, 99):
            there = int(np.flatnonzero(whole.stamps("camera.200-1") == stamps[place])[0])
            np.testing.assert_array_equal(source.read("camera.200-1", place), whole.read("camera.200-1", there))


def test_a_missing_part_of_a_split_file_is_told(shared_data: Path, tmp_path: Path) -> None:
    for name in ("chunks.vrs", "chunks.vrs_1"):
        (tmp_path / name).write_bytes((shared_data / "vrs_samples" / name).read_bytes())
    source = only(tmp_path / "chunks.vrs")
    assert any("records were searched" in note for note in source.notes)
    with only(shared_data / "vrs_samples/chunks.vrs") as whole:
        count = len(source.stamps("camera.200-1"))
        assert 20 < count < 100
        np.testing.assert_array_equal(source.stamps("camera.200-1"), whole.stamps("camera.200-1")[:count])


def test_video_frames_do_not_depend_on_the_order_of_reading(shared_data: Path) -> None:
    name = "camera.slam.side.left"
    with only(shared_data / GEN2) as first, only(shared_data / GEN2) as second:
        forward = [first.read(name, index) for index in range(9)]
        for index in (8, 0, 5, 4, 8):
            np.testing.assert_array_equal(second.read(name, index), forward[index])
        assert all(np.asarray(frame).std() > 10 for frame in forward)


def test_threads_read_the_same(shared_data: Path) -> None:
    with only(shared_data / GEN2) as source, ThreadPoolExecutor(8) as pool:
        wanted = [
            (name, index) for name in ("camera.slam.front.left", "imu.left", "fields.hand") for index in range(9)
        ] * 3
        alone = {each: source.read(*each) for each in wanted}
        for each, value in zip(wanted, pool.map(lambda each: source.read(*each), wanted), strict=True):
            np.testing.assert_array_equal(value, alone[each])


def test_recordings_of_another_time_do_not_join(shared_data: Path, tmp_path: Path) -> None:
    with only(shared_data / AEA) as source:
        assert "gaze.general" in source.streams and "speech" in source.streams
        assert any(note.startswith("speech: none of its stamps") for note in source.notes)  # of the uncut recording
    with only(shared_data / GEN2) as source:
        assert "gaze.general" not in source.streams  # mps_sample is of another recording


def rows_of(file: VrsFile, most: dict[str, int]) -> list[int]:
    """Configurations, and the first data records of streams."""
    left, rows = dict(most), []
    for row, head in enumerate(file.records):
        name = f"{head['type']}-{head['instance']}"
        if head["kind"] != 3 and name in most:
            rows.append(row)
        elif head["kind"] == 3 and left.get(name, 0) > 0:
            left[name] -= 1
            rows.append(row)
    return rows


def cut(file: VrsFile, rows: list[int], pack: Callable[[bytes], bytes] | None = None, *, index: bool = True) -> bytes:
    """A VRS file with some records of another; `pack` compresses with LZ4."""
    description = file.path.read_bytes()[HEADER.size :][
        : struct.unpack_from("<I", file.path.read_bytes(), HEADER.size)[0]
    ]
    body, entries, before = bytearray(), np.zeros(len(rows), ENTRY), 0
    for number, row in enumerate(rows):
        head = file.records[row].copy()
        data = file.payload(row)
        head["compression"], head["inflated"] = (1, len(data)) if pack and data else (0, 0)
        data = pack(data) if pack and data else data
        head["size"], head["previous"] = RECORD.itemsize + len(data), before
        before = int(head["size"])
        for name in ENTRY.names or ():
            entries[number][name] = head[name]
        body += head.tobytes() + data
    start = HEADER.size + len(description)
    streams = sorted(file.streams)
    words = struct.pack("<I", len(streams)) + b"".join(struct.pack("<iH", *stream) for stream in streams)
    words += struct.pack("<I", len(rows)) + entries.tobytes()
    last = np.zeros(1, RECORD)
    last["size"], last["type"], last["format"], last["kind"] = RECORD.itemsize + len(words), 1, 2, 3
    at = start + len(body) if index else 0
    header = HEADER.pack(
        MAGIC[0], 1, HEADER.size, RECORD.itemsize, at, HEADER.size, start, 0, 0, 0, MAGIC[1], 0x32535256
    )
    return header + description + bytes(body) + (last.tobytes() + words if index else b"")


SMALL = {"211-1": 2, "1202-1": 20, "1202-2": 10, "247-1": 5, "1203-1": 2, "1201-1": 1}


@pytest.fixture(scope="module")
def small(shared_data: Path) -> bytes:
    """Some 110 kB of a real recording."""
    file = open_vrs(shared_data / AEA)
    return cut(file, rows_of(file, SMALL))


def test_cut_files_with_lz4_or_without_index(shared_data: Path, tmp_path: Path, small: bytes) -> None:
    lz4 = pytest.importorskip("lz4.frame")
    pyvrs = pytest.importorskip("pyvrs")
    file = open_vrs(shared_data / AEA)
    rows = rows_of(file, SMALL)
    made = {"plain": small, "lz4": cut(file, rows, lz4.compress), "unindexed": cut(file, rows, index=False)}
    counts = {"imu.right": 20, "barometer": 5, "camera.eye": 2, "camera.slam.left": 1}
    with only(shared_data / AEA) as whole:
        for name, data in made.items():
            (path := tmp_path / f"{name}.vrs").write_bytes(data)
            if name != "unindexed":  # the writer above is right if the library reads what it wrote
                assert pyvrs.SyncVRSReader(str(path)).n_records == len(rows)
            with only(path) as source:
                assert any("searched" in note for note in source.notes) == (name == "unindexed")
                for stream, count in counts.items():
                    assert len(source.stamps(stream)) == count
                    np.testing.assert_array_equal(source.stamps(stream), whole.stamps(stream)[:count])
                    np.testing.assert_array_equal(source.read(stream, count - 1), whole.read(stream, count - 1))


def test_damage_is_refused_or_told(
    tmp_path: Path,
    small: bytes,
    damage: Callable[[bytes, int], bytes],
    read_everything: Callable[[Collection], int],
) -> None:
    path = tmp_path / "damaged.vrs"
    outcomes = {"refused": 0, "told": 0, "whole": 0}
    for seed in range(520):
        path.write_bytes(damage(small, seed))
        try:
            collection = open_collection(path)
            with collection.open("damaged") as source:
                told = bool(source.notes)
            read_everything(collection)
        except SourceError as error:
            assert "damaged.vrs" in str(error)
            outcomes["refused"] += 1
        else:
            outcomes["told" if told else "whole"] += 1
    assert outcomes["refused"] > 150 and outcomes["told"] > 30  # the rest hit tags, pixels and numbers


def test_a_flipped_stamp_is_told(tmp_path: Path, shared_data: Path, small: bytes) -> None:
    file = open_vrs(shared_data / AEA)
    stamp = VrsStream(file, 1202, 1).stamps[3]
    at = small.index(struct.pack("<q", int(stamp)))
    changed = bytearray(small)
    changed[at + 2] ^= 4
    (path := tmp_path / "flipped.vrs").write_bytes(bytes(changed))
    with only(path) as source:
        assert "1 of 20 stamps of 1202-1 disagree with the times of their records" in source.notes


def test_a_truncated_file_keeps_what_came_before(tmp_path: Path, small: bytes, shared_data: Path) -> None:
    (path := tmp_path / "short.vrs").write_bytes(small[: len(small) * 2 // 3])
    with only(path) as source, only(shared_data / AEA) as whole:
        assert any("are no records and were left out" in note for note in source.notes)
        count = len(source.stamps("imu.right"))
        assert 0 < count <= 20
        np.testing.assert_array_equal(source.read("imu.right", count - 1), whole.read("imu.right", count - 1))


@pytest.mark.parametrize(
    ("data", "fault"),
    [(b"", "0 bytes are too few"), (b"x" * 500, "does not start as a VRS"), (b"VisionRe" + b"\0" * 100, "not start")],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, fault: str) -> None:
    (path := tmp_path / "other.vrs").write_bytes(data)
    with pytest.raises(SourceError, match=fault):
        open_collection(path)


def test_a_damaged_file_does_not_keep_its_neighbours_from_opening(tmp_path: Path, small: bytes) -> None:
    (tmp_path / "a.vrs").write_bytes(small)
    (tmp_path / "b.vrs").write_bytes(small[50:])
    (tmp_path / "c.vrs").write_bytes(small[:200])
    collection = open_collection(tmp_path)
    assert collection.keys() == ("a", "c") and len(collection.notes) == 1
    collection.open("a").close()
    with pytest.raises(SourceError, match="c.vrs: its description is damaged"):
        collection.open("c")


def test_closed_is_closed(shared_data: Path) -> None:
    source = only(shared_data / AEA)
    source.close()
    with pytest.raises(SourceError, match="closed"):
        source.read("imu.left", 0)


def test_claims_of_compressed_bytes_are_bounded() -> None:
    zstandard = pytest.importorskip("zstandard")
    packed = zstandard.compress(b"a" * 1000)
    assert inflate(packed, 2, 1000) == b"a" * 1000
    for size in (999, 1001, 1 << 31):
        with pytest.raises(SourceError):
            inflate(packed, 2, size)
    with pytest.raises(SourceError, match="cannot hold"):
        inflate(b"\x04\x22\x4d\x18" + b"\0" * 20, 1, 1 << 29)


def test_damaged_video_packets_are_refused_or_decoded(shared_data: Path, damage: Callable[[bytes, int], bytes]) -> None:
    stream = VrsStream(open_vrs(shared_data / GEN2), 211, 1)
    packet = stream.pieces(0)[1].data
    good = 0
    for seed in range(80):
        broken = damage(packet, seed)
        video = Video("H.265", lambda _, data=broken: data, np.zeros(1, np.int64), grey=True)
        try:
            assert video.frame(0).dtype == np.uint8
            good += 1
        except SourceError:
            continue
    assert good < 80


@pytest.mark.parametrize(("codec", "encoder"), [("H.264", "libx264"), ("H.265", "libx265")])
def test_frames_that_depend_on_others(codec: str, encoder: str) -> None:
    av = pytest.importorskip("av")
    rng = np.random.default_rng(0)
    coder = av.CodecContext.create(encoder, "w")
    coder.width, coder.height, coder.pix_fmt, coder.time_base = 64, 48, "yuv420p", Fraction(1, 30)
    coder.gop_size, coder.max_b_frames = 4, 0
    coder.options = {"tune": "zerolatency", "x265-params": "log-level=none:bframes=0"}
    scene = np.kron(rng.integers(0, 255, (6, 12, 1), np.uint8), np.ones((8, 8, 3), np.uint8))
    packets: list[bytes] = []
    since_key: list[int] = []
    for number in range(12):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(scene[:, number : number + 64]), "rgb24")
        frame.pts = number
        for packet in [*coder.encode(frame), *(coder.encode(None) if number == 11 else [])]:
            since_key.append(0 if packet.is_keyframe else since_key[-1] + 1)
            packets.append(bytes(packet))
    assert len(packets) == 12 and max(since_key) == 3
    forward = Video(codec, packets.__getitem__, np.array(since_key), grey=False)
    frames = [forward.frame(index) for index in range(12)]
    for number, frame in enumerate(frames):
        assert np.abs(frame.astype(int) - scene[:, number : number + 64]).mean() < 12
    shuffled = Video(codec, packets.__getitem__, np.array(since_key), grey=False)
    for index in (7, 2, 11, 3, 0, 10, 9, 9, 5):
        np.testing.assert_array_equal(shuffled.frame(index), frames[index])
    lying = Video(codec, packets.__getitem__, np.array([3] * 12), grey=False)
    with pytest.raises(SourceError, match="key frame"):
        lying.frame(2)


def test_pixels_by_hand() -> None:
    # raw10: 4 pixels of 10 bits in 5 bytes; the fifth holds the two low bits of each, the first pixel's lowest
    ten = Picture("raw", "raw10", 1, 4, 0, "")
    np.testing.assert_array_equal(decode(ten, bytes([1, 2, 3, 255, 0b11_10_01_00])), [[4, 9, 14, 1023]])
    bgr = Picture("raw", "bgr8", 1, 2, 8, "")  # rows are padded to 8 bytes
    np.testing.assert_array_equal(decode(bgr, bytes([1, 2, 3, 4, 5, 6, 0, 0])), [[[3, 2, 1], [6, 5, 4]]])
    with pytest.raises(SourceError, match="too few"):
        decode(bgr, bytes(5))
    # white and black in two colour spaces of half size; nv21 has the colours of nv12 swapped
    for pixels in ("yuv_420_nv12", "yuv_420_nv21", "yuv_i420_split"):
        grey = np.asarray(decode(Picture("raw", pixels, 2, 2, 0, ""), bytes([16, 235, 16, 235, 128, 128])))
        np.testing.assert_allclose(grey[0], [[0] * 3, [255] * 3], atol=2)


def test_red_is_red_in_both_orders_of_colour(shared_data: Path) -> None:
    red = bytes([81] * 64) + bytes([90, 240] * 16)  # Y, then Cb and Cr of red by BT.601
    swapped = bytes([81] * 64) + bytes([240, 90] * 16)
    for pixels, data in (("yuv_420_nv12", red), ("yuv_420_nv21", swapped)):
        picture = np.asarray(decode(Picture("raw", pixels, 8, 8, 0, ""), data))
        assert picture[4, 4, 0] > 240 and picture[4, 4, 1:].max() < 15


def test_layouts_and_formats_that_are_no_such() -> None:
    for text in ("{}", "[]", '{"data_layout":[{"name":"a","type":"DataPieceValue<what>","offset":0}]}', "not json"):
        with pytest.raises(SourceError):
            parse_layout(text)
    over = [{"name": name, "type": "DataPieceValue<double>", "offset": 4} for name in "ab"]
    with pytest.raises(SourceError, match="over another"):
        parse_layout(json.dumps({"data_layout": over}))
    with pytest.raises(SourceError, match="unknown"):
        parse_format("data_layout+hologram")
    layout = parse_layout('{"data_layout":[{"name":"a","type":"DataPieceVector<string>","index":0}]}')
    words = b"".join(struct.pack("<I", len(word)) + word for word in (b"left", b"right"))
    assert layout.decode(struct.pack("<II", 0, len(words)) + words) == {"a": ["left", "right"]}
    for offset, length in ((0, 99), (4000000000, 400000000)):
        with pytest.raises(SourceError):
            layout.decode(struct.pack("<II", offset, length) + words)
