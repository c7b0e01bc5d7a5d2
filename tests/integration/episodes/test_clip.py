"""Frames of a video in a store: packets copied, every frame as in the video, whatever the codec and the cut."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes.arrays import StoreError
from foreact.episodes.convert_parts import differences
from foreact.episodes.recording_store import RecordingStore, write_recordings
from foreact.episodes.sources import SourceError, open_collection
from foreact.episodes.sources.encoded import Clip
from foreact.episodes.sources.parts import Part, PartsSource
from foreact.episodes.sources.video import VideoPool
from foreact.episodes.sources.video_part import video_part

av = pytest.importorskip("av")
COUNT = 40


def write_video(path: Path, codec: str, **options: str) -> Path:
    """Moving noise, so that every frame differs, and leans on those before it."""
    grain = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(COUNT):
            frame = av.VideoFrame.from_ndarray(np.roll(grain, 3 * number, axis=1) // 2 + number, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def part_of(file: Path, first: int, last: int) -> Part:
    stamps = np.arange(first, last, dtype=np.int64)[::-1] * 7  # not those of the video
    return video_part(
        "camera.rgb", VideoPool(), file, clock="episode", first=first, stamps=np.ascontiguousarray(stamps)
    )


CUTS = ((0, COUNT), (9, 38), (13, 14), (30, 35))
VIDEOS: dict[str, tuple[str, str, dict[str, str]]] = {
    "b-frames": ("libx264", "a.mp4", {"g": "12", "bf": "3"}),
    "open gop": ("libx264", "a.mp4", {"g": "8", "bf": "2", "x264-params": "open-gop=1:scenecut=0:b-adapt=0"}),
    "intra refresh": ("libx264", "a.mkv", {"g": "10", "bf": "0", "x264-params": "intra-refresh=1"}),
    "hevc": ("libx265", "a.mp4", {"x265-params": "log-level=0:open-gop=1:bframes=3:keyint=8"}),
    "av1": ("libsvtav1", "a.mp4", {"g": "10", "preset": "12"}),
    "vp8, which MP4 does not hold": ("libvpx", "a.webm", {"g": "10"}),
    "avi": ("mpeg4", "a.avi", {"g": "10", "bf": "0"}),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_frames_of_a_cut_are_those_of_the_video(name: str, tmp_path: Path) -> None:
    codec, file, options = VIDEOS[name]
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    video = write_video(tmp_path / file, codec, **options)

    def sources() -> Sequence[PartsSource]:
        return [PartsSource(f"{first}-{last}", [part_of(video, first, last)]) for first, last in CUTS]

    write_recordings(tmp_path / "store", sources())
    store = RecordingStore.open(tmp_path / "store")
    for source in sources():
        (about,) = store.header(source.key).streams
        assert (about.form, about.reencoded) == ("clip", "")
        with store.read(source.key) as again:
            assert differences(source, again, exact=True) == []
            for index in np.random.default_rng(0).permutation(about.count)[:8].tolist():
                np.testing.assert_array_equal(again.read("camera.rgb", index), source.read("camera.rgb", index))
    write_recordings(tmp_path / "other", sources())
    assert [file.read_bytes() for file in files_of(tmp_path / "store")] == [
        file.read_bytes() for file in files_of(tmp_path / "other")
    ]


def files_of(store: Path) -> list[Path]:
    return sorted(file for file in store.rglob("*") if file.is_file())


def test_a_clip_in_a_bucket_is_read(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    video = write_video(tmp_path / "a.mp4", "libx264", g="12", bf="3")
    write_recordings(tmp_path / "store", [PartsSource("k", [part_of(video, 9, 38)])])
    files = fsspec.filesystem("memory")
    files.put(str(tmp_path / "store"), "/bucket/clips", recursive=True)
    try:
        with open_collection("memory://bucket/clips").open("k") as source:
            assert differences(PartsSource("k", [part_of(video, 9, 38)]), source, exact=True) == []
    finally:
        files.rm("/bucket", recursive=True)


def test_a_copy_with_other_pixels_is_written_anew_and_told(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", "libx264", g="12")
    part = part_of(video, 9, 38)

    def brighter(index: int) -> Any:
        return np.asarray(part.read(index)) | 1 if index == 17 else part.read(index)

    def source() -> PartsSource:
        return PartsSource("k", [Part(part.stream, part.stamps, brighter, encoded=part.encoded)])

    write_recordings(tmp_path / "store", [source()])
    store = RecordingStore.open(tmp_path / "store")
    (about,) = store.header("k").streams
    assert (about.form, about.media, about.reencoded) == (
        "stills",
        "image/png",
        "sample 17 of the copy has other pixels",
    )
    with store.read("k") as again:
        assert differences(source(), again, exact=True) == []


def test_frames_that_are_not_there_are_named(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", "libx264", g="12")
    part = part_of(video, 0, COUNT)
    gone = Part(part.stream, part.stamps, part.read, part.read_range, Clip(tmp_path / "gone.mp4"))
    with pytest.raises(SourceError, match=r"gone\.mp4"):
        write_recordings(tmp_path / "store", [PartsSource("k", [gone])])
    write_recordings(tmp_path / "store", [PartsSource("k", [part])])
    (tmp_path / "store" / "episodes" / "k" / "camera.rgb" / "clip.mp4").write_bytes(b"")
    assert any("truncated" in each for each in RecordingStore.open(tmp_path / "store").verify())
    with open_collection(tmp_path / "store").open("k") as source, pytest.raises(SourceError, match=r"clip\.mp4"):
        source.read("camera.rgb", 3)
    with pytest.raises(StoreError, match="exists"):
        write_recordings(tmp_path / "store", [])
