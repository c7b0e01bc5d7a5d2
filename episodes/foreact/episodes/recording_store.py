"""A folder of recordings of any kind, without a contract: Zarr 3, as it was read, bit for bit.

STORE/zarr.json               group; attributes: format, what it holds, where it came from, the keys, checksums
STORE/episodes/FOLDER/...     one recording: an array or group for each stream, `stamps.N` shared by streams that tick
                              together, and `zarr.json` with what is known of it, and bytes and crc32 of every file

The root is written last: a store without one is not finished. It lists the recordings, so that a store can be read
from a server that cannot list folders. Nothing says when or where it was written: equal recordings give equal bytes.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from foreact.episodes import arrays, staging
from foreact.episodes.arrays import StoreError
from foreact.episodes.convert_parts import file_names
from foreact.episodes.outcome import JSON, ProgressFn, quiet
from foreact.episodes.recording_header import RecordingHeader, checksum, parse_group
from foreact.episodes.recording_reader import open_recording
from foreact.episodes.recording_writer import write_recording
from foreact.episodes.remote import Files, LocalFiles, files_at
from foreact.episodes.sources.parts import PartsSource
from foreact.episodes.sources.protocol import Source, SourceError

__all__ = ["FORMAT", "HOLDS", "RecordingStore", "finish_store", "holds_recordings", "write_recordings"]

FORMAT = 1
HOLDS = "recordings"
FOLDER = re.compile(r"episodes/[A-Za-z0-9][A-Za-z0-9_.-]*")
PIECE = 1 << 22  # bytes read at once to verify


class RecordingStore:
    """Recordings by key; use `open`. Reading never changes anything.

    Attributes:
        path: Where, as it was given.
        of: Format of what they were read from.
        notes: What was said of all of them.
    """

    def __init__(self, path: str, files: Files, fields: Mapping[str, JSON]) -> None:
        self.path, self._files = path, files
        self.of, self.notes = _text(fields.get("of")), _texts(fields.get("notes"))
        self._folders = _folders(fields.get("recordings"))
        self._headers: dict[str, RecordingHeader] = {}  # recordings never change

    @classmethod
    def open(cls, path: str | Path) -> RecordingStore:
        """Open a store on this machine or at an address.

        Args:
            path: A folder, or an address such as `s3://bucket/store`.

        Raises:
            StoreError: Nothing is there, not a store of recordings, damaged, or written by a newer foreact.
            ModuleNotFoundError: An address needs a package that is not installed.
        """
        try:
            files = files_at(path)
        except OSError as error:
            raise StoreError(str(error)) from error
        return cls.of_root(path, files, parse_group(files, arrays.HEADER))

    @classmethod
    def of_root(cls, path: str | Path, files: Files, attributes: Mapping[str, JSON]) -> RecordingStore:
        """The store whose root was read.

        Args:
            path: Where, for messages.
            files: The folder.
            attributes: Of its Zarr group.

        Raises:
            StoreError: See `open`.
        """
        fields = attributes.get("foreact")
        if not isinstance(fields, dict) or not holds_recordings(attributes):
            raise StoreError(f"{path} is not a store of recordings; make one with: foreact convert SOURCE OUT to=store")
        if fields.get("format") != FORMAT:
            raise StoreError(f"{path} has format {fields.get('format')!r}, this foreact reads {FORMAT}: update foreact")
        if attributes.get("checksum") != checksum(fields):
            raise StoreError(f"{files.name}/{arrays.HEADER} was altered: its checksum does not match")
        try:
            return cls(str(path), files, fields)
        except StoreError as error:
            raise StoreError(f"{files.name}/{arrays.HEADER}: {error}") from error

    def keys(self) -> tuple[str, ...]:
        """Keys of the recordings, in their order."""
        return tuple(self._folders)

    def header(self, key: str) -> RecordingHeader:
        """What is known of a recording without its samples.

        Raises:
            StoreError: No such recording, or its header is damaged.
        """
        if key not in self._headers:
            if key not in self._folders:
                raise StoreError(f"{self.path} has no recording {key!r}; it holds {len(self._folders)}")
            folder, crc = self._folders[key]
            header = RecordingHeader.read(self._files, folder)
            if header.checksum != crc:
                raise StoreError(f"{self._files.name}/{folder} holds another recording than {key!r}")
            self._headers[key] = header
        return self._headers[key]

    def read(self, key: str) -> PartsSource:
        """Open a recording; its samples are read when they are asked for.

        Raises:
            SourceError: No such recording, or it is damaged.
        """
        try:
            return open_recording(self._files, self._folders.get(key, ("", 0))[0], self.header(key))
        except StoreError as error:
            raise SourceError(str(error)) from error

    def verify(self, progress: ProgressFn = quiet) -> list[str]:
        """Read and check every byte; the problems as text, none if all is well."""
        problems: list[str] = []
        for done, key in enumerate(self._folders):
            progress(done, len(self._folders), "verify")
            problems += self._verify(key)
        progress(len(self._folders), len(self._folders), "verify")
        return problems

    def _verify(self, key: str) -> list[str]:
        try:
            header = self.header(key)
        except StoreError as error:
            return [str(error)]
        folder, _ = self._folders[key]
        problems: list[str] = []
        if isinstance(self._files, LocalFiles):
            found = arrays.episode_files(self._files.folder / folder)
            strange = [name for name in found if name not in header.files]
            problems += [f"{self._files.name}/{folder}/{name} does not belong to the recording" for name in strange]
        for name, (size, crc) in header.files.items():
            try:
                problems += _check(self._files, f"{folder}/{name}", size, crc)
            except OSError as error:
                problems.append(f"{self._files.name}/{folder}/{name} cannot be read: {error}")
        return problems


def holds_recordings(attributes: Mapping[str, JSON]) -> bool:
    """Whether the attributes of a Zarr group are those of a store of recordings."""
    fields = attributes.get("foreact")
    return isinstance(fields, Mapping) and fields.get("holds") == HOLDS


def finish_store(folder: Path, folders: Mapping[str, str], of: str, notes: Sequence[str]) -> None:
    """Write the root of a store whose recordings are whole.

    Args:
        folder: Of the store.
        folders: For each key the name of the recording's folder in `episodes/`, in the order wanted.
        of: Format of what they were read from.
        notes: What is said of all of them.
    """
    arrays.write_group(folder / "episodes", {})
    fields: dict[str, JSON] = {
        "format": FORMAT, "holds": HOLDS, "of": of, "notes": list(notes),
        "recordings": [
            [key, f"episodes/{name}", RecordingHeader.read(LocalFiles(folder), f"episodes/{name}").checksum]
            for key, name in folders.items()
        ],
    }  # fmt: skip
    arrays.write_group(folder, {"foreact": fields, "checksum": checksum(fields)})


def write_recordings(path: Path, sources: Iterable[Source], *, verify: bool = True) -> None:
    """Write a new store; it appears when it is whole.

    Args:
        path: A folder that does not exist; its parent must.
        sources: Recordings of different keys; each is closed when it is written.
        verify: Read each back and compare.

    Raises:
        StoreError: There is a folder already, two recordings have one key, or what was written is not what was read.
        SourceError: A recording is damaged, or holds what cannot be stored.
    """
    try:
        with staging.staged_folder(path) as folder:
            (folder / "episodes").mkdir()
            keys: list[str] = []
            for number, source in enumerate(sources):
                with source:
                    keys.append(source.key)
                    os.mkdir(folder / "episodes" / f".{number}")
                    write_recording(source, folder / "episodes" / f".{number}", verify=verify)
            names = file_names(keys)
            if len(names) < len(keys):
                raise StoreError(f"{path}: two recordings have one key")
            for number, key in enumerate(keys):
                os.rename(folder / "episodes" / f".{number}", folder / "episodes" / names[key])
            finish_store(folder, names, "", ())
    except FileExistsError:
        raise StoreError(f"{path} exists; choose another folder or delete it") from None


def _check(files: Files, file: str, size: int, crc: int) -> list[str]:
    found, at = 0, 0
    while at < size and (piece := files.part(file, at, min(size, at + PIECE))):
        found, at = zlib.crc32(piece, found), at + len(piece)
    if isinstance(files, LocalFiles):  # a server may answer a question for bytes past the end with an error
        at = max(at, (files.folder / file).stat().st_size)
    if at != size:
        return [f"{files.name}/{file} is truncated or altered: expected {size} bytes, found {at}"]
    return [] if found == crc else [f"{files.name}/{file} was altered: its checksum does not match"]


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: JSON) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _folders(value: JSON) -> dict[str, tuple[str, JSON]]:
    """For each key its folder and the checksum of its header."""
    rows = value if isinstance(value, list) else []
    found = {str(row[0]): (str(row[1]), row[2]) for row in rows if isinstance(row, list) and len(row) == 3}
    if len(found) != len(rows) or not all(FOLDER.fullmatch(folder) for folder, _ in found.values()):
        raise StoreError("its list of recordings names no folders of a store")
    return found
