"""Clips of sound with what is heard in them and when: words that are spoken, contacts of things.

On disk a set is a folder with `sounds.json` and a file of NumPy arrays for each block of clips; what was finished
survives a kill. Shape letters: N = clips, S = samples of a clip, E = its events.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.outcome import JSON
from foreact.episodes.runfolder import write_bytes_atomic, write_json_atomic

__all__ = ["SOUND_BLOCK", "SoundClip", "SoundError", "SoundHeader", "SoundSet", "SoundWriter"]

FORMAT = 1
SOUND_BLOCK = 32  # clips of a block: what is made, written and read at once
HEADER = "sounds.json"
FULL_SCALE = 32767.0
ARRAYS = ("audio", "samples", "events", "times", "labels", "strengths", "text", "source")


class SoundError(ValueError):
    """A set of sounds, or a clip for one, is not what it should be; the message says how."""


@dataclass(frozen=True)
class SoundClip:
    """One clip.

    Attributes:
        audio: Between -1 and 1, float32 (S,).
        times: When events begin, ascending [samples], int64 (E,).
        labels: What they are, numbers among the labels of the set, int64 (E,).
        strengths: How strong they are, float32 (E,); 1 where that means nothing.
        text: Number among the texts of the set; -1 for none.
        source: Number among the sources of the set: the voice, the scene.
    """

    audio: np.ndarray = field(repr=False)
    times: np.ndarray
    labels: np.ndarray
    strengths: np.ndarray
    text: int = -1
    source: int = 0


@dataclass(frozen=True)
class SoundHeader:
    """What a set is.

    Attributes:
        clips: N.
        rate: Samples per second [Hz].
        labels: What can be heard: words, materials.
        texts: What clips are recordings of: sentences; can be empty.
        sources: Where clips come from: voices, scenes.
        about: What decides every sample but for N.
    """

    clips: int
    rate: int
    labels: tuple[str, ...]
    texts: tuple[str, ...]
    sources: tuple[str, ...]
    about: dict[str, JSON]
    format: int = FORMAT

    @property
    def blocks(self) -> int:
        """Files of arrays."""
        return -(-self.clips // SOUND_BLOCK)


class SoundSet:
    """A finished set; blocks are read when they are first asked for, and kept, with two bytes a sample.

    Args:
        path: Its folder.
        header: What it is.
    """

    def __init__(self, path: Path, header: SoundHeader) -> None:
        self.path, self.header = path, header
        self._blocks: dict[int, list[SoundClip]] = {}

    @classmethod
    def open(cls, path: Path) -> SoundSet:
        """Open a finished set.

        Raises:
            SoundError: It is none, damaged, or not finished.
        """
        header = _read_header(path)
        made = _made(path, header)
        if made < header.blocks:
            raise SoundError(
                f"{path} is not finished ({made} of {header.blocks} blocks); type the line that makes it once more"
            )
        return cls(path, header)

    def __len__(self) -> int:
        return self.header.clips

    def __getitem__(self, index: int) -> SoundClip:
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        block, row = divmod(index, SOUND_BLOCK)
        if block not in self._blocks:
            self._blocks[block] = _read_block(_file(self.path, block), self._size(block))
        clip = self._blocks[block][row]
        return replace(clip, audio=clip.audio.astype(np.float32) / np.float32(FULL_SCALE))

    def totals(self) -> tuple[int, int]:
        """Samples and events of all clips; sound itself is not read.

        Raises:
            SoundError: A block is damaged.
        """
        blocks = [_arrays(_file(self.path, block), ("samples", "events")) for block in range(self.header.blocks)]
        return sum(int(each["samples"].sum()) for each in blocks), sum(int(each["events"].sum()) for each in blocks)

    def _size(self, block: int) -> int:
        return min(SOUND_BLOCK, self.header.clips - block * SOUND_BLOCK)


class SoundWriter:
    """Fills a set block by block.

    Args:
        path: Folder; one that was begun for the same is gone on with.
        header: What the set is; a set made of something else is refused.

    Raises:
        SoundError: The folder holds something else, or there is no clip to write.
    """

    def __init__(self, path: Path, header: SoundHeader) -> None:
        if header.clips < 1 or header.rate < 1 or not header.sources:
            raise SoundError(f"a set of sounds needs clips, a rate and a source, got {header}")
        self.path, self.header = path, header
        if not path.exists() or not [each for each in path.iterdir() if not each.name.startswith(".")]:
            write_json_atomic(path / HEADER, header)
        if (found := _read_header(path)) != header:
            names = ("clips", "rate", "labels", "texts", "sources", "about")
            other = [name for name in names if getattr(found, name) != getattr(header, name)]
            raise SoundError(f"{path} holds another set (its {', '.join(other)} differ); choose another out")
        self.done = _made(path, header)

    def write(self, clips: Sequence[SoundClip]) -> None:
        """Write the next block.

        Args:
            clips: `SOUND_BLOCK` of them; the last block has what is left.

        Raises:
            SoundError: The set is finished, or a clip is not one.
        """
        left = self.header.clips - self.done * SOUND_BLOCK
        if len(clips) != min(SOUND_BLOCK, left) or left <= 0:
            raise SoundError(f"block {self.done} of {self.path}: {len(clips)} clips, {max(left, 0)} are left to write")
        for clip in clips:
            _check_clip(clip, self.header)
        content = io.BytesIO()
        np.savez(content, **_packed(clips))
        write_bytes_atomic(_file(self.path, self.done), content.getvalue())
        self.done += 1


def _check_clip(clip: SoundClip, header: SoundHeader) -> None:
    size = len(clip.audio)
    if clip.audio.ndim != 1 or not size or clip.audio.dtype != np.float32:
        raise SoundError(f"a clip is float32 (S,), S > 0; got {clip.audio.dtype} {clip.audio.shape}")
    if not np.isfinite(clip.audio).all() or np.abs(clip.audio).max() > 1:
        raise SoundError("a clip holds NaN or values outside -1 to 1")
    if not len(clip.times) == len(clip.labels) == len(clip.strengths):
        raise SoundError(f"{len(clip.times)} times, {len(clip.labels)} labels, {len(clip.strengths)} strengths")
    if (np.diff(clip.times) < 0).any() or ((clip.times < 0) | (clip.times >= size)).any():
        raise SoundError("events must ascend in time and lie within their clip")
    if ((clip.labels < 0) | (clip.labels >= len(header.labels))).any():
        raise SoundError(f"labels of events must be below {len(header.labels)}")
    if not -1 <= clip.text < len(header.texts) or not 0 <= clip.source < len(header.sources):
        raise SoundError(f"text {clip.text} or source {clip.source} is not one of the set")


def _packed(clips: Sequence[SoundClip]) -> Mapping[str, Any]:
    return {
        "audio": np.round(np.concatenate([each.audio for each in clips]) * FULL_SCALE).astype(np.int16),
        "samples": np.array([len(each.audio) for each in clips], np.int64),
        "events": np.array([len(each.times) for each in clips], np.int64),
        "times": np.concatenate([each.times for each in clips]).astype(np.int64),
        "labels": np.concatenate([each.labels for each in clips]).astype(np.int64),
        "strengths": np.concatenate([each.strengths for each in clips]).astype(np.float32),
        "text": np.array([each.text for each in clips], np.int64),
        "source": np.array([each.source for each in clips], np.int64),
    }


def _arrays(file: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    try:
        with np.load(file) as found:
            return {name: found[name] for name in names}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise SoundError(f"{file} is damaged ({error}); delete it and type the line that makes it once more") from error


def _read_block(file: Path, size: int) -> list[SoundClip]:
    """Clips of a block, their sound still as 16-bit integers."""
    arrays = _arrays(file, ARRAYS)
    lengths, counts = arrays["samples"], arrays["events"]
    if len(lengths) != size or lengths.sum() != len(arrays["audio"]) or counts.sum() != len(arrays["times"]):
        raise SoundError(f"{file} does not hold {size} whole clips; delete it and type the line once more")
    ends, stops = lengths.cumsum(), counts.cumsum()
    clips = []
    for row in range(size):
        part, own = slice(ends[row] - lengths[row], ends[row]), slice(stops[row] - counts[row], stops[row])
        audio = arrays["audio"][part]
        times, labels, strengths = (arrays[name][own] for name in ("times", "labels", "strengths"))
        text, source = int(arrays["text"][row]), int(arrays["source"][row])
        clips.append(SoundClip(audio, times, labels, strengths, text, source))
    return clips


def _read_header(path: Path) -> SoundHeader:
    try:
        text = (path / HEADER).read_text(encoding="utf-8")
        header = strictjson.decode(SoundHeader, strictjson.loads(text), HEADER)
    except (OSError, ValueError) as error:
        raise SoundError(f"{path} is not a set of sounds: {error}") from error
    if header.format != FORMAT:
        raise SoundError(f"{path} is of format {header.format}, not {FORMAT}; make it again")
    return header


def _made(path: Path, header: SoundHeader) -> int:
    """Blocks from the first one on that are there."""
    return next((block for block in range(header.blocks) if not _file(path, block).is_file()), header.blocks)


def _file(path: Path, block: int) -> Path:
    return path / f"block-{block:05d}.npz"
