"""Videos with few key frames, encoded anew so that any frame is near one. Lossy, so only done when asked for.

Training draws frames at random; with a key frame every 250 frames each costs up to 250 decoded ones. A proxy has one
every second frame. It lies in a cache, known by the content of the original; the dataset beside it is made of links.
Shape letters: n = frames.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.feed.cache import cache_folder, file_digest
from foreact.episodes.outcome import ProgressFn, quiet
from foreact.episodes.runfolder import write_json_atomic
from foreact.episodes.sources.gopro import HANDLER
from foreact.episodes.sources.protocol import SourceError
from foreact.episodes.sources.video import Video
from foreact.episodes.sources.video_files import SUFFIXES
from foreact.episodes.sources.video_index import VideoIndex, needs_av, open_container, video_stream
from foreact.episodes.staging import staged_folder

if TYPE_CHECKING:
    from av.container import OutputContainer

__all__ = ["Proxies", "ProxyFile", "ProxySettings", "longest_group", "proxied"]

COMPARED = 16  # frames whose difference is measured


@dataclass(frozen=True)
class ProxySettings:
    """How proxies are encoded.

    Attributes:
        codec: libsvtav1 (AV1), or libx264 (H.264), which is larger and decodes faster.
        crf: Of the encoder: lower is better and larger.
        preset: Of the encoder: its speed.
        longest: Videos with a key frame at least every so many frames are left as they are.
        least_psnr_db: What every compared frame must reach [dB].
    """

    codec: Literal["libsvtav1", "libx264"] = "libx264"
    crf: int = 20
    preset: str = "veryfast"
    longest: int = 30
    least_psnr_db: float = 30.0


@dataclass(frozen=True)
class ProxyFile:
    """One proxy.

    Attributes:
        original: The video.
        proxy: Its proxy.
        frames: n, of both.
        psnr_db: Mean over 16 frames, evenly spaced, of RGB [dB].
        least_psnr_db: Of the worst of them [dB].
        original_bytes: Size of the video [bytes].
        proxy_bytes: Size of its proxy [bytes].
    """

    original: str
    proxy: str
    frames: int
    psnr_db: float
    least_psnr_db: float
    original_bytes: int
    proxy_bytes: int


@dataclass(frozen=True)
class Proxies:
    """A dataset in which long videos are replaced.

    Attributes:
        path: Of the dataset of links; the original if no video is replaced.
        files: The proxies.
        notes: Long videos that were left as they are, and why.
    """

    path: Path
    files: tuple[ProxyFile, ...]
    notes: tuple[str, ...]


def longest_group(index: VideoIndex) -> int:
    """Most frames from one key frame to the next, or to the end; all of them if frames can only be counted."""
    ends = np.append(index.keyframes, len(index.stamps))
    return int(np.diff(ends).max()) if index.seekable else len(index.stamps)


def proxied(
    path: Path,
    *,
    settings: ProxySettings | None = None,
    cache: Path | None = None,
    progress: ProgressFn = quiet,
) -> Proxies:
    """A dataset whose videos can be read anywhere at once; made on the first call, found on later ones.

    Args:
        path: A video file or a folder on this machine.
        settings: How proxies are encoded.
        cache: Where they are kept; see `cache.cache_folder`.
        progress: Told of each video.

    Raises:
        FileNotFoundError: Nothing is there.
        SourceError: A video is damaged, cannot be encoded so that times stay, or the loss is too great.
        ModuleNotFoundError: PyAV is not installed.
    """
    settings, path = settings or ProxySettings(), Path(path)
    path.stat()
    folder = cache_folder("proxies", cache)
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    videos = [file for file in files if file.suffix.lower() in SUFFIXES]
    made: dict[Path, ProxyFile] = {}
    notes: list[str] = []
    for done, video in enumerate(videos):
        progress(done, len(videos), "proxies")
        with Video(video) as opened:
            if longest_group(opened.index) <= settings.longest:
                continue
        if reason := _reason_to_keep(video):
            notes.append(f"{video} is left as it is: {reason}")
            continue
        made[video] = _proxy(video, settings, folder)
    progress(len(videos), len(videos), "proxies")
    return Proxies(_linked(path, files, made, folder) if made else path, tuple(made.values()), tuple(notes))


def _reason_to_keep(video: Path) -> str:
    """Why a proxy would lack something; empty if it would not."""
    with open_container(video) as container:
        cover = needs_av().stream.Disposition.attached_pic
        if sum(not each.disposition & cover for each in container.streams.video) > 1:
            return "it has several video tracks"
        if any(HANDLER in each.metadata.get("handler_name", "") for each in container.streams):
            return "it carries telemetry"
    return ""


def _proxy(video: Path, settings: ProxySettings, folder: Path) -> ProxyFile:
    """Find or make the proxy of one video."""
    how = f"{settings.codec} {settings.crf} {settings.preset}"
    name = hashlib.sha256(f"{file_digest(video)} {how}".encode()).hexdigest()[:24]
    target, about = folder / f"{name}{video.suffix}", folder / f"{name}.json"
    if target.is_file() and about.is_file():
        told = strictjson.loads(about.read_text(encoding="utf-8"))
        found = strictjson.decode(ProxyFile, {**told, "original": str(video), "proxy": str(target)}, str(about))
        if target.stat().st_size == found.proxy_bytes:
            return found
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{name}.{os.getpid()}{video.suffix}"
    try:
        _encode(video, partial, settings)
        psnr = _compared(video, partial)
        if min(psnr) < settings.least_psnr_db:
            raise SourceError(
                f"{video}: a frame of its proxy has {min(psnr):.1f} dB, {settings.least_psnr_db} are asked for; "
                f"give a lower crf than {settings.crf}"
            )
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    sizes = video.stat().st_size, target.stat().st_size
    with Video(target) as opened:
        made = ProxyFile(str(video), str(target), len(opened), float(np.mean(psnr)), min(psnr), *sizes)
    write_json_atomic(about, made)
    return made


def _encode(video: Path, target: Path, settings: ProxySettings) -> None:
    av = needs_av()
    with Video(video) as opened:
        index = opened.index
    if not index.seekable:
        raise SourceError(f"{video}: its frames say no times, which a proxy could keep")
    wanted = set(index.ticks.tolist())
    try:
        with open_container(video) as source, av.open(str(target), "w", format="mp4") as out:
            _transcode(source, out, video, index, wanted, settings)
    except (OSError, ValueError, av.FFmpegError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{video}: cannot be encoded by {settings.codec}: {error}") from error


def _transcode(
    source: Any, out: OutputContainer, video: Path, index: VideoIndex, wanted: set[int], settings: ProxySettings
) -> None:
    stream = video_stream(source, 0, str(video))
    time_base = Fraction(stream.time_base or 0)
    options = {"g": "2", "crf": str(settings.crf), "preset": settings.preset}
    options |= {"bf": "0", "sc_threshold": "0"} if settings.codec == "libx264" else {}
    made: Any = out.add_stream(settings.codec, rate=stream.average_rate or 30, options=options)
    made.width, made.height, made.pix_fmt = index.size[1], index.size[0], "yuv420p"
    made.codec_context.time_base = made.time_base = time_base
    for frame in source.decode(stream):
        if frame.pts in wanted:
            wanted.discard(frame.pts)
            plain = frame.reformat(format="yuv420p")
            plain.pts, plain.time_base, plain.pict_type = frame.pts, time_base, 0
            out.mux(made.encode(plain))
    out.mux(made.encode(None))
    if wanted:
        raise SourceError(f"{video}: {len(wanted)} of {len(index.ticks)} frames cannot be decoded")


def _compared(video: Path, proxy: Path) -> list[float]:
    """PSNR of frames, evenly spaced [dB].

    Raises:
        SourceError: The proxy has other frames or times than the video, or too few key frames.
    """
    with Video(video) as before, Video(proxy) as after:
        if len(before) != len(after) or not np.array_equal(before.stamps, after.stamps) or before.shape != after.shape:
            raise SourceError(
                f"{video}: its proxy has {len(after)} frames, not the same {len(before)} at the same times"
            )
        if longest_group(after.index) > 2:
            raise SourceError(
                f"{video}: its proxy has up to {longest_group(after.index)} frames from key frame to key frame"
            )
        picks = np.unique(np.linspace(0, len(before) - 1, COMPARED).astype(int)).tolist()
        errors = [np.square(before.read(each).astype(np.float64) - after.read(each)).mean() for each in picks]
    # PSNR = 10 log10(255^2 / MSE)
    return [float(10 * np.log10(255.0**2 / max(error, 1e-10))) for error in errors]


def _linked(path: Path, files: Sequence[Path], made: dict[Path, ProxyFile], folder: Path) -> Path:
    """A folder of links to the files of a dataset, and to proxies in place of some."""
    targets = {file: Path(made[file].proxy) if file in made else file for file in files}
    lines = [f"{file.resolve()} {target.resolve()}" for file, target in targets.items()]
    name = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:24]
    tree = folder / f"tree-{name}"
    if not tree.is_dir():
        try:
            with staged_folder(tree) as staged:
                for file, target in targets.items():
                    link = staged / path.name / file.relative_to(path) if path.is_dir() else staged / path.name
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(target.resolve())
        except FileExistsError:
            pass  # another process was first
    return tree / path.name
