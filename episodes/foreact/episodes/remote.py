"""The files of a folder, on a disk or at an address that fsspec knows (`s3://...`, `https://...`, `memory://...`)."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Protocol, override

__all__ = ["Files", "LocalFiles", "RemoteFiles", "address", "files_at"]

ADDRESS = re.compile(r"([a-z][a-z0-9+.]+):/+(.*)", re.DOTALL)


class Files(Protocol):
    """Files by their names below one folder. Threads may share it.

    Attributes:
        name: How messages call the folder.
    """

    name: str

    def read(self, file: str) -> bytes:
        """All of a file.

        Raises:
            FileNotFoundError: There is none.
            OSError: It cannot be read.
        """
        ...

    def part(self, file: str, start: int, stop: int) -> bytes:
        """Bytes start to stop - 1 of a file; fewer if it ends before.

        Raises:
            FileNotFoundError: There is none.
            OSError: It cannot be read.
        """
        ...

    def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder, sorted.

        Raises:
            OSError: It cannot be listed.
        """
        ...


class LocalFiles(Files):
    """Files of a folder on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, str(folder)

    @override
    def read(self, file: str) -> bytes:
        return (self.folder / file).read_bytes()

    @override
    def part(self, file: str, start: int, stop: int) -> bytes:
        with (self.folder / file).open("rb", buffering=0) as opened:
            opened.seek(start)
            return opened.read(stop - start)

    @override
    def folders(self, folder: str) -> list[str]:
        return sorted(each.name for each in (self.folder / folder).iterdir() if each.is_dir())


class RemoteFiles(Files):
    """Files at an address.

    Args:
        url: Such as `s3://bucket/store`, `https://host/store`.

    Raises:
        ModuleNotFoundError: fsspec, or what it needs for this kind of address, is not installed.
        OSError: The kind of address is not known, or it cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self.name = url.rstrip("/")
        try:
            core = importlib.import_module("fsspec.core")
            self._files, self._root = core.url_to_fs(self.name)
        except ImportError as error:
            raise ModuleNotFoundError(f"reading {url} needs fsspec: pip install 'foreact[remote]' ({error})") from error
        except Exception as error:  # each file system has errors of its own
            raise OSError(f"{url}: {error}") from error
        self._root = self._root.rstrip("/")

    @override
    def read(self, file: str) -> bytes:
        return self._cat(file, None, None)

    @override
    def part(self, file: str, start: int, stop: int) -> bytes:
        found = self._cat(file, start, stop)
        # a server that knows no ranges answers with the whole file
        return found[start:stop] if len(found) > stop - start else found

    @override
    def folders(self, folder: str) -> list[str]:
        try:
            found = self._files.ls(f"{self._root}/{folder}", detail=True)
        except Exception as error:
            raise OSError(f"{self.name}/{folder} cannot be listed: {type(error).__name__} {error}") from error
        names = (str(each["name"]).rstrip("/") for each in found if each["type"] == "directory")
        return sorted(name.rpartition("/")[2] for name in names)

    def _cat(self, file: str, start: int | None, stop: int | None) -> bytes:
        try:
            return bytes(self._files.cat_file(f"{self._root}/{file}", start=start, end=stop))
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.name}/{file} is not there") from None
        except Exception as error:  # each file system has errors of its own
            raise OSError(f"{self.name}/{file}: {type(error).__name__} {error}") from error


def address(path: str | Path) -> str | None:
    """The address that a path means, also one that lost a slash as a `Path`; None if it is a path on this machine.

    Args:
        path: Such as `s3://bucket/store` or `s3:/bucket/store`.
    """
    found = ADDRESS.fullmatch(str(path))
    return None if found is None else f"{found[1]}:{'///' if found[1] == 'file' else '//'}{found[2]}"


def files_at(path: str | Path) -> Files:
    """The files below a folder or an address.

    Raises:
        ModuleNotFoundError: fsspec, or what it needs for this kind of address, is not installed.
        OSError: The kind of address is not known.
    """
    url = address(path)
    return LocalFiles(Path(path)) if url is None else RemoteFiles(url)
