"""Conversions that can be stopped at any time and go on where they were."""

import os
import shutil
from pathlib import Path

from foreact.episodes import staging, strictjson
from foreact.episodes.arrays import StoreError
from foreact.episodes.lerobot_reader import read_json
from foreact.episodes.outcome import JSON
from foreact.episodes.runfolder import write_json_atomic


class PartialFolder:
    """A hidden folder beside the output; `content` becomes the output in one rename.

    Args:
        out: the final path, must not exist.
        source: identifies the conversion, so that no other one goes on with its content.

    Raises:
        StoreError: `out` exists, or a half-finished conversion of something else is in the way.
    """

    def __init__(self, out: Path, source: dict[str, JSON]) -> None:
        self._out = out
        self.folder = out.parent / f".partial-{out.name}"
        self.content = self.folder / "content"
        if out.exists():
            if self.folder.is_dir() and not self.content.exists():  # stopped between the last two steps of `finish`
                shutil.rmtree(self.folder)
            raise StoreError(f"{out} exists; choose another out= or delete it")
        note = self.folder / "source.json"
        if not note.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json_atomic(note, source)
        elif strictjson.canonical(read_json(note)) != strictjson.canonical(source):
            raise StoreError(f"{self.folder} is a half-finished conversion of something else; delete it first")

    def discard(self) -> None:
        """Delete what was written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def finish(self) -> None:
        """Put the content at its final path."""
        staging.sync_tree(self.content)
        os.rename(self.content, self._out)
        shutil.rmtree(self.folder)


class BlockLog:
    """Makes a folder that another library writes in place safe to interrupt, block by block.

    `restore` undoes an interrupted block: files that the log does not list are deleted, and the sub-folder whose
    files every block rewrites comes back from a copy. For writers that never change the other files of older blocks.

    Args:
        partial: whose content is written.
        rewritten: name of the sub-folder that changes in place.
    """

    def __init__(self, partial: PartialFolder, rewritten: str) -> None:
        self._content = partial.content
        self._folder = partial.folder
        self._rewritten = rewritten
        self._path = partial.folder / "blocks.json"

    def restore(self) -> int:
        """Bring the content back to the last whole block; return how many episodes that is.

        Raises:
            StoreError: a file of a finished block is gone or has another size.
        """
        if not self._path.exists():
            shutil.rmtree(self._content, ignore_errors=True)
            return 0
        log = read_json(self._path)
        shutil.rmtree(self._content / self._rewritten, ignore_errors=True)
        shutil.copytree(self._folder / log["copy"], self._content / self._rewritten)
        for name in _files(self._content):
            if name not in log["files"]:
                (self._content / name).unlink()
        for name, size in log["files"].items():
            path = self._content / name
            if not path.exists() or path.stat().st_size != size:
                raise StoreError(f"{path} was damaged since it was written; delete {self._folder} and start again")
        return int(log["done"])

    def commit(self, done: int) -> None:
        """Note that the content is whole after `done` episodes."""
        staging.sync_tree(self._content)
        copy = self._folder / f"copy-{done}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self._content / self._rewritten, copy)
        staging.sync_tree(copy)
        files = {name: (self._content / name).stat().st_size for name in _files(self._content)}
        write_json_atomic(self._path, {"done": done, "copy": copy.name, "files": files})
        for old in self._folder.glob("copy-*"):
            if old != copy:
                shutil.rmtree(old)


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
