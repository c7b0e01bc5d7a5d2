"""Proxies: the same frames at the same times, near a key frame each, made once, and only when asked for."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.feed.feed import Dataset, Feed, FeedConfig
from foreact.episodes.feed.proxy import ProxySettings, longest_group, proxied
from foreact.episodes.feed.windows import Steps, Windows
from foreact.episodes.sources import SourceError, open_collection
from foreact.episodes.sources.video import Video

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 frames with one key frame, at times that are not even, some shown in another order than they lie."""
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    y, x = np.mgrid[:48, :64]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"g": "300", "bf": "2", "crf": "10", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(90):
            picture = np.stack([x * 3 + number, y * 4, np.full_like(x, 2 * number)], axis=-1) % 256
            frame = av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")
            frame.pts = number + number // 7
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("codec", ["libx264", "libsvtav1"])
def test_a_proxy_has_the_same_frames_at_the_same_times(film: Path, tmp_path: Path, codec: str) -> None:
    settings = ProxySettings(codec, 20, "veryfast" if codec == "libx264" else "10")  # type: ignore[arg-type]
    found = proxied(film, settings=settings, cache=tmp_path)
    (file,) = found.files
    with Video(film) as before, Video(found.path) as after:
        assert longest_group(before.index) == 90 and longest_group(after.index) <= 2
        np.testing.assert_array_equal(before.stamps, after.stamps)
        errors = [np.square(before.read(each).astype(float) - after.read(each)).mean() for each in range(len(before))]
    psnr = 10 * np.log10(255**2 / np.array(errors))
    assert file.frames == 90 and psnr.min() > 30
    assert abs(psnr.mean() - file.psnr_db) < 3 and file.least_psnr_db >= psnr.min()
    assert film.read_bytes() == Path(file.original).read_bytes() and file.proxy_bytes == found.path.stat().st_size


def test_it_is_made_once_and_anew_when_the_video_changes(film: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    shutil.copy(film, tmp_path / "set" / "film.mp4")
    (tmp_path / "set" / "notes.txt").write_text("kept")
    first = proxied(tmp_path / "set", cache=tmp_path)
    changed = Path(first.files[0].proxy).stat().st_mtime_ns
    again = proxied(tmp_path / "set", cache=tmp_path)
    assert again == first and Path(again.files[0].proxy).stat().st_mtime_ns == changed
    assert (first.path / "notes.txt").read_text() == "kept"
    assert open_collection(first.path).keys() == open_collection(tmp_path / "set").keys()
    Path(first.files[0].proxy).write_bytes(b"")  # cut off
    assert proxied(tmp_path / "set", cache=tmp_path).files[0].proxy_bytes > 0
    assert Path(first.files[0].proxy).stat().st_size == first.files[0].proxy_bytes
    data = film.read_bytes()
    (tmp_path / "set" / "film.mp4").write_bytes(data + b"\0\0\0\x08free")
    other = proxied(tmp_path / "set", cache=tmp_path)
    assert other.files[0].proxy != first.files[0].proxy and other.path != first.path


def test_short_groups_stay_and_great_loss_is_refused(film: Path, tmp_path: Path) -> None:
    assert proxied(film, settings=ProxySettings(longest=90), cache=tmp_path).path == film
    with pytest.raises(SourceError, match=r"has \d+\.\d dB, 60.0 are asked for; give a lower crf than 51"):
        proxied(film, settings=ProxySettings(crf=51, least_psnr_db=60.0), cache=tmp_path)
    assert not [*(tmp_path / "proxies").iterdir()]
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(SourceError, match="is empty"):
        proxied(tmp_path / "empty.mp4", cache=tmp_path)
    with pytest.raises(FileNotFoundError):
        proxied(tmp_path / "none.mp4", cache=tmp_path)


def test_telemetry_is_not_lost(shared_data: Path, tmp_path: Path) -> None:
    found = proxied(shared_data / "gopro_gpmf", settings=ProxySettings(longest=5), cache=tmp_path)
    assert found.path == shared_data / "gopro_gpmf" and "it carries telemetry" in found.notes[0]


def test_a_feed_reads_proxies_only_when_asked(film: Path, tmp_path: Path) -> None:
    windows = Windows({"camera": Steps("camera.rgb")}, "camera.rgb")

    def first(proxy: bool) -> tuple[np.ndarray, int]:
        config = FeedConfig(batch=8, workers=0, shuffle=False, proxy=proxy, cache=tmp_path)
        with Feed(Dataset(film, windows), config) as feed:
            return next(feed)["camera"][:, 0].copy(), sum(len(each.files) for each in feed.proxies)

    with Video(film) as video:
        exact = video.read_range(0, 8)
    (plain, none), (lossy, one) = first(False), first(True)
    np.testing.assert_array_equal(plain, exact)
    assert (none, one) == (0, 1)
    loss = np.abs(lossy.astype(int) - exact).mean()
    assert 0 < loss < 4
    with pytest.raises(ValueError, match="does not lie on this machine"):
        Feed(Dataset("memory://film", windows), FeedConfig(proxy=True))
