"""Write one recording into a folder, and prove that what lies there is what was read."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from foreact.episodes import arrays, strictjson
from foreact.episodes.arrays import StoreError
from foreact.episodes.clip import ClipError
from foreact.episodes.convert_parts import differences, file_names, unequal
from foreact.episodes.recording_forms import UnfitError, write_array, write_stream
from foreact.episodes.recording_header import ArrayHeader, RecordingHeader, StreamHeader
from foreact.episodes.recording_reader import open_recording
from foreact.episodes.remote import LocalFiles
from foreact.episodes.sources.protocol import Source, SourceError

__all__ = ["write_recording"]

PIECE = 1 << 20  # bytes read at once for a checksum


def write_recording(source: Source, folder: Path, *, verify: bool = True) -> RecordingHeader:
    """Write a recording into an empty folder, its header last.

    Pictures that were copied as they lay packed are always decoded and compared; where one differs, the stream is
    written anew from its pixels, and the header tells why.

    Args:
        source: Any recording.
        folder: Empty.
        verify: Read everything back and compare.

    Returns:
        The header.

    Raises:
        StoreError: What was written is not what was read.
        SourceError: The recording is damaged, or holds what cannot be stored.
    """
    clocks = _write_stamps(source, folder)
    paths = file_names([*sorted(set(clocks.values())), *source.streams])
    streams = [_write_stream(source, name, clocks[name], folder / paths[name]) for name in source.streams]
    header = _header(source, folder, streams)
    header.write(folder)
    header = RecordingHeader.read(LocalFiles(folder.parent), folder.name)
    if verify:
        with open_recording(LocalFiles(folder.parent), folder.name, header) as again:
            proven = {each.stream.name for each in streams if _is_copied(source, each)}
            if found := differences(source, again, exact=True, skip=proven):
                raise StoreError(f"recording {source.key} is not what was read: {'; '.join(found[:5])}")
    return header


def _write_stamps(source: Source, folder: Path) -> dict[str, str]:
    """One array for streams with equal stamps; its folder for each stream."""
    known: dict[bytes, str] = {}
    clocks: dict[str, str] = {}
    for name in source.streams:
        stamps = source.stamps(name)
        content = stamps.tobytes()
        if content not in known:
            known[content] = f"stamps.{len(known)}"
            write_array(folder / known[content], stamps)
        clocks[name] = known[content]
    return clocks


def _write_stream(source: Source, name: str, stamps: str, folder: Path) -> StreamHeader:
    why = ""
    if source.encoded(name) is not None and len(source.stamps(name)):
        try:
            copied = write_stream(source, name, stamps, folder, packed=True)
            different = _first_difference(source, copied, folder.parent)
        except (UnfitError, ClipError) as error:
            different = str(error)
        else:
            if different is None:
                return copied
        why = different
        shutil.rmtree(folder, ignore_errors=True)
    return replace(write_stream(source, name, stamps, folder, packed=False), reencoded=why)


def _is_copied(source: Source, each: StreamHeader) -> bool:
    return each.count > 0 and not each.reencoded and source.encoded(each.stream.name) is not None


def _first_difference(source: Source, copied: StreamHeader, folder: Path) -> str | None:
    """Why a copied stream is not what the source gives; None if it is."""
    name = copied.stream.name
    files = LocalFiles(folder.parent)
    with open_recording(files, folder.name, _header(source, folder, [copied], proof=True)) as again:
        try:
            at = unequal(source, again, name)
        except SourceError as error:
            # a damaged source is told by itself: only what the copy lacks is a reason to write pixels
            return f"the copy cannot be decoded: {error}"
    return None if at is None else f"sample {at} of the copy has other pixels"


def _header(source: Source, folder: Path, streams: Sequence[StreamHeader], *, proof: bool = False) -> RecordingHeader:
    """The header of what lies in a folder; for a proof without checksums, which cost a look at every byte."""
    look = _size if proof else _size_and_crc32
    files = {name: look(folder / name) for name in arrays.episode_files(folder)}
    known = {
        name.removesuffix(f"/{arrays.HEADER}"): about
        for name in files
        if name.endswith(f"/{arrays.HEADER}") and (about := _array(folder / name)) is not None
    }
    return RecordingHeader(
        key=source.key,
        task=source.task,
        metadata=dict(source.metadata),
        notes=tuple(source.notes),
        streams=tuple(streams),
        arrays=known,
        files=files,
    )


def _array(path: Path) -> ArrayHeader | None:
    """An array by its metadata; None of a group."""
    content = strictjson.loads(path.read_text(encoding="utf-8"))
    if content["node_type"] != "array":
        return None
    rows = content["codecs"][0]["configuration"]["chunk_shape"][0]
    return ArrayHeader(content["data_type"], tuple(content["shape"]), rows)


def _size(path: Path) -> tuple[int, int]:
    return path.stat().st_size, 0


def _size_and_crc32(path: Path) -> tuple[int, int]:
    size, crc = 0, 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            size, crc = size + len(piece), zlib.crc32(piece, crc)
    return size, crc
