"""The folder of a demo: one demo at a time, and another demo's results are set aside, never mixed or overwritten."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.episodes.runfolder import RunFolder, jsonable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["DemoError", "hold", "open_folder"]


class DemoError(ValueError):
    """The demo's folder cannot be used, or a figure that the demo needs is missing."""


@contextmanager
def hold(out: Path) -> Iterator[None]:
    """Keep other demos out of a folder; the system lets go of it when this process ends, however it ends.

    Args:
        out: The demo's folder; it need not exist.

    Raises:
        DemoError: Another process holds it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(out.parent / f".{out.name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DemoError(f"another demo is writing to {out}; wait for it, or choose another out=...") from error
        yield
    finally:
        os.close(lock)


def open_folder(out: Path, config: "DataclassInstance", seed: int) -> Path | None:
    """Make the folder ready for a demo: new, or holding this very demo.

    A folder that holds a demo of other settings, another commit or other package versions is renamed to the time that
    demo started, so that no report mixes the two.

    Args:
        out: The folder.
        config: The demo's settings.
        seed: The demo's seed.

    Returns:
        Where a demo that was there before is now; None if nothing was moved.

    Raises:
        DemoError: The folder holds something that is not a demo.
    """
    if not out.exists() or not any(out.iterdir()):
        RunFolder.create(out, "demo", config, seed)
        return None
    if not (out / "run.json").exists():
        raise DemoError(f"{out} is not empty and holds no demo (no run.json); choose another folder with out=...")
    found = RunFolder.open(out).record
    if found["kind"] != "demo":
        raise DemoError(f"{out} holds a run of `foreact {found['kind']}`, not a demo; choose another out=...")
    if _same(found, config, out):
        return None
    moved = _free_name(out, str(found["started"]))
    os.rename(out, moved)
    RunFolder.create(out, "demo", config, seed)
    return moved


def _same(found: Mapping[str, Any], config: "DataclassInstance", out: Path) -> bool:
    """Whether a demo of this configuration, made now, would have this record (but for its time)."""
    if found["config"] != jsonable(config):
        return False
    import tempfile

    with tempfile.TemporaryDirectory(prefix="foreact-") as folder:
        now = RunFolder.create(Path(folder), "demo", config, found["seed"]).record
    return _commit(found) == _commit(now) and found["packages"] == now["packages"]


def _commit(record: Mapping[str, Any]) -> str | None:
    return record["git"]["commit"] if record["git"] else None


def _free_name(out: Path, started: str) -> Path:
    # runs/demo/latest becomes runs/demo/2026-01-31T12-30-00; another name keeps itself in front
    stamp = started.partition("+")[0].replace(":", "-")
    stem = stamp if out.name == "latest" else f"{out.name}-{stamp}"
    names = (stem if number == 1 else f"{stem}-{number}" for number in range(1, 1000))
    return next(out.parent / name for name in names if not (out.parent / name).exists())
