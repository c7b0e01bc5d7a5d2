"""Damaged files of a store of recordings: an error that names the file, or the right values; never other values."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes import checked_file, shard_writer
from foreact.episodes.recording_store import RecordingStore, write_recordings
from foreact.episodes.sources import Source, SourceError, open_collection
from foreact.episodes.sources.encoded import Packets, Stills
from foreact.episodes.sources.parts import Part, PartsSource, array_part
from foreact.episodes.sources.protocol import Stream
from foreact.episodes.sources.video import VideoPool
from foreact.episodes.sources.video_part import video_part
from foreact.episodes.sources.vrs_video import Video

av = pytest.importorskip("av")
COUNT = 12
MUTATIONS = 600


def coded(path: Path, side: int = 48) -> tuple[Path, list[bytes]]:
    """Moving noise as a video file, and its coded frames."""
    grain = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    packets: list[bytes] = []
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=30, options={"g": "4", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = side, side, "yuv420p"
        for number in [*range(COUNT), None]:
            picture = None if number is None else np.roll(grain, 3 * number, axis=1) // 2 + number
            made = stream.encode(None if picture is None else av.VideoFrame.from_ndarray(picture, format="rgb24"))
            container.mux(made)
    with av.open(str(path)) as container:
        to_annex_b = av.BitStreamFilterContext("h264_mp4toannexb", container.streams.video[0])
        for packet in container.demux(video=0):
            packets += [bytes(each) for each in to_annex_b.filter(packet if packet.size else None)]
    return path, packets


def recording(folder: Path) -> PartsSource:
    from PIL import Image

    rng = np.random.default_rng(1)
    video, packets = coded(folder / "a.mp4")
    stamps = np.arange(COUNT, dtype=np.int64) * 33
    since_key = np.arange(COUNT, dtype=np.int64) % 4
    decoder = Video("H.264", packets.__getitem__, since_key, grey=False)
    jpegs = []
    for picture in rng.integers(0, 255, (COUNT, 16, 16, 3), np.uint8):
        out = io.BytesIO()
        Image.fromarray(picture).save(out, "jpeg")
        jpegs.append(out.getvalue())
    points = [rng.normal(size=(k, 3)) for k in rng.integers(0, 9, COUNT).tolist()]
    words = [f"step {index}" for index in range(COUNT)]
    return PartsSource("k", [
        video_part("camera.film", VideoPool(), video, stamps=stamps),
        Part(Stream("camera.packets", "image", (48, 48, 3), "uint8"), stamps, decoder.frame,
             encoded=Packets("H.264", packets.__getitem__, since_key, grey=False)),
        Part(Stream("camera.jpeg", "image", (16, 16, 3), "uint8"), stamps,
             lambda index: np.asarray(Image.open(io.BytesIO(jpegs[index]))), encoded=Stills(jpegs.__getitem__)),
        array_part(Stream("depth", "depth", (8, 9), "uint16"), stamps, rng.integers(0, 999, (COUNT, 8, 9), np.uint16)),
        array_part(Stream("state", "vector", (7,), "float64"), stamps, rng.normal(size=(COUNT, 7))),
        Part(Stream("points", "points", (None, 3), "float64"), stamps, points.__getitem__),
        Part(Stream("said", "text", (), "str"), stamps, words.__getitem__),
    ])  # fmt: skip


def values(source: Source, names: Iterable[str]) -> dict[str, list[Any]]:
    """Every stamp and sample; of a film some out of order as well, which seeks."""
    found: dict[str, list[Any]] = {}
    for name in names:
        order = [COUNT - 1, 3, *range(COUNT)] if name == "camera.film" else [*range(COUNT)]
        found[name] = [source.stamps(name), *(source.read(name, index) for index in order)]
    return found


def test_damage_is_an_error_or_harmless(
    tmp_path: Path, damage: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked_file, "BLOCK", 700)  # so that a small film has many blocks
    monkeypatch.setattr(shard_writer, "CHUNK", 512)
    with recording(tmp_path) as source:
        right = values(source, source.streams)
        write_recordings(tmp_path / "s", [source])
    forms = {each.form for each in RecordingStore.open(tmp_path / "s").header("k").streams}
    assert forms == {"clip", "packets", "stills", "rows", "ragged", "text"}
    files = sorted(file for file in (tmp_path / "s").rglob("*") if file.is_file())
    files += [file for file in files if file.name in ("clip.mp4", "c.0")] * 2  # what holds most
    errors = verified = 0
    for seed in range(MUTATIONS):
        file = files[seed % len(files)]
        whole = file.read_bytes()
        file.write_bytes(damage(whole, seed // len(files) + seed))
        changed = file.read_bytes() != whole
        try:
            with open_collection(tmp_path / "s").open("k") as source:
                mine = [name for name in source.streams if name in file.parts]  # what it belongs to, or all
                found = values(source, mine or source.streams)
            for name in found:
                for place, (got, value) in enumerate(zip(found[name], right[name], strict=True)):
                    assert np.array_equal(got, value), f"{file.name}, seed {seed}: {name}, sample {place - 1}"
        except SourceError as error:
            errors += 1
            assert str(tmp_path / "s") in str(error)
        if seed % 9 == 0 and changed and file.parent.name not in ("s", "episodes"):
            verified += 1
            assert RecordingStore.open(tmp_path / "s").verify() != [], file
        file.write_bytes(whole)
    assert errors > MUTATIONS // 3 and verified > 40, (errors, verified)
    assert RecordingStore.open(tmp_path / "s").verify() == []


def test_a_fault_is_told_again_and_the_rest_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked_file, "BLOCK", 700)
    video, _ = coded(tmp_path / "a.mp4", side=192)  # more than a library reads ahead
    with PartsSource("k", [video_part("camera.film", VideoPool(), video)]) as source:
        right = values(source, ["camera.film"])["camera.film"][3:]
        write_recordings(tmp_path / "s", [source])
    film = next((tmp_path / "s").rglob("clip.mp4"))
    content = bytearray(film.read_bytes())
    content[-40] ^= 1  # in the last frames
    film.write_bytes(content)
    with open_collection(tmp_path / "s").open("k") as source:
        for _ in range(2):
            with pytest.raises(SourceError, match=r"clip\.mp4: the checksum of the block"):
                source.read("camera.film", COUNT - 1)
            assert np.array_equal(np.asarray(source.read("camera.film", 2)), right[2])
