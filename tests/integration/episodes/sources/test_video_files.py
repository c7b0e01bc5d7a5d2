"""Video files and a GoPro's telemetry: the real ones, and payloads written here by hand."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes.sources.gpmf import merge_payloads, parse_payload
from foreact.episodes.sources.protocol import SourceError
from foreact.episodes.sources.video_files import open_collection

av = pytest.importorskip("av")


def klv(key: str, kind: str, size: int, data: bytes) -> bytes:
    """One key; kind '' nests."""
    head = key.encode() + struct.pack(">BBH", ord(kind) if kind else 0, size, len(data) // max(size, 1))
    return head + data + bytes(-len(data) % 4)


def nest(key: str, *inside: bytes) -> bytes:
    return klv(key, "", 1, b"".join(inside))


def numbers(key: str, kind: str, letter: str, rows: list[tuple[Any, ...]]) -> bytes:
    data = b"".join(struct.pack(">" + letter * len(row), *row) for row in rows)
    return klv(key, kind, len(data) // len(rows), data)


def accelerometer(*rows: tuple[int, int, int], total: int | None = None) -> bytes:
    tells = [] if total is None else [klv("TSMP", "L", 4, struct.pack(">L", total))]
    scale = klv("SCAL", "s", 2, struct.pack(">h", 100))
    unit = klv("SIUN", "c", 4, b"m/s\xb2")
    return nest("STRM", *tells, klv("STNM", "c", 3, b"Acc"), unit, scale, numbers("ACCL", "s", "h", list(rows)))


def payload(*streams: bytes) -> bytes:
    return nest("DEVC", klv("DVNM", "c", 4, b"Test"), *streams)


def test_values_by_hand() -> None:
    gps = nest(
        "STRM",
        klv("GPSF", "L", 4, struct.pack(">L", 3)),
        klv("UNIT", "c", 3, b"degdegm\0\0m/sm/s"),
        klv("SCAL", "l", 4, struct.pack(">5l", 10**7, 10**7, 1000, 1000, 100)),
        numbers("GPS5", "l", "l", [(331_267_610, -1_173_272_859, -24_064, 1201, 123)]),
    )
    mixed = nest("STRM", klv("TYPE", "c", 1, b"Lf[2]S"), klv("MIXD", "?", 14, struct.pack(">LffH", 7, 0.5, -2.0, 9)))
    fixed = nest("STRM", klv("FIXD", "q", 4, struct.pack(">l", 3 << 15)))
    found = parse_payload(payload(accelerometer((100, -250, 981), (1, 2, 3)), gps, mixed, fixed, nest("STRM")))
    assert (found.device, found.notes) == ("Test", ())
    sensors = {sensor.key: sensor for sensor in found.sensors}
    assert (sensors["ACCL"].unit, sensors["ACCL"].name) == ("m/s^2", "Acc")
    np.testing.assert_array_equal(sensors["ACCL"].values, [[1, -2.5, 9.81], [0.01, 0.02, 0.03]])
    assert sensors["GPS5"].unit == "deg,deg,m,m/s,m/s"
    np.testing.assert_allclose(sensors["GPS5"].values[0], [33.126761, -117.3272859, -24.064, 1.201, 1.23], rtol=1e-12)
    np.testing.assert_array_equal(sensors["MIXD"].values, [[7, 0.5, -2.0, 9]])
    np.testing.assert_array_equal(sensors["FIXD"].values, [[1.5]])


def test_stamps_are_spread_and_lost_samples_are_told() -> None:
    payloads = [
        parse_payload(payload(accelerometer((1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4), total=4))),
        parse_payload(payload(accelerometer((5, 5, 5), (6, 6, 6), total=8))),
    ]
    sensors, notes = merge_payloads(payloads, [0, 1_000_000_000], [1_000_000_000, 500_000_001])
    sensor, stamps = sensors["ACCL"]
    assert stamps.tolist() == [0, 250_000_000, 500_000_000, 750_000_000, 1_000_000_000, 1_250_000_000]
    assert sensor.values[:, 0].tolist() == [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]
    assert notes == ["ACCL: the camera counted 2 samples more than there are"]


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (payload(accelerometer((1, 2, 3)))[:-4], "damaged at byte 0"),
        (payload(accelerometer((1, 2, 3)), b"\xff\xfe\xfd\xfcxxxx"), "damaged"),
        (payload(nest("STRM", klv("SCAL", "s", 2, b"\0\0"), numbers("ACCL", "s", "h", [(1, 2)]))), "scale"),
        (payload(nest("STRM", klv("ODDS", "s", 3, b"\0\0\0"))), "no whole number"),
        (payload(nest("STRM", klv("ODDS", "?", 4, b"\0\0\0\0"))), "nothing that is said"),
    ],
)
def test_damage_is_noted(data: bytes, note: str) -> None:
    try:
        found = parse_payload(data)
    except SourceError as error:
        assert "without a device" in str(error)
    else:
        assert note in " ".join(found.notes)


def test_a_real_bare_payload(shared_data: Path) -> None:
    found = parse_payload((shared_data / "gopro_gpmf/hero6.raw").read_bytes())
    assert found.device == "Hero6 Black"
    sensors = {sensor.key: sensor for sensor in found.sensors}
    assert {key: sensors[key].values.shape for key in ("ACCL", "GYRO", "GPS5", "SHUT")} == {
        "ACCL": (204, 3),
        "GYRO": (204, 3),
        "GPS5": (17, 5),
        "SHUT": (30, 1),
    }
    assert abs(float(np.linalg.norm(sensors["ACCL"].values, axis=1).mean()) - 10) < 1
    assert found.notes == ("FACE: groups of samples are left out",)


COUNTS = {
    "camera.rgb": 315,
    "imu.accelerometer": 2082,
    "imu.gyroscope": 2082,
    "CORI": 316,
    "IORI": 316,
    "GRAV": 316,
    "gps": 191,
    "magnetometer.camera": 260,
    "gps.status": 11,
}


def test_a_real_gopro_video(shared_data: Path) -> None:
    collection = open_collection(shared_data / "gopro_gpmf/max-heromode.mp4")
    assert (collection.format, collection.keys()) == ("video", ("max-heromode",))
    with collection.open("max-heromode") as source:
        assert {name: len(source.stamps(name)) for name in COUNTS} == COUNTS
        assert source.metadata["camera"] == "GoPro Max"
        assert all(stream.clock == "video" for stream in source.streams.values())
        for name in COUNTS:
            stamps = source.stamps(name)
            assert np.all(np.diff(stamps) > 0)
            assert 0 <= stamps[0] < 1e6
            assert 10.0e9 <= stamps[-1] < 10.543e9
        gravity = np.asarray(source.read("GRAV", 0))
        turn = np.asarray(source.read("CORI", 100))
        acceleration = np.stack([np.asarray(source.read("imu.accelerometer", index)) for index in range(0, 2082, 20)])
        assert abs(np.linalg.norm(gravity) - 1) < 1e-3
        assert abs(np.linalg.norm(turn) - 1) < 1e-3
        assert abs(float(np.linalg.norm(acceleration, axis=1).mean()) - 9.81) < 0.5
        assert source.streams["imu.accelerometer"].unit == "m/s^2"
        assert source.streams["imu.gyroscope"].unit == "rad/s"
        # the place in the telemetry is that in the file's own header, the time that of its creation
        assert str(source.metadata["location"]).startswith("+33.1268-117.3273")
        np.testing.assert_allclose(np.asarray(source.read("gps", 0))[:2], [33.1268, -117.3273], atol=1e-4)
        assert json.loads(str(source.read("gps.status", 0)))["GPSU"].startswith("191118")
        assert np.shape(source.read("camera.rgb", 314)) == (480, 848, 3)
        assert source.notes[0] == "sound is left out: aac 48000 Hz"


def test_a_folder_of_videos(shared_data: Path, tmp_path: Path) -> None:
    shutil.copy(shared_data / "human_hand_retarget/human_hand_video.mp4", tmp_path / "b.MP4")
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "note.txt").write_text("no video")
    collection = open_collection(tmp_path)
    assert collection.keys() == ("a.mp4", "b.MP4")
    with collection.open("b.MP4") as source:
        assert list(source.streams) == ["camera.rgb"]
        assert len(source.stamps("camera.rgb")) == 621
    with pytest.raises(SourceError, match=r"a\.mp4: the file is empty"):
        collection.open("a.mp4")
    collection.close()
    with pytest.raises(SourceError, match=r"a\.mp4: the file is empty"):
        open_collection(tmp_path / "a.mp4")
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match="no file that ends with"):
        open_collection(tmp_path / "none")


def test_further_tracks_and_sound(tmp_path: Path) -> None:
    file = tmp_path / "a.mp4"
    with av.open(str(file), "w") as container:
        streams: list[Any] = [container.add_stream("libx264", rate=10) for _ in range(2)]
        for number, stream in enumerate(streams):
            stream.width, stream.height, stream.pix_fmt = 64, 48 - 16 * number, "yuv420p"
        for index in range(4):
            for stream in streams:
                picture = np.full((stream.height, 64, 3), 40 * index, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode())
    with open_collection(file).open("a") as source:
        assert {name: stream.shape for name, stream in source.streams.items()} == {
            "camera.rgb": (48, 64, 3),
            "camera.rgb2": (32, 64, 3),
        }
        assert abs(float(np.mean(np.asarray(source.read("camera.rgb2", 3)))) - 120) < 4
