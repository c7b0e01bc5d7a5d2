"""Frames by number, against a plain decode of the whole file with PyAV."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes.bench_video import measure_video
from foreact.episodes.sources.protocol import SourceError
from foreact.episodes.sources.video import Video, VideoPool
from foreact.episodes.sources.video_part import video_part

av = pytest.importorskip("av")
SIZE = (48, 64)


def pictures(count: int) -> np.ndarray:
    """Moving noise: every frame differs, and leans on those before it."""
    grain = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
    return np.stack([np.roll(grain, 3 * shift, axis=1) // 2 + shift for shift in range(count)])


def write_video(
    path: Path,
    count: int = 40,
    *,
    codec: str = "libx264",
    rate: int = 30,
    pts: Sequence[int] | None = None,
    **options: str,
) -> Path:
    """Write moving noise; `pts` are times in units of 1 / (100 rate) s, every 100 if they are not given."""
    moving = {name: options.pop(name) for name in ("movflags",) if name in options}
    with av.open(str(path), "w", options=moving) as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100 * rate if pts is not None else rate)
        for number, picture in enumerate(pictures(count)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number if pts is None else pts[number]
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def plain(file: Path) -> list[np.ndarray]:
    with av.open(str(file)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def assert_same(video: Video, wanted: list[np.ndarray], seed: int = 0) -> None:
    """In order, backwards and at random."""
    assert len(video) == len(wanted)
    count = len(wanted)
    order = [*range(count), *range(count - 1, -1, -1), *np.random.default_rng(seed).permutation(count).tolist()]
    for number in order:
        np.testing.assert_array_equal(video.read(number), wanted[number], err_msg=f"frame {number}")


LAYOUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "every frame alone": ("a.mp4", {"g": "1"}),
    "b-frames": ("a.mp4", {"g": "12", "bf": "3"}),
    "open gop": ("a.mp4", {"g": "8", "bf": "2", "x264-params": "open-gop=1:scenecut=0:b-adapt=0"}),
    "header at the front": ("a.mp4", {"g": "12", "bf": "3", "movflags": "faststart"}),
    "fragments": ("a.mp4", {"g": "10", "bf": "2", "movflags": "frag_keyframe+empty_moov"}),
    "matroska": ("a.mkv", {"g": "12", "bf": "3"}),
    "quicktime": ("a.mov", {"g": "12"}),
    "avi": ("a.avi", {"g": "12", "bf": "0"}),
    "avi with b-frames": ("a.avi", {"g": "12", "bf": "2", "x264-params": "b-adapt=0:scenecut=0"}),
    "intra refresh": ("a.mp4", {"g": "10", "bf": "0", "x264-params": "intra-refresh=1"}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_frame_is_that_of_a_plain_decode(layout: str, tmp_path: Path) -> None:
    name, options = LAYOUTS[layout]
    file = write_video(tmp_path / name, **options)
    with Video(file) as video:
        assert_same(video, plain(file))
        assert video.shape == (*SIZE, 3)
        assert video.rate_hz == 30
        assert np.all(np.diff(video.stamps) > 0)
        assert video.index.notes == () or "avi" in layout


@pytest.mark.parametrize(
    ("codec", "name", "options"),
    [
        ("libvpx-vp9", "a.webm", {"g": "10", "lag-in-frames": "8", "auto-alt-ref": "1", "deadline": "realtime"}),
        ("libsvtav1", "a.mp4", {"g": "10", "preset": "12"}),
        ("mpeg4", "a.avi", {"g": "10", "bf": "2"}),
        ("libx265", "a.mp4", {"g": "8", "x265-params": "log-level=0:open-gop=1:bframes=3"}),
    ],
)
def test_other_codecs(codec: str, name: str, options: dict[str, Any], tmp_path: Path) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    file = write_video(tmp_path / name, codec=codec, **options)
    with Video(file) as video:
        assert_same(video, plain(file))


def test_uneven_times_are_those_of_the_file(tmp_path: Path) -> None:
    pts = np.cumsum([0, 100, 250, 10, 90, 600, *([100] * 20)]).tolist()
    file = write_video(tmp_path / "a.mp4", len(pts), pts=pts, g="6", bf="2")
    with Video(file) as video:
        np.testing.assert_array_equal(video.stamps, [round(Fraction(tick, 3000) * 10**9) for tick in pts])
        assert_same(video, plain(file))


def test_frames_of_one_time_are_counted(tmp_path: Path) -> None:
    file = write_video(tmp_path / "a.mkv", rate=2500, g="10", bf="0")  # Matroska counts milliseconds
    with Video(file) as video:
        assert "repeat times" in video.index.notes[0]
        assert_same(video, plain(file))


def test_an_edit_list_cuts_the_start(tmp_path: Path) -> None:
    file = write_video(tmp_path / "a.mp4", g="12", bf="0")
    content = bytearray(file.read_bytes())
    place = content.index(b"elst") + 4 + 8 + 4
    cut = int.from_bytes(content[place : place + 4], "big") + 5 * 512
    content[place : place + 4] = cut.to_bytes(4, "big")
    file.write_bytes(content)
    wanted = plain(file)
    assert len(wanted) == 35
    with Video(file) as video:
        assert video.stamps[0] == 0
        assert_same(video, wanted)


def test_a_turn_is_told_and_not_made(tmp_path: Path) -> None:
    file = write_video(tmp_path / "a.mp4", 3)
    content = bytearray(file.read_bytes())
    place = content.index(b"tkhd") + 4 + 40
    one = 1 << 16
    content[place : place + 20] = b"".join(value.to_bytes(4, "big", signed=True) for value in (0, one, 0, -one, 0))
    file.write_bytes(content)
    with Video(file) as video:
        assert video.index.rotation == 90
        assert video.shape == (*SIZE, 3)
    with av.open(str(file)) as container:
        assert next(container.decode(video=0)).rotation == -90  # PyAV counts the other way round


def test_what_is_left_of_a_cut_file_is_read(tmp_path: Path) -> None:
    file = write_video(tmp_path / "a.mp4", g="10", bf="0", movflags="faststart")
    wanted, content = plain(file), file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])
    with Video(file) as video:
        assert 10 < len(video) < 40
        assert f"{40 - len(video)} of 40 frames" in " ".join(video.index.notes) or "not whole" in video.index.notes[-1]
        assert_same(video, wanted[: len(video)])


def test_a_damaged_frame_spoils_its_group_only(tmp_path: Path) -> None:
    if "libsvtav1" not in av.codecs_available:
        pytest.skip("this PyAV has no libsvtav1")
    file = write_video(tmp_path / "a.mp4", codec="libsvtav1", g="10", preset="12")
    wanted = plain(file)
    with av.open(str(file)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][10]
        place, size = packet.pos, packet.size
        assert packet.is_keyframe
    content = bytearray(file.read_bytes())
    content[place : place + size] = b"\xff" * size
    file.write_bytes(content)
    with Video(file) as video:
        with pytest.raises(SourceError, match=r"frame 1\d of 40 is damaged"):
            video.read_range(0, 40)
        for number in (0, 9, 20, 39):
            np.testing.assert_array_equal(video.read(number), wanted[number])
        with pytest.raises(SourceError, match="frame 15 of 40 is damaged"):
            video.read(15)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    for name, content in {
        "empty.mp4": b"",
        "noise.mp4": bytes(range(256)) * 20,
        "playlist.mp4": b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n",
        "text.mkv": b"ffconcat version 1.0\nfile a.mp4\n",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=name):
            Video(tmp_path / name)
    with pytest.raises(SourceError, match="missing.mp4"):
        Video(tmp_path / "missing.mp4")
    file = write_video(tmp_path / "a.mp4")
    with pytest.raises(SourceError, match="1 video tracks, asked for number 1"):
        Video(file, track=1)
    content = bytearray(file.read_bytes())
    place = content.index(b"stsz") + 8
    content[place : place + 8] = (1).to_bytes(4, "big") + (2**31).to_bytes(4, "big")
    file.write_bytes(content)
    with pytest.raises(SourceError, match="claims 2147483648 samples"):
        Video(file)


def test_a_video_in_memory_and_ranges(tmp_path: Path) -> None:
    file = write_video(tmp_path / "a.mp4", g="12", bf="2")
    wanted = np.stack(plain(file))
    with Video(io.BytesIO(file.read_bytes())) as video:
        np.testing.assert_array_equal(video.read_range(5, 30), wanted[5:30])
        buffer = np.zeros((4, *video.shape), np.uint8)
        assert video.read_range(36, 40, buffer) is buffer
        np.testing.assert_array_equal(buffer, wanted[36:])
        assert video.read(3, buffer[0]).base is buffer
        np.testing.assert_array_equal(buffer[0], wanted[3])
        for bad in (np.zeros((4, 4, 3), np.uint8), np.zeros(video.shape, np.float32)):
            with pytest.raises(ValueError, match="needed is uint8"):
                video.read(0, bad)
        with pytest.raises(IndexError, match="has 40 frames"):
            video.read(40)
        with pytest.raises(IndexError, match="has 40 frames"):
            video.read_range(38, 41)
    with pytest.raises(SourceError, match="was closed"):
        video.read(0)


def test_a_frame_stays_as_it_was_when_others_are_read(tmp_path: Path) -> None:
    file = write_video(tmp_path / "a.mp4")
    with Video(file) as video:
        first = video.read(0)
        copy = first.copy()
        for number in range(1, 40):
            video.read(number)[:] = 0  # what is handed out is the caller's
        np.testing.assert_array_equal(first, copy)
        np.testing.assert_array_equal(video.read(5), plain(file)[5])


def test_a_pool_keeps_few_decoders_open(tmp_path: Path) -> None:
    files = [write_video(tmp_path / f"{number}.mp4", 12, g="4", bf="0") for number in range(5)]
    wanted = plain(files[0])
    pool = VideoPool(2)
    for file in files * 2:
        with pool.video(file) as video:
            np.testing.assert_array_equal(video.read(7), wanted[7])
        assert len(pool) <= 2
    with pool.video(files[0]) as a, pool.video(files[1]) as b, pool.video(files[2]) as c:
        assert len(pool) == 3  # none that is in use is closed
        assert len({id(a), id(b), id(c)}) == 3
    assert len(pool) == 2
    write_video(files[4], 6)
    assert len(pool.index(files[4]).stamps) == 6  # a file that changed is scanned anew
    pool.close()
    assert len(pool) == 0
    with pytest.raises(ValueError, match="at least one"):
        VideoPool(0)


def test_threads_share_a_pool(tmp_path: Path) -> None:
    files = [write_video(tmp_path / f"{number}.mp4", 20, g="6", bf="2") for number in range(3)]
    wanted = plain(files[0])
    pool = VideoPool(2)

    def job(seed: int) -> bool:
        draw = np.random.default_rng(seed)
        for number in draw.integers(0, 20, 15).tolist():
            with pool.video(files[int(draw.integers(3))]) as video:
                if not np.array_equal(video.read(number), wanted[number]):
                    return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(job, range(8)))
    pool.close()


G1 = "g1_head_teleop_lerobot_v30/videos/observation.images.cam_high/chunk-000/file-000.mp4"
REAL = {
    "gopro_gpmf/max-heromode.mp4": (315, (480, 848, 3), 30_000 / 1001, 10),
    "human_hand_retarget/human_hand_video.mp4": (621, (720, 1280, 3), 30.0, 250),
    G1: (765, (480, 640, 3), 30.0, 2),
}


@pytest.mark.parametrize("name", REAL)
def test_real_videos(name: str, shared_data: Path) -> None:
    count, shape, rate, group = REAL[name]
    with av.open(str(shared_data / name)) as container, Video(shared_data / name) as video:
        assert (len(video), video.shape, video.keyframes[1]) == (count, shape, group)
        assert video.rate_hz == pytest.approx(rate)
        np.testing.assert_allclose(video.stamps, np.arange(count) * 1e9 / rate, atol=1)
        wanted = {}
        for number, frame in zip(range(64), container.decode(video=0), strict=False):
            wanted[number] = frame.to_ndarray(format="rgb24")
        for number in [*range(8), 63, 60, 12, 33, 34, 5]:
            np.testing.assert_array_equal(video.read(number), wanted[number])


@pytest.mark.parametrize("name", ["gopro_gpmf/max-heromode.mp4", G1])
def test_what_a_frame_costs(name: str, shared_data: Path) -> None:
    costs = measure_video(shared_data / name, samples=60)
    print(f"\n{name}: {costs}")
    assert 0 < costs.sequential[0] < costs.random[0] <= np.percentile(costs.seeks, 95)
    assert 0 < costs.bare[0] < costs.bare_random[0]


def test_a_video_as_a_stream(tmp_path: Path) -> None:
    file = write_video(tmp_path / "a.mp4", 12, g="4", bf="0")
    wanted, pool = np.stack(plain(file)), VideoPool(1)
    part = video_part("camera.front", pool, file, stamps=np.arange(5), first=3, clock="episode")
    assert part.stream.description == "h264, a key frame every 4 frames"
    assert (part.stream.kind, part.stream.shape, part.stream.rate_hz) == ("image", (*SIZE, 3), 30)
    np.testing.assert_array_equal(part.read(2), wanted[5])
    assert part.read_range is not None
    np.testing.assert_array_equal(part.read_range(0, 5), wanted[3:8])
    with pytest.raises(ValueError, match="12 frames, needed are 8 to 13"):
        video_part("camera.front", pool, file, stamps=np.arange(5), first=8)
    pool.close()
